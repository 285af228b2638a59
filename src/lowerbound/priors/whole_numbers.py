"""p̃(z) = F(z + ½) − F(z − ½): densities that are convolved with U(−½, ½).

At whole numbers k, p̃(k) is the probability that a draw of F rounds to k, so that the same function is the density of
noisy latents in training and the probability of rounded ones afterwards (Ballé et al. 2018, arXiv:1802.01436, eq. 8).
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution, constraints

from lowerbound.chain import SampleShape

__all__ = ["WholeNumbers"]


class WholeNumbers(Distribution):
    """Independent numbers, each with p̃ of its own; a subclass gives F. Draws are whole numbers.

    Arguments:
        batch_shape: (B,), or () for the same in each row.
        event_shape: of z.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    has_rsample = False

    def __init__(self, batch_shape: torch.Size, event_shape: torch.Size):
        super().__init__(batch_shape, event_shape, validate_args=False)

    @abstractmethod
    def log_mass(self, z: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """log p̃ of each number of z (..., *batch, *event), nats."""

    @abstractmethod
    def cumulative_at(self, low: int, high: int) -> Float[np.ndarray, "..."]:
        """See `hooks.OverWholeNumbers`."""

    @property
    def support(self) -> constraints.Constraint:
        """The reals."""
        return constraints.independent(constraints.real, len(self.event_shape))  # type: ignore[return-value]

    def log_prob(self, value: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """log p̃(z), nats, summed over the event: a density of noisy z, a probability of whole numbers."""
        terms = self.log_mass(value)
        rank = len(self.event_shape)
        return terms.flatten(terms.ndim - rank).sum(-1) if rank else terms

    def sample(self, sample_shape: SampleShape = ()) -> Tensor:
        """Draw whole numbers (*sample_shape, *batch, *event), as constants."""
        with torch.no_grad():
            return self._quantile_draw(torch.Size(sample_shape) + self.batch_shape + self.event_shape).round()

    @abstractmethod
    def _quantile_draw(self, shape: torch.Size) -> Tensor:
        """Draws of F itself."""
