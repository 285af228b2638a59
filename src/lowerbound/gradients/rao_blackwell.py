"""Rao-Blackwellised score function: Ranganath, Gerrish & Blei (2014, arXiv:1401.0118, §3.1).

For a product q_φ(z | x) = Π_d q_d(z_d), terms without z_d have expectation zero when multiplied by the score of q_d, so
that

    ∇_φ ELBO = Σ_d E_q[h_d(z) ∇_φ log q_d(z_d)],      h_d = log p(x | z) + log p(z_d) − log q_d(z_d)

with all of log p(z) if the prior is not a product. Each factor has its own leave-one-out baseline: with samples z_1, …,
z_S the weight of its score is (h_sd − mean of the others)/S.

The variance falls if the omitted terms are unrelated to those that are kept, as where log p(x | z) hardly depends on
the other latents. Near the posterior it *rises*: log w is nearly constant because the terms of all factors cancel, and
without some of them they no longer do. There `ScoreFunction()` has no variance.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, cast

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent

from lowerbound.baselines import LeaveOneOut
from lowerbound.baselines.baseline import require_samples
from lowerbound.chain import StateChain
from lowerbound.factors import log_prob_per_factor
from lowerbound.gradients.path_only import detach
from lowerbound.gradients.score_function import without_score
from lowerbound.protocols import Estimate, JointDensity, Kind, Objective
from lowerbound.weights import LogWeights, weigh

__all__ = ["RaoBlackwell"]


@dataclass(frozen=True)
class RaoBlackwell:
    """Weighs the score of each factor by the terms that depend on this factor.

    Arguments:
        leave_one_out: whether to subtract the mean of the other samples, which needs at least two samples.

    Gradient: unbiased for θ and φ on the sampled ELBO (any objective that is linear in sampled log w) of a posterior
    that is a product, and of a chain of layers that are; refused elsewhere.
    """

    cites: ClassVar[tuple[str, ...]] = ("ranganath2014black",)

    leave_one_out: bool = True
    kind: Kind = field(default="unbiased", init=False, repr=False)

    @property
    def fewest_samples(self) -> int:
        """That it needs of each datum."""
        return LeaveOneOut().fewest_samples if self.leave_one_out else 1

    def estimate(
        self, objective: Objective, posterior: Distribution, joint: JointDensity, num_samples: int
    ) -> Estimate:
        """See `protocols.Gradient`."""
        if isinstance(posterior, StateChain):
            return self._of_chain(objective, posterior, joint, num_samples)
        z = cast(Tensor, detach(posterior.sample(torch.Size((num_samples,)))))
        log_q = log_prob_per_factor(posterior, z)
        w = weigh(posterior, joint, z, log_q=without_score(objective, log_q.sum(-1)))
        reward = _signal_per_factor(objective, w, joint.prior, log_q.detach())
        score = self._score(reward, log_q, joint)
        return Estimate(surrogate=objective.reduce(objective.signal(w)) + score, weights=w)

    def _of_chain(self, objective: Objective, chain: StateChain, joint: JointDensity, num_samples: int) -> Estimate:
        """Each factor of a layer is weighed without the other factors of its layer and the layers drawn before."""
        z = chain.sample((num_samples,))
        log_q = [log_prob_per_factor(layer, b) for layer, b in zip(chain.layers_at(z), z, strict=True)]
        per_layer = torch.stack([part.sum(-1) for part in log_q])
        w = weigh(chain, joint, z, log_q=without_score(objective, per_layer.sum(0)))
        later = torch.zeros_like(per_layer[0])
        scores = []
        for i in reversed(chain.drawing_order()):
            own = log_q[i].detach()
            reward = _signal_of(objective, w, w.log_prior[..., None], own + later.detach()[..., None])
            scores.append(self._score(reward, log_q[i], joint))
            later = later + per_layer[i]
        return Estimate(surrogate=objective.reduce(objective.signal(w)) + torch.stack(scores).sum(0), weights=w)

    def _score(self, reward: Tensor, log_q: Tensor, joint: JointDensity) -> Tensor:
        """Zero (batch,), with the gradient of the weighed scores of factors (sample, batch, factor)."""
        if self.leave_one_out:
            reward = reward - LeaveOneOut()(reward.flatten(1), joint.x).view_as(reward)
        return (reward * (log_q - log_q.detach())).sum(-1).mean(0)

    def check(self, objective: Objective, posterior: Distribution, num_samples: int) -> None:
        """Refuse everything but objectives linear in sampled log w, and products."""
        if not objective.linear or objective.rate != "sampled":
            raise ValueError(
                f"RaoBlackwell takes log w apart, which {objective} does not allow; use ELBO() or ScoreFunction()."
            )
        layers = posterior.layers_at(posterior.sample()) if isinstance(posterior, StateChain) else (posterior,)
        if not all(isinstance(layer, Independent) for layer in layers):
            raise ValueError(
                f"RaoBlackwell needs a posterior that is a product over latents and {type(posterior).__name__} is not; "
                "use ScoreFunction()."
            )
        if self.leave_one_out:
            require_samples(LeaveOneOut(), num_samples)


def _signal_per_factor(objective: Objective, w: LogWeights, prior: Distribution, log_q: Tensor) -> Tensor:
    """h_d, the signal without the terms of the other factors (sample, batch, factor), a constant."""
    z = cast(Tensor, w.z)
    log_prior = log_prob_per_factor(prior, z) if isinstance(prior, Independent) else w.log_prior[..., None]
    return _signal_of(objective, w, log_prior, log_q)


def _signal_of(objective: Objective, w: LogWeights, log_prior: Tensor, log_q: Tensor) -> Tensor:
    """The signal of terms (sample, batch, factor), a constant."""
    terms = [w.log_likelihood[..., None], log_prior, log_q]
    parts = dict(zip(("log_likelihood", "log_prior", "log_q"), (_flat(t, log_q) for t in terms), strict=True))
    return objective.signal(LogWeights(z=w.z, **parts)).view_as(log_q)


def _flat(term: Tensor, like: Tensor) -> Tensor:
    """Reshape to (sample, batch · factor), so that an objective treats each factor like a datum."""
    return term.detach().expand_as(like).flatten(1)
