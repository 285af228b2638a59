"""Texts written by a fitted model: z ~ p(z) and then one token after another, chosen as `decoding` says."""

from __future__ import annotations

import torch
from torch import Tensor

from lowerbound.decoding import choice_of
from lowerbound.fitted import Fitted
from lowerbound.likelihoods.tokens import TokenDistribution
from lowerbound.plan_size import check_draws
from lowerbound.randomness import derive_seed, forked

__all__ = ["written"]

_WRITE = 8  # a stream of random numbers beside those of `fitted` and `imputing`
_CPU = torch.device("cpu")


@torch.no_grad()
def written(fitted: Fitted, count: int, decoding: str, seed: int | None = None) -> Tensor:
    """Rows of symbols (count, T), each of another z ~ p(z).

    Arguments:
        fitted: a model of text.
        count: how many.
        decoding: how the next token is chosen (`decoding.choice_of`).
        seed: of the draws; that of the fit if None.

    Raises:
        ValueError: a model of something else, fewer than one text, or other words.
    """
    choose = choice_of(decoding)
    if count < 1:
        raise ValueError(f"sample got {count} draws to make and needs at least 1.")
    check_draws(count, fitted.model, fitted.schema.event_shape)
    with forked(_CPU, derive_seed(fitted.seed if seed is None else seed, _WRITE)):
        z = fitted.model.prior(None).sample(torch.Size((count,)))
        p = fitted.model.decode(z)
        if not isinstance(p, TokenDistribution):
            raise ValueError(f"{fitted.called} is not of text, and decoding={decoding!r} is for texts; leave it out.")
        return p.decoded(choose) if p.batch_shape else p.decoded(choose, torch.Size((count,)))
