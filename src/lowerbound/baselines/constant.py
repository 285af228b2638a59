"""f̂_s = c: Williams (1992), whose reinforcement baseline may be any number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

__all__ = ["Constant"]


@dataclass(frozen=True)
class Constant:
    """The same prediction for every sample and datum.

    Arguments:
        value: c, nats (on the ELBO, roughly the bound per datum).
    """

    cites: ClassVar[tuple[str, ...]] = ("williams1992simple",)

    value: float = 0.0

    def __call__(self, signal: Float[Tensor, "sample batch"], x: Tensor) -> Float[Tensor, "sample batch"]:
        """See `Baseline`."""
        return signal.new_full((), self.value).expand_as(signal)
