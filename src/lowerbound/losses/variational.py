"""The loss of a model, an objective and a gradient estimator: minus the mean bound of a batch."""

from __future__ import annotations

from torch import Tensor
from torch.distributions import Distribution

from lowerbound.losses.loss import Loss, LossOutput
from lowerbound.model import LatentVariableModel
from lowerbound.protocols import Context, Gradient, Objective, Penalty

__all__ = ["VariationalLoss"]


class VariationalLoss(Loss):
    """minus the mean over the batch of the surrogate of an objective.

    Arguments:
        model: p(x, z) and q(z | x).
        objective: from log w to a bound per datum.
        gradient: how the bound differentiates.
        num_samples: S, latents drawn per datum.
        penalty: what is subtracted from the mean bound for the codes of the whole batch, or None.

    Returns (when called with a batch x (B, *event)):
        The loss in nats per datum, and the terms bound, likelihood, prior and posterior: batch means of the objective,
        log p(x | z), log p(z) and log q(z | x). With a penalty, it is a term too, and is taken off the bound.
    """

    def __init__(
        self,
        model: LatentVariableModel,
        objective: Objective,
        gradient: Gradient,
        num_samples: int = 1,
        penalty: Penalty | None = None,
    ):
        super().__init__()
        if num_samples < 1:
            raise ValueError(f"VariationalLoss got num_samples={num_samples} and needs at least 1.")
        self.model, self.objective, self.gradient, self.num_samples = model, objective, gradient, num_samples
        self.penalty = penalty

    def forward(self, x: Tensor, context: Context | None = None) -> LossOutput:
        """The loss of one batch."""
        q, joint = self.model.infer(x, context), self.model.joint(x, context)
        estimate = self.gradient.estimate(self.objective, q, joint, self.num_samples)
        value, w = estimate.surrogate.mean(), estimate.weights
        terms = {"likelihood": w.log_likelihood, "prior": w.log_prior, "posterior": w.log_q}
        if self.penalty is not None:
            terms["penalty"] = self.penalty(q, joint.prior)
            value = value - terms["penalty"]
        return LossOutput(-value, {name: term.detach().mean() for name, term in {"bound": value, **terms}.items()})

    def check(self, x: Tensor, context: Context | None = None) -> None:
        """Raise a `ValueError` if the choices do not go together, before any training."""
        q = self.model.infer(x, context)
        p = self.model.prior(context)
        self.gradient.check(self.objective, q)
        _check_same_kind(q, p)
        if self.penalty is not None:
            self.penalty.check(q, p)


def _check_same_kind(q: Distribution, p: Distribution) -> None:
    """A probability cannot be set against a density: their ratio bounds nothing."""
    kinds = [_is_discrete(q), _is_discrete(p)]
    if None not in kinds and kinds[0] != kinds[1]:
        words = ["a probability" if kind else "a density" for kind in kinds]
        raise ValueError(
            f"q(z | x) is {words[0]} and p(z) is {words[1]}, so log p(z) − log q(z | x) bounds nothing; choose a prior "
            "and a posterior over the same latents (both continuous, both Bernoulli, or both categorical)."
        )


def _is_discrete(distribution: Distribution) -> bool | None:
    """Whether its values are discrete; None where it does not say."""
    try:
        support = distribution.support
    except NotImplementedError:
        return None
    return None if support is None else bool(support.is_discrete)
