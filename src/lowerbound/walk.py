"""A walk along the states of a chain: its steps, and what is remembered of one walk (`chain.StateChain`).

A walk is remembered for its very latents. It is forgotten where something wrote into one of them since, or where it was
taken without gradients and they are wanted now.
"""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor
from torch.distributions import Distribution

__all__ = ["ChainStep", "State", "Walk"]

State: TypeAlias = Any
"""What a chain knows of the layers drawn so far: a tensor, a tuple of them, or None."""


@runtime_checkable
class ChainStep(Protocol):
    """One layer of a chain. It keeps nothing of its own between calls; the chain passes on what there is to keep."""

    def at(self, state: State) -> tuple[Distribution, Any]:
        """The distribution of this layer given all layers before it, and what `advance` reuses of computing it."""
        ...

    def advance(self, state: State, carry: Any, z: Tensor) -> State:
        """The state after this layer has the value z (..., *event); carry is what `at` returned for this state."""
        ...


class Walk:
    """Latents, the distribution of each given those drawn before it, and the state that they lead to.

    Attributes:
        z: (z_1, …, z_L).
        given: d(z_l | h_l), z_1 first.
        kept: what the chain keeps of each layer beside its distribution.
        end: the state after the layer that is drawn last.
    """

    def __init__(self, z: tuple[Tensor, ...], given: tuple[Distribution, ...], kept: tuple[Any, ...], end: State):
        self.z, self.given, self.kept, self.end = z, given, kept, end
        self.has_gradient = torch.is_grad_enabled()
        self._marks = [_mark(layer) for layer in z]

    def along(self, given: tuple[Distribution, ...], end: State) -> Walk:
        """The walk of another chain along the same latents."""
        return Walk(self.z, given, (None,) * len(given), end)

    def is_of(self, z: tuple[Tensor, ...]) -> bool:
        """Whether these are the very latents, not written to since, and no gradient is missing."""
        if torch.is_grad_enabled() and not self.has_gradient:
            return False
        pairs = zip(z, self.z, self._marks, strict=True)
        return all(layer is known and _is_unchanged(layer, mark) for layer, known, mark in pairs)


def _mark(z: Tensor) -> int | Tensor | None:
    """By which a later write to z is noticed: torch's count of them, which its views share, or a copy where it keeps
    none (in inference mode). Nothing while compiling, where no library code writes to a draw.
    """
    if torch.compiler.is_compiling():
        return None
    return z.clone() if z.is_inference() else z._version


def _is_unchanged(z: Tensor, mark: int | Tensor | None) -> bool:
    if mark is None or torch.compiler.is_compiling():
        return True
    return torch.equal(z, mark) if isinstance(mark, Tensor) else z._version == mark
