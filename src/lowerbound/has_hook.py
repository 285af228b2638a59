"""`isinstance` for hooks, in every step: of a protocol it takes 10 µs, which a step of a small net would feel."""

from __future__ import annotations

from typing import Generic, Protocol, TypeGuard, TypeVar

import torch

__all__ = ["has"]

_Hook = TypeVar("_Hook")
_lacking: dict[tuple[type, type], frozenset[str]] = {}


def has(value: object, hook: type[_Hook]) -> TypeGuard[_Hook]:
    """`isinstance` for a hook that has methods only.

    What a class has is looked at once. What it lacks an instance may have of its own, or pass on to another object.
    """
    if torch.compiler.is_compiling():
        return isinstance(value, hook)
    kind = type(value)
    lacking = _lacking.get((kind, hook))
    if lacking is None:
        lacking = _lacking[kind, hook] = frozenset(name for name in _members(hook) if not _states(kind, name))
    if not lacking:
        return True
    if hasattr(kind, "__getattr__"):
        return isinstance(value, hook)
    return value.__dict__.keys() >= lacking if hasattr(value, "__dict__") else False


def _members(hook: type) -> set[str]:
    """What a protocol and those that it extends ask for."""
    protocols = [base for base in hook.__mro__ if base not in (Protocol, Generic, object)]
    names = {name for base in protocols for name in (*vars(base), *vars(base).get("__annotations__", {}))}
    return {name for name in names if not name.startswith("_") or name == "__call__"}


def _states(kind: type, name: str) -> bool:
    """Whether instances of a class have this by their class."""
    return next((vars(base)[name] for base in kind.__mro__ if name in vars(base)), None) is not None
