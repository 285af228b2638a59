"""The smallest rate at a given distortion: GECO (Rezende & Viola 2018, arXiv:1810.00597, eqs. 2–3, Algorithm 1).

    min_{θ,φ} E[rate]  subject to  E[C] ≤ 0,      C = distortion − target

with expectations over the data and q. The Lagrangian is descended for θ and φ and ascended for its multiplier λ,

    min_{θ,φ} max_{0 ≤ λ ≤ Λ} E[rate] + λ E[C],      λ = Λ sigmoid(η),      η ← η + lr E[C]

which near 0 is the λ ← λ exp(lr E[C]) of Algorithm 1, and stays bounded where the target cannot be reached. The
momentum of the optimiser replaces the running mean of C in Algorithm 1. η learns through a term of value 0, (η − sg(η))
sg(C), whose gradient is C for η and zero for θ and φ; for these λ is a constant.

At the optimum 1/λ is the β of a β-VAE with that distortion: one chooses the distortion, and the method finds the
weight.

Values under different λ cannot be compared. In eval mode the value is that of the inner maximum,

    −(1/B) Σ rate − Λ max(0, (1/B) Σ C)

which is an exact penalty: it has the maximiser of the constrained problem for every Λ above the multiplier of the
optimum. The constraint is on the mean over data, because single data differ widely in distortion. In eval mode, and
only there, the value of a datum therefore depends on the other data of its batch.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lowerbound.protocols import Bound
from lowerbound.weights import LogWeights, RateForm

__all__ = ["GECO"]


class GECO(nn.Module):
    """Minus the rate, and minus λ times the excess of the distortion over its target, nats. Not a bound.

    Arguments:
        target: the mean distortion −log p(x | z) to be reached, nats per datum; a density may make it negative.
        largest: Λ, the upper limit of the multiplier, above 1: λ starts at 1, where the objective is the ELBO.
        rate: "sampled", "entropy" or "kl", as in `ELBO`.

    Raises:
        ValueError: an upper limit that is not above 1.
    """

    cites: ClassVar[tuple[str, ...]] = ("rezende2018taming",)

    bound: Bound = "none"
    linear: bool = True

    def __init__(self, target: float, largest: float = 100.0, rate: RateForm = "sampled"):
        super().__init__()
        if not largest > 1:
            raise ValueError(f"GECO got largest={largest} and needs more than 1, the multiplier at the start.")
        self.target, self.largest, self.rate = target, largest, rate
        self.eta = nn.Parameter(torch.tensor(-math.log(largest - 1)))

    @property
    def multiplier(self) -> Float[Tensor, ""]:
        """λ = Λ sigmoid(η), a constant for θ and φ."""
        return self.largest * torch.sigmoid(self.eta.detach())

    def signal(self, w: LogWeights) -> Float[Tensor, "sample batch"]:
        """Minus the Lagrangian while training; in eval mode, the exact penalty."""
        excess = w.distortion - self.target
        if not self.training:
            return -w.rate - self.largest * w.average(excess).mean().clamp(min=0)
        learns = (self.eta - self.eta.detach()) * excess.detach()
        return learns - w.rate - self.multiplier * excess

    def reduce(self, signal: Float[Tensor, "sample batch"]) -> Float[Tensor, "batch"]:
        """The mean over samples."""
        return signal.mean(0)

    def extra_repr(self) -> str:
        """What it was made with."""
        return f"target={self.target}, largest={self.largest}, rate={self.rate!r}"
