"""The loss of a model, an objective and a gradient estimator: minus the mean bound of a batch."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from lowerbound.inference import Draws, InferenceScheme, with_inference
from lowerbound.losses.loss import Loss, LossOutput
from lowerbound.model import LatentVariableModel
from lowerbound.objectives import ChiDivergence
from lowerbound.protocols import Context, Gradient, Objective, Penalty
from lowerbound.randomness import forked
from lowerbound.weights import LogWeights, weigh

__all__ = ["VariationalLoss", "check_same_kind"]


class VariationalLoss(Loss):
    """minus the mean over the batch of the surrogate of an objective.

    Arguments:
        model: p(x, z) and q(z | x).
        objective: from log w to a bound per datum.
        gradient: how the bound differentiates.
        num_samples: S, latents drawn per datum.
        penalty: what is subtracted from the mean bound for the codes of the whole batch, or None.
        inference: how q(z | x) is reached, if not by the encoder alone; `self.model` then infers in this way.

    Returns (when called with a batch x (B, *event)):
        The loss in nats per datum, and the terms bound, likelihood, prior and posterior: batch means of the objective,
        log p(x | z), log p(z) and log q(z | x). With a penalty, it is a term too, and is taken off the bound. With
        several layers of latents, also rate_1, rate_2, …: what each adds to the rate, nats, that of z_1 first.
    """

    def __init__(
        self,
        model: LatentVariableModel,
        objective: Objective,
        gradient: Gradient,
        num_samples: int = 1,
        penalty: Penalty | None = None,
        inference: InferenceScheme | None = None,
    ):
        super().__init__()
        if num_samples < 1:
            raise ValueError(f"VariationalLoss got num_samples={num_samples} and needs at least 1.")
        self.model = model if inference is None else with_inference(model, inference)
        self.objective, self.gradient, self.num_samples = objective, gradient, num_samples
        self.penalty = penalty

    def forward(self, x: Tensor, context: Context | None = None) -> LossOutput:
        """The loss of one batch."""
        q, joint = self.model.infer(x, context), self.model.joint(x, context)
        estimate = self.gradient.estimate(self.objective, q, joint, self.num_samples)
        value, w = estimate.surrogate.mean(), estimate.weights
        parts = {"likelihood": w.log_likelihood, "prior": w.log_prior, "posterior": w.log_q, **_rates(w)}
        terms = {name: w.average(part.detach()) for name, part in parts.items()}
        if self.penalty is not None:
            terms["penalty"] = self.penalty(q, joint.prior)
            value = value - terms["penalty"]
        return LossOutput(-value, {name: term.detach().mean() for name, term in {"bound": value, **terms}.items()})

    def check(self, x: Tensor, context: Context | None = None) -> None:
        """Raise a `ValueError` if the choices do not go together, before any training."""
        q, joint = self.model.infer(x, context), self.model.joint(x, context)
        p = joint.prior
        if isinstance(q, Draws):
            raise ValueError(f"{type(self).__name__} needs a q(z | x) with a density and HMC gives draws; use Local().")
        _check_direction(self.objective, self.model)
        self.gradient.check(self.objective, q)
        check_same_kind(q, p)
        with torch.no_grad(), forked(x.device, 0):
            self.objective.signal(weigh(q, joint, q.sample(torch.Size((2,))), rate=self.objective.rate))
        if self.penalty is not None:
            self.penalty.check(q, p)


def _rates(w: LogWeights) -> dict[str, Tensor]:
    """The rate of each layer (S, B), where there are several."""
    if w.rate_per_group is None or w.rate_per_group.shape[-1] == 1:
        return {}
    return {f"rate_{layer}": rate for layer, rate in enumerate(w.rate_per_group.unbind(-1), 1)}


def _check_direction(objective: Objective, model: LatentVariableModel) -> None:
    """What is maximised must be worth raising, for every parameter that learns."""
    name = type(objective).__name__
    if objective.bound == "upper":
        raise ValueError(
            f"{name} is an upper bound of log p(x), which training would raise; read it after training, and train on "
            "ELBO() or IWAE()."
        )
    parts = [part for part in (model.prior, model.likelihood) if isinstance(part, nn.Module)]
    if isinstance(objective, ChiDivergence) and any(p.requires_grad for part in parts for p in part.parameters()):
        raise ValueError(
            f"{name} fits q to a p that is held fixed, and would lower log p(x); freeze the parameters of prior and "
            "likelihood (requires_grad_(False)), or train on ELBO() or IWAE()."
        )


def check_same_kind(q: Distribution, p: Distribution) -> None:
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
