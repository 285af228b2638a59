"""The second stage of a model of codes: its prior is fitted to what q draws, and nothing else changes.

    maximise_p  E_data E_q(z|x)[log p(z)]        bound = E[log p(x | z) + log p(z) − log q(z | x)]

The bound is that of the whole model, so that the course of the second stage goes on from that of the first. Decoding
every batch for a number that rests would take most of the time: in training log p(x | z) is its mean over some rows.
The same loss fits a prior that was trained with its model to codes that are rounded, where training had noise in the
place of rounding (`RoundedPriorAlone`).
A prior with a loss of its own (`two_stage.HasFittingLoss`) learns by that, and in the second half of the steps by
−log p(z) as any other prior (`closing.Course`); its log p(z) as it is scored, which may take many times as long as a
step, is taken every 100 steps in training, and stands until the next.
"""

from __future__ import annotations

import copy
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from lowerbound.hooks import Latents
from lowerbound.losses.loss import Loss, LossOutput, first_two
from lowerbound.model import LatentVariableModel
from lowerbound.priors import AfterTraining
from lowerbound.priors.closing import Course
from lowerbound.priors.two_stage import HasFittingLoss, HasFittingRate, fitting_loss
from lowerbound.protocols import Context

__all__ = ["PriorAlone", "RoundedPriorAlone"]

_ROWS, _EVERY = 500, 100


class PriorAlone(Loss):
    """What the prior is fitted by, averaged over the codes of a batch: −log p(z), or its own loss in the first half.

    Arguments:
        model: a model whose prior is `AfterTraining`; its other parts are read and are no part of this loss.
        x: some training rows (N, *event), over which log p(x | z) is averaged.

    Returns (when called with a batch x (B, *event)):
        The loss, in nats per datum where it is −log p(z), and the terms bound, likelihood, prior and posterior of the
        whole model.

    Raises:
        ValueError: a model with another prior.
    """

    by_name = False
    prior: Any
    course: Course | None = None
    log_likelihood: Tensor
    log_prior: Tensor

    def __init__(self, model: LatentVariableModel, x: Tensor):
        super().__init__()
        if not isinstance(model.prior, AfterTraining):
            raise ValueError(
                f"PriorAlone got a model with the prior {type(model.prior).__name__}, which has no second stage; put "
                "it into priors.AfterTraining."
            )
        self._rest_of(model, model.prior, x)
        if isinstance(self.prior.prior, HasFittingLoss):
            self.register_buffer("log_prior", torch.zeros_like(self.log_likelihood))
            self._due, self._closes = True, False
            self.compiles = False  # the steps differ in what they compute

    def of_length(self, num_steps: int) -> Course | None:
        """Learn how many steps there will be; their course, if the prior has a rate of its own."""
        prior = self.prior.prior
        if isinstance(prior, HasFittingRate):
            self.course = Course(prior.fitting_rate, num_steps, isinstance(prior, HasFittingLoss))
        return self.course

    def _rest_of(self, model: LatentVariableModel, prior: nn.Module, x: Tensor) -> None:
        """Let the prior learn and the rest of the model be read."""
        self.prior = prior
        prior.requires_grad_(True)
        object.__setattr__(self, "model", model)  # no submodule: what rests is neither trained nor saved again
        with torch.no_grad():
            parts = [self._of_rest(rows, None, decode=True)[1][0] for rows in x.split(_ROWS)]
        self.register_buffer("log_likelihood", torch.cat(parts).mean())

    def forward(self, x: Tensor, context: Context | None = None) -> LossOutput:
        """The loss of one batch."""
        z, log_likelihood, log_q = self._of_rest(x, context, decode=not self.training)
        loss, log_prior = self._of_prior(z, context)
        log_prior = log_prior.expand_as(log_q)
        bound = (log_likelihood + log_prior - log_q).mean()
        parts = {"bound": bound, "likelihood": log_likelihood, "prior": log_prior, "posterior": log_q}
        return LossOutput(loss, {name: part.detach().mean() for name, part in parts.items()})

    def at_step(self, step: int) -> None:
        """Whether log p(z) is the loss of this step, and whether it is taken anew where it is not."""
        self._due, self._closes = step % _EVERY == 0, self.course is not None and self.course.closes(step)

    def _of_prior(self, z: Latents, context: Context | None) -> tuple[Tensor, Tensor]:
        """The loss, and log p(z) (S, B) or the mean that stands for it."""
        prior, z = cast(AfterTraining, self.prior), cast(Tensor, z)
        if not isinstance(prior.prior, HasFittingLoss):
            log_prior = prior.of_second_stage(context).log_prob(z)
            return -log_prior.mean(), log_prior
        loss = fitting_loss(prior.prior, z, context, closes=self._closes).mean()
        if self.training and not self._due:
            return loss, self.log_prior
        with torch.no_grad():
            log_prior = prior.of_second_stage(context).log_prob(z)
            if self.training:
                self.log_prior.copy_(log_prior.mean())
        return loss, log_prior

    @torch.no_grad()
    def _of_rest(self, x: Tensor, context: Context | None, *, decode: bool) -> tuple[Latents, Tensor, Tensor]:
        """z ~ q(z | x), log p(x | z) (its mean, unless it is decoded) and log q(z | x), with an axis of one sample."""
        q = cast(Any, self.model.infer(x, context))
        z = q.sample(torch.Size((1,)))
        log_q = q.log_prob(z)
        return z, self.model.decode(z, context).log_prob(x) if decode else self.log_likelihood.expand_as(log_q), log_q

    def check(self, x: Tensor, context: Context | None = None) -> None:
        """Raise a `ValueError` if the prior does not fit the codes of two rows."""
        z = cast(Tensor, self.model.infer(*first_two(x, context)).sample())
        if tuple(z.shape[1:]) != self.prior.event_shape:
            raise ValueError(
                f"PriorAlone got codes of shape {tuple(z.shape[1:])} and a prior over {self.prior.event_shape}; give "
                "both the same latent_shape."
            )


class RoundedPriorAlone(PriorAlone):
    """−log p̃(round(f(x))), by which the prior of a rate–distortion autoencoder learns the codes of its files (after Guo
    et al. 2021, arXiv:2104.05168).

    Arguments:
        model: in eval mode, in which its posterior rounds (`posteriors.UniformNoise`).
        x: see `PriorAlone`.

    Returns (when called with a batch x (B, *event)):
        See `PriorAlone`.
    """

    cites: ClassVar[tuple[str, ...]] = ("guo2021soft",)

    def __init__(self, model: LatentVariableModel, x: Tensor):
        Loss.__init__(self)
        self._rest_of(model, cast(nn.Module, model.prior), x)
        self._before = self._mean_over(x), copy.deepcopy(self.prior.state_dict())

    def keep_the_better(self, x: Tensor) -> None:
        """Give the prior its first weights again, unless it has learned anything about the codes of x."""
        log_prior, weights = self._before
        if not self._mean_over(x) > log_prior:
            self.prior.load_state_dict(weights)

    @torch.no_grad()
    def _mean_over(self, x: Tensor) -> float:
        """Mean log p̃(z) of some rows."""
        parts = [self._of_prior(self._of_rest(rows, None, decode=False)[0], None)[1] for rows in x.split(_ROWS)]
        return torch.cat(parts, -1).mean().item()

    def _of_prior(self, z: Latents, context: Context | None) -> tuple[Tensor, Tensor]:
        log_prior = cast(Any, self.model.prior(context)).log_prob(z)
        return -log_prior.mean(), log_prior

    def at_step(self, step: int) -> None:
        """Nothing: log p̃(z) is the loss of every step."""

    def check(self, x: Tensor, context: Context | None = None) -> None:
        """Nothing: the model was trained with this prior."""
