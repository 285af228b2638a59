"""Texts written by a fitted model: z ~ p(z) and then one token after another, chosen as `decoding` says."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lowerbound.data.tokens import END
from lowerbound.decoding import beam_of, choice_of, draw
from lowerbound.fitted import Fitted
from lowerbound.fitting.plan_size import check_draws
from lowerbound.inference import InferenceWarning
from lowerbound.likelihoods.beam import beam_search
from lowerbound.likelihoods.open_points import OpenPoints
from lowerbound.likelihoods.scaffolds import Scaffold, ScaffoldGrammar
from lowerbound.likelihoods.tokens import TokenDistribution
from lowerbound.randomness import derive_seed, forked
from lowerbound.verbs.drawn_context import drawn_context

__all__ = ["written"]

_WRITE = 8  # a stream of random numbers beside those of `fitted` and `imputing`
_CPU = torch.device("cpu")


@torch.no_grad()
def written(
    fitted: Fitted,
    count: int,
    decoding: str,
    seed: int | None = None,
    *,
    given: Mapping[str, Any] | None = None,
    scaffold: str | None = None,
) -> Tensor:
    """Rows of symbols (count, T), each of another z ~ p(z).

    Arguments:
        fitted: a model of text.
        count: how many.
        decoding: how tokens are chosen (`lowerbound.decoding`).
        seed: of the draws; that of the fit if None.
        given: values of covariates, as for `Fitted.sample`.
        scaffold: SMILES of what every molecule holds.

    Raises:
        ValueError: a model of something else, fewer than one text, other words, or a scaffold that cannot be written.

    Warns:
        InferenceWarning: half of the texts or more have no token.
    """
    wanted = None if scaffold is None else _scaffold(fitted, scaffold)
    width = beam_of(decoding)
    choose = draw if width is not None else choice_of(decoding)
    if count < 1:
        raise ValueError(f"sample got {count} draws to make and needs at least 1.")
    check_draws(count, fitted.model, fitted.schema.event_shape)
    context = drawn_context(fitted, count, given, seed)
    with forked(_CPU, derive_seed(fitted.seed if seed is None else seed, _WRITE)):
        z = fitted.model.prior(None).sample(torch.Size((count,)))
        p = fitted.model.decode(z, context)
        if not isinstance(p, TokenDistribution):
            raise ValueError(f"{fitted.called} is not of text, and decoding={decoding!r} is for texts; leave it out.")
        if wanted is not None:
            assert isinstance(p.grammar, OpenPoints)
            p = TokenDistribution(
                p.tokens, tuple(p.event_shape), p.context, p.batch_shape, ScaffoldGrammar(p.grammar, wanted)
            )
        if width is not None:
            rows = beam_search(p, width).expand(count, -1)
        else:
            rows = p.decoded(choose) if p.batch_shape else p.decoded(choose, torch.Size((count,)))
    _tell_empty(rows, decoding)
    return rows


def _tell_empty(rows: Tensor, decoding: str) -> None:
    """Warn if half of the texts or more end where they begin."""
    empty = int((rows[:, 0] == END).sum())
    if 2 * empty >= len(rows):
        remedy = "" if decoding == "sample" else ", or draw them with decoding 'sample'"
        warnings.warn(
            f"{empty} of {len(rows)} texts are empty, because the model gives the end of a text much probability at "
            f"its first token; train it longer{remedy}.",
            InferenceWarning,
            stacklevel=4,
        )


def _scaffold(fitted: Fitted, smiles: str) -> Scaffold:
    """What draws have to hold.

    Raises:
        ValueError: a model of something else than molecules, or a scaffold that it cannot write.
    """
    if fitted.schema.molecules is None:
        raise ValueError(f"{fitted.called} is of {fitted.schema.kind}, and a scaffold is for molecules; leave it out.")
    from lowerbound.data.scaffolds import scaffold_of  # needs RDKit

    return scaffold_of(smiles, fitted.schema.molecules)
