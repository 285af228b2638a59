"""The χ upper bound of Dieng, Tran, Ranganath, Paisley & Blei (2017, arXiv:1611.00328, eq. 3).

    CUBO_n(x) = (1/n) log E_q[w^n] = log p(x) + (1/n) log(1 + D_χⁿ(p(z | x) ‖ q(z | x))) ≥ log p(x),      n ≥ 1

It is the Rényi bound of α = 1 − n. By Jensen's inequality the estimate (1/n) log (1/S) Σ_s w_s^n is too low: its
expectation is the ELBO at S = 1 and rises with S to CUBO_n. It is an upper bound of log p(x) only with many samples,
and E_q[w^n] may be infinite where q has lighter tails than the posterior.

Maximising an upper bound makes no sense: this objective is for evaluation. `ChiDivergence` is its negative, for fitting
q.
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

__all__ = ["CUBO", "require_order"]


@dataclass(frozen=True)
class CUBO:
    """(1/n) log (1/S) Σ_s w_s^n: an upper bound of log p(x) in the limit of many samples, nats. For evaluation.

    Arguments:
        n: the order; 2 is the χ²-divergence. At least 1.

    Raises:
        ValueError: an order below 1, for which the limit is no upper bound.
    """

    cites: ClassVar[tuple[str, ...]] = ("dieng2017variational",)

    n: float = 2.0
    bound: Bound = field(default="upper", init=False, repr=False)
    linear: bool = field(default=False, init=False, repr=False)
    rate: RateForm = field(default="sampled", init=False, repr=False)

    def __post_init__(self) -> None:
        require_order(self.n, "CUBO")

    def signal(self, w: LogWeights) -> Float[Tensor, "sample batch"]:
        """log w.

        Raises:
            ValueError: weights whose rate is in closed form.
        """
        return sampled_log_w(w, "CUBO")

    def reduce(self, signal: Float[Tensor, "sample batch"]) -> Float[Tensor, "batch"]:
        """The logarithm of the power mean of order n."""
        return log_power_mean(signal, self.n)


def require_order(n: float, objective: str) -> None:
    """Raise a `ValueError` unless n ≥ 1."""
    if not n >= 1:
        raise ValueError(f"{objective} got n={n} and needs n ≥ 1; use Renyi(alpha={1 - n:g}) for the same formula.")
