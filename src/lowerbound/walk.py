"""A walk along the states of a chain: its steps, and what is remembered of one walk (`chain.StateChain`).

A remembered walk is used only for the very same tensors. It is not used if one of them was written to since, or if it
was computed without gradients and these are needed now.
"""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor
from torch.distributions import Distribution

__all__ = ["ChainStep", "State", "Walk"]

State: TypeAlias = Any
"""The state of a chain after some layers: a tensor, a tuple of tensors, or None."""


@runtime_checkable
class ChainStep(Protocol):
    """One layer of a chain. It has no memory between calls; the chain passes the state and the carry."""

    def at(self, state: State) -> tuple[Distribution, Any]:
        """The distribution of this layer given all layers before it, and a carry: results that `advance` uses again."""
        ...

    def advance(self, state: State, carry: Any, z: Tensor) -> State:
        """The state after this layer has the value z (..., *event); carry is what `at` returned for this state."""
        ...


class Walk:
    """Latents, the distribution of each given those drawn before it, and the state that they lead to.

    Attributes:
        z: (z_1, …, z_L).
        given: d(z_l | h_l), z_1 first.
        kept: the part of each layer's carry that the chain keeps.
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
        """Whether z consists of the very tensors of this walk, not written to since, and no gradient is missing."""
        if torch.is_grad_enabled() and not self.has_gradient:
            return False
        # By identity, not by value: equal numbers in another tensor may have another path to the parameters.
        pairs = zip(z, self.z, self._marks, strict=True)
        return all(layer is known and _is_unchanged(layer, mark) for layer, known, mark in pairs)


def _mark(z: Tensor) -> int | Tensor | None:
    """A mark that shows a later write to z: torch's version counter, which views share, or a copy in inference mode,
    which has no counter. None while compiling, where the library does not write to draws.
    """
    if torch.compiler.is_compiling():
        return None
    return z.clone() if z.is_inference() else z._version


def _is_unchanged(z: Tensor, mark: int | Tensor | None) -> bool:
    if mark is None or torch.compiler.is_compiling():
        return True
    return torch.equal(z, mark) if isinstance(mark, Tensor) else z._version == mark
