"""Measure-valued derivatives of a factorised Gaussian: Mohamed et al. (2020, arXiv:1906.10652, §6, table 1).

The derivative of a density along a parameter is a difference of two densities. For one coordinate z ~ N(μ, σ²),

    ∂/∂μ E[f(z)] = (E[f(μ + σ r)] − E[f(μ − σ r)]) / (σ √(2π)),      p(r) = r exp(−r²/2), r > 0      (Weibull)
    ∂/∂σ E[f(z)] = (E[f(μ + σ m)] − E[f(μ + σ ε)]) / σ,              p(m) = m² exp(−m²/2) / √(2π)    (Maxwell)

with ε ~ N(0, 1) and m of either sign. Coupled samples lower the variance: one r for both signs, and ε = u m with u
uniform on (0, 1), which is N(0, 1) (§6). The value is taken at the sample z ~ q that consists of these ε, so that a
sample costs 3 D + 1 values of f: at z itself, and with each coordinate of z replaced by μ + σ r, by μ − σ r and by μ +
σ m.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from lowerbound.protocols import Estimate, JointDensity, Kind, Objective
from lowerbound.weights import weigh

__all__ = ["MeasureValued"]

_SQRT_2PI = math.sqrt(2 * math.pi)


@dataclass(frozen=True)
class MeasureValued:
    """Differences of the objective instead of derivatives along z: p(x | z) may be a black box with jumps.

    Gradient: unbiased for θ and φ on every objective that is linear in log w, for a factorised Gaussian posterior;
    refused elsewhere.
    """

    cites: ClassVar[tuple[str, ...]] = ("mohamed2020monte",)

    kind: Kind = field(default="unbiased", init=False, repr=False)

    def estimate(
        self, objective: Objective, posterior: Distribution, joint: JointDensity, num_samples: int
    ) -> Estimate:
        """See `protocols.Gradient`."""
        loc, scale = _parameters(posterior)
        shape = (num_samples, *loc.shape)
        m, r = maxwell(loc.detach().expand(shape)), weibull(loc.detach().expand(shape))
        z = (loc + scale * m * torch.rand_like(m)).detach()
        log_q = posterior.log_prob(z).detach()  # its score has expectation zero
        w = weigh(posterior, joint, z, rate=objective.rate, log_q=log_q)
        signal = objective.signal(w)
        value = objective.reduce(signal)
        if torch.is_grad_enabled():
            points = torch.stack([loc + scale * r, loc - scale * r, loc + scale * m]).detach()
            up, down, wide = _replaced(objective, posterior, joint, z, points)
            d_loc = ((up - down) / (scale.detach() * _SQRT_2PI)).mean(0)
            d_scale = ((wide - signal.detach()[..., None]) / scale.detach()).mean(0)
            moved = (loc * d_loc + scale * d_scale).sum(-1)
            value = value + moved - moved.detach()
        return Estimate(surrogate=value, weights=w)

    def check(self, objective: Objective, posterior: Distribution, num_samples: int) -> None:
        """Refuse everything but linear objectives and factorised Gaussians."""
        if not objective.linear:
            raise ValueError(
                f"MeasureValued moves one sample at a time and {type(objective).__name__} is a function of several; "
                "use Pathwise() or ScoreFunction()."
            )
        if not (isinstance(posterior, Independent) and isinstance(posterior.base_dist, Normal)):
            raise ValueError(
                f"MeasureValued knows the derivatives of a DiagonalNormal posterior and got "
                f"{type(posterior).__name__}; use Pathwise() where q is reparameterised and ScoreFunction() where not."
            )


def _parameters(posterior: Distribution) -> tuple[Tensor, Tensor]:
    assert isinstance(posterior, Independent)
    assert isinstance(posterior.base_dist, Normal)
    return posterior.base_dist.loc, posterior.base_dist.scale


def weibull(like: Tensor) -> Tensor:
    """r with density r exp(−r²/2): the length of a Gaussian vector in the plane."""
    return (2 * torch.empty_like(like).exponential_()).sqrt()


def maxwell(like: Tensor) -> Tensor:
    """m with density m² exp(−m²/2)/√(2π): the length of a Gaussian vector in space, with a random sign."""
    e = torch.randn(3, *like.shape, dtype=like.dtype, device=like.device)
    return e.norm(dim=0).copysign(torch.rand_like(like) - 0.5)


@torch.no_grad()
def _replaced(
    objective: Objective, posterior: Distribution, joint: JointDensity, z: Tensor, points: Tensor
) -> Float[Tensor, "point sample batch latent"]:
    """The signal at z with one coordinate taken from the points (point, sample, batch, latent), for each coordinate."""
    own = torch.eye(z.shape[-1], dtype=torch.bool, device=z.device)[:, None, None]
    moved = torch.where(own, points[:, None], z)  # (point, coordinate, sample, batch, latent)
    w = weigh(posterior, joint, moved.flatten(0, 2), rate=objective.rate)
    return objective.signal(w).unflatten(0, moved.shape[:3]).movedim(1, -1)
