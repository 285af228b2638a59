"""The loss of a model, an objective and a gradient estimator: minus the mean bound of a batch (Kingma & Welling 2013,
arXiv:1312.6114, eq. 8).
"""

from __future__ import annotations

import copy
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from lowerbound.called import name_of
from lowerbound.criterion import Criterion
from lowerbound.inference import HMC, Draws, InferenceScheme, with_inference
from lowerbound.losses.guards import batch_norms, check_direction, check_point_mass, check_same_kind, refuse_batch_norm
from lowerbound.losses.loss import Loss, LossOutput, first_two
from lowerbound.model import Joint, LatentVariableModel
from lowerbound.nets.precision import nets_alone_autocast
from lowerbound.protocols import Context, Gradient, Objective, Penalty
from lowerbound.randomness import forked
from lowerbound.weights import LogWeights

__all__ = ["VariationalLoss"]


class VariationalLoss(Loss):
    """minus the mean over the batch of the surrogate of an objective.

    Arguments:
        model: p(x, z) and q(z | x).
        objective: from log w to a bound per datum.
        gradient: how the bound differentiates.
        num_samples: S, latents drawn per datum.
        penalty: what is subtracted from the mean bound for the latents of the whole batch, or None.
        inference: how q(z | x) is computed, if not by the encoder alone; `self.model` then infers in this way.

    Returns (when called with a batch x (B, *event)):
        The loss in nats per datum, and the terms bound, likelihood, prior and posterior: batch means of the objective,
        log p(x | z), log p(z) and log q(z | x). Where the rate is estimated they are estimate, likelihood and
        estimated_rate, beside those of the estimator. A penalty is another term, and is subtracted from the bound. With
        several layers of latents, rate_1, rate_2, … are the contributions of the layers to the rate, nats, z_1 first.
    """

    cites: ClassVar[tuple[str, ...]] = ("kingma2014auto",)

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
        if inference is not None:
            self.every_parameter_learns = False  # the encoder may be asked for a start alone, or not at all
        self._runs_chains = isinstance(inference, HMC)
        self.objective, self.gradient, self.num_samples = objective, gradient, num_samples
        self.penalty = penalty
        self._checked_in: bool | None = None  # whether that was in training mode; None before the first check
        self._norms: tuple[nn.Module, ...] = ()  # those of the model; in eval mode when it was checked

    @nets_alone_autocast
    def forward(self, x: Tensor, context: Context | None = None) -> LossOutput:
        """The loss of one batch. The first one is checked as `check` does."""
        if not torch.compiler.is_compiling():
            self._check_once(x, context)
        return self.of(self.model.infer(x, context), self.model.joint(x, context))

    def of(self, q: Distribution, joint: Joint) -> LossOutput:
        """The loss of a batch, of which q(z | x) is known already."""
        estimate = self.gradient.estimate(self.objective, q, joint, self.num_samples)
        value, w = estimate.surrogate.mean(), estimate.weights
        parts = {"likelihood": w.log_likelihood, "prior": w.log_prior, "posterior": w.log_q, **_rates(w)}
        if w.form == "estimated":
            parts = {"likelihood": w.log_likelihood, "estimated_rate": w.rate}
        with torch.no_grad():
            terms = {name: w.mean(part) for name, part in parts.items()} | dict(estimate.terms)
        if self.penalty is not None:
            terms["penalty"] = self.penalty(q, joint.prior)
            value = value - terms["penalty"]
        named = {_criterion(w): value, **terms}
        whole = {name: term if term.ndim == 0 else term.mean() for name, term in named.items()}
        return LossOutput(-value, {name: term.detach() for name, term in whole.items()})

    def check(self, x: Tensor, context: Context | None = None) -> None:
        """Raise a `ValueError` if the choices do not go together, before any training. Draws no random number."""
        self._checked_in = None
        self._refuse_chains()
        self.check_rows(x, context)
        with forked(x.device, 0):  # inference may draw too: its schemes, and dropout
            self._check_choices(*first_two(x, context))
        self._checked_in = self.training
        self._norms = batch_norms(self.model)

    def _refuse_chains(self, q: Distribution | None = None) -> None:
        """Refuse chains by their name, before they are run, and by what they give."""
        if self._runs_chains or isinstance(q, Draws):
            raise ValueError(f"{type(self).__name__} needs a q(z | x) with a density and HMC gives draws; use Local().")

    def _check_choices(self, x: Tensor, context: Context | None) -> None:
        q, joint = self.model.infer(x, context), self.model.joint(x, context)
        self._refuse_chains(q)
        check_direction(self.objective, self.model)
        self.gradient.check(self.objective, q, self.num_samples)
        check_same_kind(q, joint.prior)
        check_point_mass(q, self.gradient)
        self._try(q, joint)
        if self.penalty is not None:
            self.penalty.check(q, joint.prior)

    @torch.no_grad()
    def _try(self, q: Distribution, joint: Joint) -> None:
        """Estimate once with copies, so that the estimator itself refuses what it cannot do with q."""
        objective, gradient = copy.deepcopy((self.objective, self.gradient))
        try:
            w = gradient.estimate(objective, q, joint, self.num_samples).weights
            objective.signal(w)
            self.criterion = _criterion(w)
        except NotImplementedError:
            raise ValueError(
                f"{type(gradient).__name__} needs a density or draws that {name_of(q)} does not have; "
                "use another gradient estimator or another posterior."
            ) from None

    def _check_once(self, x: Tensor, context: Context | None) -> None:
        """Check the first batch, and the first batch in training mode again, where BatchNorm is another function."""
        if self._checked_in is None or (self.training and not self._checked_in):
            self.check(x, context)
        elif any(norm.training for norm in self._norms):
            refuse_batch_norm(self.model)


def _criterion(w: LogWeights) -> Criterion:
    """What the value of an objective of these weights is."""
    return "estimate" if w.form == "estimated" else "bound"


def _rates(w: LogWeights) -> dict[str, Tensor]:
    """The rate of each layer (S, B), where there are several."""
    if w.rate_per_group is None or w.rate_per_group.shape[-1] == 1:
        return {}
    return {f"rate_{layer}": rate for layer, rate in enumerate(w.rate_per_group.unbind(-1), 1)}
