"""The variational Rényi bound of Li & Turner (2016, arXiv:1602.02311, eqs. 6 and 12).

    L_α(x) = (1/(1−α)) log E_q[w^(1−α)],      estimated by (1/(1−α)) log (1/K) Σ_k w_k^(1−α)

The estimate is the power mean of order 1 − α of the weights. α → 1 is the ELBO and α = 0 the importance-weighted bound;
it falls as α rises, for any weights. Hence for α ≥ 0 and every K it is at most the importance-weighted bound, and its
expectation at most log p(x). The expectation rises with K for 0 ≤ α < 1 and falls for α > 1; at K = 1 all are the ELBO.
For α < 0 the limit K → ∞ is above log p(x), but one sample gives the ELBO, which is below: such an estimate is no
bound.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from lowerbound.objectives.power_mean import log_power_mean
from lowerbound.objectives.require import sampled_log_w
from lowerbound.protocols import Bound
from lowerbound.weights import LogWeights, RateForm

__all__ = ["Renyi"]


@dataclass(frozen=True)
class Renyi:
    """(1/(1−α)) log (1/K) Σ_k w_k^(1−α) over the K samples drawn: for α ≥ 0 a lower bound of log p(x), nats.

    Arguments:
        alpha: α. Between 0 and 1 it lies between `IWAE` and `ELBO`; above 1 below `ELBO`; below 0 it is no bound.
    """

    cites: ClassVar[tuple[str, ...]] = ("li2016renyi",)

    alpha: float = 0.5
    rate: RateForm = field(default="sampled", init=False, repr=False)

    @property
    def bound(self) -> Bound:
        """A lower bound for α ≥ 0; for α < 0 the number of samples decides on which side of log p(x) it lies."""
        return "lower" if self.alpha >= 0 else "none"

    @property
    def linear(self) -> bool:
        """Only at α = 1."""
        return self.alpha == 1

    def signal(self, w: LogWeights) -> Float[Tensor, "sample batch"]:
        """log w.

        Raises:
            ValueError: weights whose rate is in closed form.
        """
        return sampled_log_w(w, "Renyi")

    def reduce(self, signal: Float[Tensor, "sample batch"]) -> Float[Tensor, "batch"]:
        """The logarithm of the power mean of order 1 − α."""
        return log_power_mean(signal, 1 - self.alpha)
