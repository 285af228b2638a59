"""Free bits: Kingma et al. (2016, arXiv:1606.04934, eq. 15).

    log p(x | z) − Σ_g max(λ, KL(q(z_g | x) ‖ p(z_g)))

A group g of latents that spends less than λ nats is charged λ: it gains nothing by falling silent, and latents are not
pruned early in training, before the decoder has learnt to read them. Since max(λ, KL) ≥ KL, it is at most the ELBO.

Here the maximum is taken for each datum. Kingma et al. take that of the mean over a minibatch, which is a function of a
batch and not of a datum; by Jensen's inequality it charges less. A group below λ has no gradient from its rate.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from lowerbound.objectives.require import closed_form_rate
from lowerbound.protocols import Bound
from lowerbound.weights import LogWeights, RateForm

__all__ = ["FreeBits"]


@dataclass(frozen=True)
class FreeBits:
    """The ELBO in which every group of latents may spend λ nats on each datum free of charge: a lower bound, nats.

    Arguments:
        nats: λ, of each group; 0 is the ELBO.
        per: what a group is: "dimension", every factor of a product q(z | x) by itself; "group", all of z.

    Raises:
        ValueError: a negative number of nats, or another word for a group.
    """

    nats: float = 0.25
    per: Literal["dimension", "group"] = "dimension"
    bound: Bound = field(default="lower", init=False, repr=False)
    linear: bool = field(default=True, init=False, repr=False)
    rate: RateForm = field(default="kl", init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.nats >= 0:
            raise ValueError(f"FreeBits got nats={self.nats} and needs 0 or more.")
        if self.per not in ("dimension", "group"):
            raise ValueError(f"FreeBits got per={self.per!r}; choose 'dimension' or 'group'.")

    def signal(self, w: LogWeights) -> Float[Tensor, "sample batch"]:
        """log p(x | z) less what the groups are charged.

        Raises:
            ValueError: the rate is not in closed form, or, per dimension, q or p is not a product.
        """
        rate = closed_form_rate(w, "FreeBits")
        if self.per == "group":
            return w.log_likelihood - rate.clamp(min=self.nats)
        if w.rate_per_factor is None:
            raise ValueError(
                "FreeBits(per='dimension') needs a posterior and a prior that are both products over the coordinates "
                "of z; use per='group', or DiagonalNormal and StandardNormal."
            )
        return w.log_likelihood - w.rate_per_factor.clamp(min=self.nats).sum(-1)

    def reduce(self, signal: Float[Tensor, "sample batch"]) -> Float[Tensor, "batch"]:
        """The mean over samples."""
        return signal.mean(0)
