"""The score-function estimator, REINFORCE: Williams (1992); Ranganath et al. (2014, arXiv:1401.0118, eq. 3).

For a value V = R(f(z_1), …, f(z_S)) of samples z_s ~ q_φ,

    ∇_φ E[V] = E[∇V at fixed z + Σ_s (V − b_s) ∇_φ log q_φ(z_s)]

for any b_s that does not depend on z_s. It needs only samples and a density: latents may be discrete.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from lowerbound.baselines import Baseline, LeaveOneOut
from lowerbound.gradients.path_only import detach
from lowerbound.protocols import Estimate, JointDensity, Kind, Objective
from lowerbound.weights import weigh

__all__ = ["ScoreFunction"]


class ScoreFunction(nn.Module):
    """Weighs the score of each sample by how much better than its baseline it was.

    Arguments:
        baseline: gives b (sample, batch); `LeaveOneOut` needs two samples or more; None for no baseline (high
            variance).

    Gradient: unbiased for θ and φ, for every objective and every posterior with a density.
    """

    kind: Kind = "unbiased"

    def __init__(self, baseline: Baseline | None = LeaveOneOut()):  # noqa: B008  (frozen, shared safely)
        super().__init__()
        self.baseline = baseline

    def estimate(
        self, objective: Objective, posterior: Distribution, joint: JointDensity, num_samples: int
    ) -> Estimate:
        """See `protocols.Gradient`."""
        z = detach(posterior.sample(torch.Size((num_samples,))))
        log_q = posterior.log_prob(cast(Tensor, z))
        w = weigh(posterior, joint, z, rate=objective.rate, log_q=log_q)
        signal = objective.signal(w)
        value = objective.reduce(signal)
        reward = value.detach().expand_as(signal)
        if self.baseline is not None:
            reward = reward - self.baseline(objective, signal.detach())
        score = (reward * (log_q - log_q.detach())).sum(0)
        return Estimate(surrogate=value + score, weights=w)

    def check(self, objective: Objective, posterior: Distribution) -> None:
        """Every posterior with samples and a density will do."""
