"""χ variational inference (Dieng, Tran, Ranganath, Paisley & Blei 2017, arXiv:1611.00328, §2.2 and Algorithm 1).

    min_φ CUBO_n = log p(x) + (1/n) min_φ log(1 + D_χⁿ(p(z | x) ‖ q(z | x)))

The divergence is large where q misses mass of the posterior: its minimiser covers all modes, while that of the ELBO may
drop one. Dieng et al. descend exp(n CUBO_n), whose gradient is unbiased but overflows, so that they divide the weights
by the largest one at each step. The gradient of the estimate of CUBO_n is the same vector divided by the mean of w^n:
for one datum it has the same direction, and it never overflows.

    ∇ (1/n) log (1/S) Σ_s w_s^n = (1/n) ∇ (Σ_s w_s^n) / Σ_s w_s^n

The value is −CUBO_n, because objectives are maximised. It is meant for q alone: it would drive p to a *smaller* log
p(x), so that the parameters of likelihood and prior must be constants (`model.likelihood.requires_grad_(False)`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from lowerbound.objectives.cubo import require_order
from lowerbound.objectives.power_mean import log_power_mean
from lowerbound.objectives.require import sampled_log_w
from lowerbound.protocols import Bound
from lowerbound.weights import LogWeights, RateForm

__all__ = ["ChiDivergence"]


@dataclass(frozen=True)
class ChiDivergence:
    """−(1/n) log (1/S) Σ_s w_s^n, nats: fits q to a p that is held fixed, so that it covers the posterior.

    Arguments:
        n: the order; 2 is the χ²-divergence. At least 1.

    Raises:
        ValueError: an order below 1.
    """

    cites: ClassVar[tuple[str, ...]] = ("dieng2017variational",)

    n: float = 2.0
    bound: Bound = field(default="none", init=False, repr=False)
    linear: bool = field(default=False, init=False, repr=False)
    rate: RateForm = field(default="sampled", init=False, repr=False)

    def __post_init__(self) -> None:
        require_order(self.n, "ChiDivergence")

    def signal(self, w: LogWeights) -> Float[Tensor, "sample batch"]:
        """log w.

        Raises:
            ValueError: weights whose rate is in closed form.
        """
        return sampled_log_w(w, "ChiDivergence")

    def reduce(self, signal: Float[Tensor, "sample batch"]) -> Float[Tensor, "batch"]:
        """Minus the logarithm of the power mean of order n."""
        return -log_power_mean(signal, self.n)
