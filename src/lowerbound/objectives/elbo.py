"""The evidence lower bound of Jordan et al. (1999) and Kingma & Welling (2013, arXiv:1312.6114, eqs. 2–3).

    ELBO(x) = E_q[log p(x | z) + log p(z) − log q(z | x)] = log p(x) − KL(q(z | x) ‖ p(z | x))

It has three estimators, which differ in the part of the rate that is in closed form:

    sampled   (1/S) Σ_s log p(x | z_s) + log p(z_s) − log q(z_s | x)
    entropy   (1/S) Σ_s log p(x | z_s) + log p(z_s) + H(q)
    kl        (1/S) Σ_s log p(x | z_s) − KL(q ‖ p)

They agree in expectation. None has the lowest variance everywhere: at q = posterior the sampled form has no variance at
all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from lowerbound.protocols import Bound
from lowerbound.weights import LogWeights, RateForm

__all__ = ["ELBO"]


@dataclass(frozen=True)
class ELBO:
    """The mean of log w over the samples: a lower bound of log p(x), nats.

    Arguments:
        rate: "sampled", "entropy" or "kl"; a closed form is refused where the distributions have none.
    """

    cites: ClassVar[tuple[str, ...]] = ("jordan1999introduction", "kingma2014auto")

    rate: RateForm = "sampled"
    bound: Bound = field(default="lower", init=False, repr=False)
    linear: bool = field(default=True, init=False, repr=False)

    def signal(self, w: LogWeights) -> Float[Tensor, "sample batch"]:
        """log w."""
        return w.log_w

    def reduce(self, signal: Float[Tensor, "sample batch"]) -> Float[Tensor, "batch"]:
        """The mean over samples."""
        return signal.mean(0)
