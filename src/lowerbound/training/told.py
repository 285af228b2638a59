"""What parts of a loss hold besides the numbers of their tensors, and whether a step has changed it.

A part that is told of each step (`protocols.FollowsSteps`) is to write to a buffer, whose numbers a compiled step reads
anew. It may change anything else too: a number, a list, which of its modules is in use. Looked at is all that can be
reached from its attributes through modules, containers and plain objects: by identity, and where that differs, numbers
and words by value. An object with slots cannot be followed, and counts as changed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable
from inspect import getmro
from itertools import chain
from operator import is_
from types import FunctionType, ModuleType
from typing import Any

from torch import Tensor

__all__ = ["Held"]

_PLAIN = frozenset({bool, int, float, complex, str, bytes, type(None)})
_SEQUENCES = (list, tuple, set, frozenset, deque)
_CODE = (type, FunctionType, ModuleType)


class Held:
    """What some objects hold; equal to what they held before if nothing but numbers of tensors has changed."""

    def __init__(self, parts: Iterable[object]):
        self._values: list[object] = []
        self._containers: list[Collection[object]] = []
        self._tensors: list[Tensor] = []
        self._is_whole = True
        self._walk(list(parts))
        self._lengths = [*map(len, self._containers)]
        self._filled = [part for part in self._containers if part]
        self._kept = [*chain.from_iterable(self._filled)]  # what is kept has an identity that nothing else takes
        self._flags = [tensor.requires_grad for tensor in self._tensors]

    def is_as_before(self) -> bool:
        """Whether all of it is there still, the same objects in the same places."""
        return (
            self._is_whole
            and [*map(len, self._containers)] == self._lengths
            and all(map(is_, chain.from_iterable(self._filled), self._kept))
            and [tensor.requires_grad for tensor in self._tensors] == self._flags
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Held) and self._is_whole and other._is_whole and self._values == other._values

    __hash__ = None  # pyright: ignore[reportAssignmentType]

    def _walk(self, ahead: list[object]) -> None:
        known: set[int] = set()
        while ahead:
            value = ahead.pop()
            kind = type(value)
            if kind in _PLAIN:
                self._values += (kind, value)
                continue
            self._values.append(id(value))
            if id(value) not in known:
                known.add(id(value))
                self._look_into(value, ahead)

    def _look_into(self, value: Any, ahead: list[object]) -> None:
        """Note what is there, and what is to be looked at."""
        if isinstance(value, Tensor):
            self._tensors.append(value)
            self._values.append(value.requires_grad)
        elif isinstance(value, dict):
            self._containers += (value.keys(), value.values())
            self._values += (len(value), *value)
            ahead += value.values()
        elif isinstance(value, _SEQUENCES):
            self._containers.append(value)
            self._values.append(len(value))
            ahead += value
        elif hasattr(value, "__dict__") and not isinstance(value, _CODE):
            ahead.append(vars(value))
        elif any(vars(base).get("__slots__") for base in getmro(type(value))):
            self._is_whole = False
