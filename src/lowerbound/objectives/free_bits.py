"""Free bits: Kingma et al. (2016, arXiv:1606.04934, eq. 15).

    log p(x | z) − Σ_g max(λ, KL(q(z_g | x) ‖ p(z_g)))

A group g of latents whose rate is below λ nats costs λ: it gains nothing by a smaller rate, so that latents are not
lost early in training, before the decoder has learnt to use them. Since max(λ, KL) ≥ KL, the value is at most the ELBO.

Here the maximum is taken for each datum. Kingma et al. take it of the mean over a minibatch, which makes the value of a
datum depend on its batch; by Jensen's inequality their cost is lower. The rate of a group below λ has no gradient.

The groups of a hierarchy are its layers, as in the paper. The KL of a layer is known given the layers drawn before it,
and the maximum is taken for each draw: since E max(λ, KL) ≥ E KL, the value is at most the ELBO again.

    log p(x | z) − a_t Σ_g max(λ, KL_g),      a_t = min(t / warmup, 1) while training, 1 in eval mode

turns the rate on slowly as well, which is how ladders are trained (Sønderby et al. 2016, arXiv:1602.02282, §2.2).
"""

from __future__ import annotations

from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor, nn

from lowerbound.objectives.beta_elbo import BetaELBO
from lowerbound.objectives.require import closed_form
from lowerbound.protocols import Bound
from lowerbound.weights import LogWeights, RateForm

__all__ = ["FreeBits"]


class FreeBits(nn.Module):
    """The ELBO with λ nats of rate free of cost for each datum and group of latents: a lower bound, nats.

    Arguments:
        nats: λ, of each group; 0 is the ELBO.
        per: what a group is: "dimension", every factor of a product q(z | x) by itself; "group", all of z, or each
            layer of a hierarchy.
        warmup: steps in which the weight of the cost rises linearly from 0 to 1; 0 for none.

    Raises:
        ValueError: a negative number of nats or steps, or an unknown `per`.
    """

    cites: ClassVar[tuple[str, ...]] = ("kingma2016improved", "sonderby2016ladder")

    linear: bool = True
    rate: RateForm = "kl"

    def __init__(self, nats: float = 0.25, per: Literal["dimension", "group"] = "dimension", warmup: int = 0):
        super().__init__()
        for name, value in {"nats": nats, "warmup": warmup}.items():
            if not value >= 0:
                raise ValueError(f"FreeBits got {name}={value} and needs 0 or more.")
        if per not in ("dimension", "group"):
            raise ValueError(f"FreeBits got per={per!r}; choose 'dimension' or 'group'.")
        self.nats, self.per, self.warmup = nats, per, warmup
        self.weighted = BetaELBO(1.0, warmup, rate="kl")

    @property
    def works(self) -> tuple[str, ...]:
        """The rate that rises slowly only where it does."""
        return self.cites if self.warmup else self.cites[:1]

    @property
    def bound(self) -> Bound:
        """A lower bound without a warm-up."""
        return self.weighted.bound

    def signal(self, w: LogWeights) -> Float[Tensor, "sample batch"]:
        """log p(x | z) minus the cost of the groups.

        Raises:
            ValueError: the rate is not in closed form, or, per dimension, q or p is not a product.
        """
        rate = closed_form(w, "FreeBits").rate
        if self.per == "group":
            groups = rate[..., None] if w.rate_per_group is None else w.rate_per_group
            return w.log_likelihood - self.weighted.weight * groups.clamp(min=self.nats).sum(-1)
        if w.rate_per_factor is None:
            raise ValueError(
                "FreeBits(per='dimension') needs a posterior and a prior that are both products over the coordinates "
                "of z; use per='group', or DiagonalNormal and StandardNormal."
            )
        return w.log_likelihood - self.weighted.weight * w.rate_per_factor.clamp(min=self.nats).sum(-1)

    def reduce(self, signal: Float[Tensor, "sample batch"]) -> Float[Tensor, "batch"]:
        """The mean over samples."""
        return signal.mean(0)

    def __repr__(self) -> str:
        """What it was made with, in one line."""
        warmup = f", warmup={self.warmup}" if self.warmup else ""
        return f"FreeBits(nats={self.nats}, per={self.per!r}{warmup})"
