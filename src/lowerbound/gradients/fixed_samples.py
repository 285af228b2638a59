"""The variance loss with its samples held fixed: Richter et al. (2020, arXiv:2010.10436, §3).

    z_s ~ sg(q_φ),      ∇ R(f_1, …, f_S) at fixed z_1, …, z_S,      f_s = log p(x, z_s) − log q_φ(z_s | x)

The variance of log w under any distribution r of the samples is zero where q is the posterior. r may therefore be a
constant in the derivative, although it has the present value of q. Then only densities are differentiated, and latents
may be discrete. For most objectives this is wrong: for the ELBO it would leave E_q[−∇_φ log q_φ] = 0, that is noise
alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, cast

import torch
from torch import Tensor
from torch.distributions import Distribution

from lowerbound.gradients.path_only import detach
from lowerbound.objectives import LogVariance
from lowerbound.protocols import Estimate, JointDensity, Kind, Objective
from lowerbound.weights import weigh

__all__ = ["FixedSamples"]


@dataclass(frozen=True)
class FixedSamples:
    """Differentiates the objective at samples that are constants.

    Gradient: for θ unbiased. For φ unbiased for the variance under a fixed distribution that happens to be q, which is
    −2 `factor` times the gradient of the ELBO; as a gradient of Var_q[log w], where the sampling distribution is q, it
    is biased. Only for `LogVariance`.
    """

    cites: ClassVar[tuple[str, ...]] = ("richter2020vargrad",)

    kind: Kind = field(default="biased", init=False, repr=False)

    def estimate(
        self, objective: Objective, posterior: Distribution, joint: JointDensity, num_samples: int
    ) -> Estimate:
        """See `protocols.Gradient`."""
        z = detach(posterior.sample(torch.Size((num_samples,))))
        log_q = posterior.log_prob(cast(Tensor, z))
        w = weigh(posterior, joint, z, rate=objective.rate, log_q=log_q)
        return Estimate(surrogate=objective.reduce(objective.signal(w)), weights=w)

    def check(self, objective: Objective, posterior: Distribution, num_samples: int) -> None:
        """Refuse everything but the variance of log w."""
        if not isinstance(objective, LogVariance):
            raise ValueError(
                f"FixedSamples leaves φ without a direction on {type(objective).__name__}; use LogVariance() with it, "
                "or VarGrad() or ScoreFunction() for this objective."
            )
