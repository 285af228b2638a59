"""VarGrad: Richter, Boustati, Nüsken, Ruiz & Akyildiz (2020, arXiv:2010.10436, eqs. 8–9).

    ∇_φ ELBO ≈ −∇_φ ½/(S−1) Σ_s (f_s − f̄)² = 1/(S−1) Σ_s (f_s − f̄) ∇_φ log q_φ(z_s | x),      f_s = log w_s

at fixed samples, with p(x, z) constant: the gradient of the log-variance divergence is that of the ELBO. It equals the
leave-one-out score function, because (f_s − f̄)/(S−1) = (f_s − mean of the others)/S, and it is zero at every draw
where q(z | x) is the posterior. θ follows the ELBO at the same samples.

The same holds for any mean of f_s = log p(x | z_s) − β rate_s: E_q[∇_φ f] is a multiple of E_q[∇_φ log q_φ] = 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, cast

import torch
from torch import Tensor
from torch.distributions import Distribution

from lowerbound.gradients.path_only import detach
from lowerbound.protocols import Estimate, JointDensity, Kind, Objective
from lowerbound.weights import weigh

__all__ = ["VarGrad"]


@dataclass(frozen=True)
class VarGrad:
    """Weighs the score of each sample by how far its log w is above the mean: equal to `ScoreFunction(LeaveOneOut())`.

    Gradient: unbiased for θ and φ on objectives that are linear in log w with a sampled rate (`ELBO`, `BetaELBO`,
    `GECO`), for every posterior with a density; refused elsewhere. Needs two samples or more.
    """

    cites: ClassVar[tuple[str, ...]] = ("richter2020vargrad",)

    kind: Kind = field(default="unbiased", init=False, repr=False)
    fewest_samples: int = field(default=2, init=False, repr=False)

    def estimate(
        self, objective: Objective, posterior: Distribution, joint: JointDensity, num_samples: int
    ) -> Estimate:
        """See `protocols.Gradient`.

        Raises:
            ValueError: one sample, which has no variance.
        """
        _require_two(num_samples)
        z = detach(posterior.sample(torch.Size((num_samples,))))
        log_q = posterior.log_prob(cast(Tensor, z))
        w = weigh(posterior, joint, z, log_q=log_q.detach())
        f = objective.signal(w)
        centred = (f - f.mean(0)).detach()
        score = (centred * (log_q - log_q.detach())).sum(0) / (num_samples - 1)
        return Estimate(surrogate=objective.reduce(f) + score, weights=w)

    def check(self, objective: Objective, posterior: Distribution, num_samples: int) -> None:
        """Refuse objectives that are not a mean of a sampled log w, and a single sample."""
        if not objective.linear:
            raise ValueError(
                f"VarGrad is derived for ELBO and not for {type(objective).__name__}; use ScoreFunction()."
            )
        if objective.rate != "sampled":
            raise ValueError(
                f"VarGrad leaves out the gradient of a closed form (rate={objective.rate!r}); use rate='sampled', or "
                "ScoreFunction()."
            )
        _require_two(num_samples)


def _require_two(num_samples: int) -> None:
    if num_samples < 2:
        raise ValueError(f"VarGrad got num_samples={num_samples} and needs at least 2, for a variance; draw more.")
