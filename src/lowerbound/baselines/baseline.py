"""What a baseline is."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from lowerbound.protocols import Objective

__all__ = ["Baseline"]


@runtime_checkable
class Baseline(Protocol):
    """A number for each sample and datum to subtract from the value of the objective, in nats."""

    def __call__(self, objective: Objective, signal: Float[Tensor, "sample batch"]) -> Float[Tensor, "sample batch"]:
        """Return b (sample, batch), which must not depend on z_s in row s."""
        ...
