"""`isinstance` for hooks, in every step: of a protocol it takes 10 µs, which a step of a small net would feel."""

from __future__ import annotations

from typing import TypeGuard, TypeVar

import torch

__all__ = ["has"]

_Hook = TypeVar("_Hook")
_known: dict[tuple[type, type], bool] = {}


def has(value: object, hook: type[_Hook]) -> TypeGuard[_Hook]:
    """`isinstance` for a hook that has methods only: a class has them or not, so that it is looked at once."""
    if torch.compiler.is_compiling():
        return isinstance(value, hook)
    key = type(value), hook
    found = _known.get(key)
    if found is None:
        found = _known[key] = isinstance(value, hook)
    return found
