"""InfoVAE and MMD-VAE: Zhao, Song & Ermon (2017, arXiv:1706.02262).

    MMD²(q, p) = E[k(z, z')] + E[k(y, y')] − 2 E[k(z, y)],      z, z' ~ q(z) = E_x[q(z | x)],  y, y' ~ p(z)

is zero if and only if the aggregate posterior is the prior (k is characteristic). The unbiased estimate by means over
pairs of different rows (Gretton et al. 2012, eq. 3) may be slightly negative. With r = ‖z − y‖,

    "rbf"   k = exp(−r² / 2h²)            "imq"   k = 1 / (1 + r² / 2h²), whose heavier tails reach latents far away

InfoVAE's bound is E_q[log p(x | z)] − (1 − α) KL(q(z | x) ‖ p) − (α + λ − 1) MMD²: here `BetaELBO(beta=1 − α)` and
`MMD(weight=α + λ − 1)`. With the ELBO α = 0; MMD-VAE is α = 1, a beta of 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution

from lowerbound.penalties.latents import check_weight, latents_drawn, require_latents

__all__ = ["MMD", "Kernel"]

Kernel: TypeAlias = Literal["rbf", "imq"]


@dataclass(frozen=True)
class MMD:
    """weight · MMD²(q(z), p(z)), which draws the distribution of all latents, not that of each row, to the prior.

    Arguments:
        weight: α + λ − 1 in InfoVAE. MMD² is between 0 and 2, so that weights of 10 to 1,000 nats are usual.
        kernel: "rbf" or "imq".
        bandwidth: h, in the units of z; None for √d, which makes 2h² the mean r² of standard normal latents.

    Gradient: unbiased for φ. The prior is held fixed: θ learns from the bound alone.

    Raises:
        ValueError: a negative weight, an unknown kernel, or a bandwidth that is not positive.
    """

    cites: ClassVar[tuple[str, ...]] = ("zhao2017infovae", "gretton2012kernel")

    weight: float = 10.0
    kernel: Kernel = "rbf"
    bandwidth: float | None = None

    def __post_init__(self) -> None:
        check_weight(self.weight, "MMD")
        if self.kernel not in ("rbf", "imq"):
            raise ValueError(f"MMD got kernel={self.kernel!r} and expected 'rbf' or 'imq'.")
        if self.bandwidth is not None and not 0 < self.bandwidth < math.inf:
            raise ValueError(f"MMD got bandwidth={self.bandwidth} and expected a positive number, or None for √d.")

    def __call__(self, posterior: Distribution, prior: Distribution) -> Float[Tensor, ""]:
        """See `protocols.Penalty`. A single row, which may remain in evaluation, has no pairs and counts as 0."""
        z = latents_drawn(posterior, "MMD").flatten(1)
        if len(z) < 2:
            return z.new_zeros(())
        with torch.no_grad():
            y = prior.sample(torch.Size(() if prior.batch_shape else z.shape[:1])).to(z.dtype).flatten(1)
        within = _mean_of_pairs(self._kernel(z, z)) + _mean_of_pairs(self._kernel(y, y))
        return self.weight * (within - 2 * self._kernel(z, y).mean())

    def check(self, posterior: Distribution, prior: Distribution) -> None:
        """Refuse a posterior that cannot be reparameterised."""
        require_latents(posterior, "MMD")

    def _kernel(self, a: Float[Tensor, "row dim"], b: Float[Tensor, "column dim"]) -> Float[Tensor, "row column"]:
        """k(a_i, b_j)."""
        h2 = a.shape[1] if self.bandwidth is None else self.bandwidth * self.bandwidth  # ** raises where it is ∞
        scaled = torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist").square() / (2 * h2)
        return torch.exp(-scaled) if self.kernel == "rbf" else 1 / (1 + scaled)


def _mean_of_pairs(k: Float[Tensor, "row row"]) -> Float[Tensor, ""]:
    """The mean over i ≠ j: a row with itself, where k = 1, is no pair of independent draws."""
    size = len(k)
    return (k.sum() - size) / (size * (size - 1))
