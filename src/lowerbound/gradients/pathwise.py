"""The pathwise (reparameterised) estimator: Kingma & Welling (2013, arXiv:1312.6114, §2.4), Rezende et al. (2014,
arXiv:1401.4082, §4).

z = g_φ(ε, x), ε ~ p(ε):      ∇_φ E_q[f(z)] = E_ε[∇_φ f(g_φ(ε, x))]
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch.distributions import Distribution

from lowerbound.hooks import Jumps, WithoutDensity
from lowerbound.protocols import Estimate, JointDensity, Kind, Objective, RateForm
from lowerbound.weights import weigh

__all__ = ["Pathwise", "require_differentiable", "require_reparameterised"]


@dataclass(frozen=True)
class Pathwise:
    """Differentiates the objective through the sample.

    Gradient: unbiased for θ and φ, for every objective; q(z | x) must be reparameterised.
    """

    cites: ClassVar[tuple[str, ...]] = ("kingma2014auto", "rezende2014stochastic")

    kind: Kind = field(default="unbiased", init=False, repr=False)

    def estimate(
        self, objective: Objective, posterior: Distribution, joint: JointDensity, num_samples: int
    ) -> Estimate:
        """See `protocols.Gradient`."""
        z = posterior.rsample(torch.Size((num_samples,)))
        w = weigh(posterior, joint, z, rate=objective.rate)
        return Estimate(surrogate=objective.reduce(objective.signal(w)), weights=w)

    def check(self, objective: Objective, posterior: Distribution, num_samples: int) -> None:
        """Refuse a posterior that cannot be reparameterised."""
        require_reparameterised(posterior, "Pathwise", objective.rate)


def require_differentiable(posterior: Distribution, estimator: str) -> None:
    """Raise a `ValueError` unless draws of q(z | x) have a pathwise derivative."""
    if not posterior.has_rsample:
        raise ValueError(
            f"{estimator} needs a reparameterised posterior and {type(posterior).__name__} is not; use ScoreFunction()."
        )


def require_reparameterised(posterior: Distribution, estimator: str, rate: RateForm = "sampled") -> None:
    """Raise a `ValueError` unless q(z | x) has a density and a pathwise derivative, and the rate one along it."""
    require_differentiable(posterior, estimator)
    if isinstance(posterior, WithoutDensity):
        raise ValueError(
            f"{estimator} needs log q(z | x) and {type(posterior).__name__} has no density; use DensityRatio() or "
            "AggregateRatio(), which estimate the rate."
        )
    if isinstance(posterior, Jumps) and rate != "kl":
        raise ValueError(
            f"{estimator} got a {rate} rate, which jumps with the bits of {type(posterior).__name__}, so that its "
            "gradient would be wrong; use Pathwise() with rate='kl'."
        )
