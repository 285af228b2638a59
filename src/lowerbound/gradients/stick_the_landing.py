"""Sticking the landing: Roeder, Wu & Duvenaud (2017, arXiv:1703.09194, eq. 8).

The pathwise derivative of the ELBO contains the score −∇_φ log q_φ(z) at fixed z, whose expectation is zero. Without
this term the estimator has no variance where q(z | x) = p(z | x).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch.distributions import Distribution

from lowerbound.gradients.path_only import path_only_log_prob
from lowerbound.gradients.pathwise import require_reparameterised
from lowerbound.protocols import Estimate, JointDensity, Kind, Objective
from lowerbound.weights import weigh

__all__ = ["StickTheLanding"]


@dataclass(frozen=True)
class StickTheLanding:
    """The pathwise gradient of the ELBO without the score term.

    Gradient: unbiased for θ and φ on the ELBO with a sampled rate; refused elsewhere (on IWAE it is wrong: use DReG).
    """

    cites: ClassVar[tuple[str, ...]] = ("roeder2017sticking",)

    kind: Kind = field(default="unbiased", init=False, repr=False)

    def estimate(
        self, objective: Objective, posterior: Distribution, joint: JointDensity, num_samples: int
    ) -> Estimate:
        """See `protocols.Gradient`."""
        z = posterior.rsample(torch.Size((num_samples,)))
        w = weigh(posterior, joint, z, log_q=path_only_log_prob(posterior, z))
        return Estimate(surrogate=objective.reduce(objective.signal(w)), weights=w)

    def check(self, objective: Objective, posterior: Distribution, num_samples: int) -> None:
        """Refuse everything but the sampled ELBO of a reparameterised posterior."""
        require_reparameterised(posterior, "StickTheLanding")
        if not objective.linear:
            raise ValueError(
                f"StickTheLanding is biased on {type(objective).__name__}: its score term does not vanish; use DReG()."
            )
        if objective.rate != "sampled":
            raise ValueError(
                f"StickTheLanding has no score to remove at rate={objective.rate!r}; use rate='sampled' or Pathwise()."
            )
