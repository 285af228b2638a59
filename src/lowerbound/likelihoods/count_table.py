"""p(x) of small counts: a probability for each of 0, …, K − 1, and a tail that halves from each count to the next.

    p(x) = π_x  for x < K,        p(x) = π_K 2^{−(x − K + 1)}  for x ≥ K

Answers from 1 to 5 vary by less than any Poisson, which a negative binomial cannot do; a table can be any distribution
of few counts. The tail gives counts that no row had a probability, so that new rows can be scored.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Categorical as TorchCategorical
from torch.types import _size

from lowerbound.distributions import distribution_functions
from lowerbound.likelihoods.elementwise import ElementwiseDistribution

__all__ = ["CountTableDistribution"]

_BEYOND = 1.0  # the mean of a count in the tail, less K
_SPREAD = 2.0  # its variance


class CountTableDistribution(ElementwiseDistribution):
    """A table of K counts and a geometric tail, for each element.

    Arguments:
        logits: (..., K + 1), unnormalised log-probabilities; the last is of all counts from K on.
    """

    has_rsample = False

    def __init__(self, logits: Tensor):
        self.log_probs = logits.log_softmax(-1)
        super().__init__(logits[..., 0])

    def expand(self, batch_shape: _size, _instance: object = None) -> CountTableDistribution:
        """The same distribution with its logits expanded to a larger batch shape."""
        return CountTableDistribution(self.log_probs.expand(*batch_shape, -1))

    @property
    def first_of_tail(self) -> int:
        """K."""
        return self.log_probs.shape[-1] - 1

    @property
    def mean(self) -> Tensor:
        """Σ_x x p(x)."""
        return (self.log_probs.exp() * self._centres()).sum(-1)

    @property
    def variance(self) -> Tensor:
        """Σ_x (x − mean)² p(x)."""
        p = self.log_probs.exp()
        return (p * (self._centres() - self.mean[..., None]).square()).sum(-1) + _SPREAD * p[..., -1]

    def log_prob(self, value: Tensor) -> Tensor:
        """log p(x) of each element, nats; −∞ below 0, NaN at NaN."""
        shape = torch.broadcast_shapes(value.shape, self.batch_shape)
        place = value.nan_to_num().clamp(0, self.first_of_tail).long().expand(shape)
        log_p = self.log_probs.expand(*shape, -1).gather(-1, place[..., None])[..., 0]
        beyond = (value - self.first_of_tail + 1).clamp_min(0)
        log_p = log_p - math.log(2) * beyond
        return torch.where(value < 0, -torch.inf, log_p)

    def cumulative(self) -> tuple[Callable[..., Any], tuple[Tensor, ...]]:
        """See `hooks.HasCumulative`."""
        below = torch.from_numpy(np.add.accumulate(self.log_probs.exp().double().numpy(), -1))
        return distribution_functions.table_with_tail, (below,)

    def sample(self, sample_shape: _size = ()) -> Tensor:
        """Draw counts (*sample_shape, *batch_shape)."""
        with torch.no_grad():
            place = TorchCategorical(logits=self.log_probs, validate_args=False).sample(torch.Size(sample_shape))
            x = place.to(torch.promote_types(self.log_probs.dtype, torch.float32))
            beyond = torch.empty_like(x).geometric_(0.5) - 1
            return torch.where(place == self.first_of_tail, x + beyond, x)

    def _centres(self) -> Tensor:
        """The mean count at each place of the table."""
        centres = torch.arange(self.first_of_tail + 1, dtype=self.log_probs.dtype, device=self.log_probs.device)
        centres[-1] += _BEYOND
        return centres
