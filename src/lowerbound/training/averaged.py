"""An average of the weights over the steps, which replaces the last weights in evaluation and at the end.

    a ← d_t a + (1 − d_t) θ,      d_t = min(decay, (1 + t) / (10 + t)) at step t

The average of stochastic iterates is better than the last of them (Polyak & Juditsky 1992); deep hierarchies report it
with a decay of 0.999 to 0.9999. The second term of d_t lets the average forget the start early in training.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from lowerbound.training.sharded_state import part_here

__all__ = ["Averaged"]


class Averaged:
    """An exponential moving average of the parameters of a module; its buffers are not averaged.

    Arguments:
        module: whose parameters are averaged.
        decay: in [0, 1); 0.999 averages about a thousand steps.

    Raises:
        ValueError: a decay outside of [0, 1).
    """

    def __init__(self, module: nn.Module, decay: float):
        if not 0 <= decay < 1:
            raise ValueError(f"ema is {decay} and expected in [0, 1); use 0.999.")
        self.decay = decay
        self._parameters = {name: p for name, p in module.named_parameters() if p.requires_grad}
        self.tensors = {name: part_here(p.detach()).clone() for name, p in self._parameters.items()}

    @torch.no_grad()
    def update(self, step: int, taken: Tensor) -> None:
        """Move towards the parameters after a step, unless `taken` is false; this does not wait for the device."""
        weight = (1 - min(self.decay, (1 + step) / (10 + step))) * taken.float()
        for name, p in self._parameters.items():
            self.tensors[name].lerp_(part_here(p.detach()), weight.to(p.dtype))

    @torch.no_grad()
    def load(self, tensors: dict[str, Tensor]) -> None:
        """Load averages that were saved."""
        for name, average in self.tensors.items():
            average.copy_(tensors[name])

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within this context, the module has the averages as its parameters."""
        kept = {name: part_here(p.detach()).clone() for name, p in self._parameters.items()}
        self.restore()
        try:
            yield
        finally:
            self._put(kept)

    def restore(self) -> None:
        """Give the module the averages."""
        self._put(self.tensors)

    @torch.no_grad()
    def _put(self, tensors: dict[str, Tensor]) -> None:
        for name, p in self._parameters.items():
            part_here(p.detach()).copy_(tensors[name])
