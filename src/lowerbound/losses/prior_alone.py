"""The second stage of a model of codes: its prior is fitted to what q draws, and nothing else changes.

    maximise_p  E_data E_q(z|x)[log p(z)]        bound = E[log p(x | z) + log p(z) − log q(z | x)]

The bound is that of the whole model, so that the course of the second stage goes on from that of the first. Decoding
every batch for a number that rests would take most of the time: in training log p(x | z) is its mean over some rows.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from lowerbound.losses.loss import Loss, LossOutput, first_two
from lowerbound.model import LatentVariableModel
from lowerbound.priors import AfterTraining
from lowerbound.protocols import Context

__all__ = ["PriorAlone"]

_ROWS = 500


class PriorAlone(Loss):
    """minus the mean of log p(z) over the codes of a batch.

    Arguments:
        model: a model whose prior is `AfterTraining`; its other parts are read and are no part of this loss.
        x: some training rows (N, *event), over which log p(x | z) is averaged.

    Returns (when called with a batch x (B, *event)):
        The loss in nats per datum, and the terms bound, likelihood, prior and posterior of the whole model.

    Raises:
        ValueError: a model with another prior.
    """

    by_name = False
    log_likelihood: Tensor

    def __init__(self, model: LatentVariableModel, x: Tensor):
        super().__init__()
        if not isinstance(model.prior, AfterTraining):
            raise ValueError(
                f"PriorAlone got a model with the prior {type(model.prior).__name__}, which has no second stage; put "
                "it into priors.AfterTraining."
            )
        self.prior = model.prior
        self.prior.requires_grad_(True)
        object.__setattr__(self, "model", model)  # no submodule: what rests is neither trained nor saved again
        with torch.no_grad():
            parts = [self._of_rest(rows, None, decode=True)[1][0] for rows in x.split(_ROWS)]
        self.register_buffer("log_likelihood", torch.cat(parts).mean())

    def forward(self, x: Tensor, context: Context | None = None) -> LossOutput:
        """The loss of one batch."""
        z, log_likelihood, log_q = self._of_rest(x, context, decode=not self.training)
        log_prior = self.prior.of_second_stage(context).log_prob(z).expand_as(log_q)
        bound = (log_likelihood + log_prior - log_q).mean()
        parts = {"bound": bound, "likelihood": log_likelihood, "prior": log_prior, "posterior": log_q}
        return LossOutput(-log_prior.mean(), {name: part.detach().mean() for name, part in parts.items()})

    @torch.no_grad()
    def _of_rest(self, x: Tensor, context: Context | None, *, decode: bool) -> tuple[Tensor, Tensor, Tensor]:
        """z ~ q(z | x), log p(x | z) (its mean, unless it is decoded) and log q(z | x), with an axis of one sample."""
        q = self.model.infer(x, context)
        z = cast(Tensor, q.sample(torch.Size((1,))))
        log_q = q.log_prob(z)
        return z, self.model.decode(z, context).log_prob(x) if decode else self.log_likelihood.expand_as(log_q), log_q

    def check(self, x: Tensor, context: Context | None = None) -> None:
        """Raise a `ValueError` if the prior does not fit the codes of two rows."""
        z = self.model.infer(*first_two(x, context)).sample()
        if tuple(z.shape[1:]) != self.prior.event_shape:
            raise ValueError(
                f"PriorAlone got codes of shape {tuple(z.shape[1:])} and a prior over {self.prior.event_shape}; give "
                "both the same latent_shape."
            )
