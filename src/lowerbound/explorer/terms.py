"""The terms of log w of each row, by which a map is coloured, and one draw of its latents.

    log w = log p(x, z) − log q(z | x)         rate = log q(z | x) − log p(z)         z ~ q(z | x)

averaged over a few draws; log w is in the units of the user's columns. rate_d = KL(q(z_d | x) ‖ p(z_d)) where q and p
are products with a closed form. A posterior without a density has draws alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from lowerbound.data import Rows
from lowerbound.evaluate.batches import context_rows, row_blocks
from lowerbound.factors import kl_per_factor
from lowerbound.fitted import Fitted
from lowerbound.model import flat_latents
from lowerbound.randomness import forked
from lowerbound.row_numbers import rows_from
from lowerbound.weights import NoDensityError, latents_of, weigh

__all__ = ["RowTerms", "terms_of"]

_CPU = torch.device("cpu")
_DRAWS, _DRAWS_OF_TEXT = 4, 1
_NUMBERS_AT_ONCE, _ROWS_AT_ONCE, _TEXTS_AT_ONCE = 2**20, 1024, 64


@dataclass(frozen=True, kw_only=True)
class RowTerms:
    """What is known of each row.

    Attributes:
        draws: one z ~ q(z | x) of each (N, latent).
        log_w: the mean over `num_draws` draws (N,), nats; None without a density of q.
        rate: the same of log q(z | x) − log p(z).
        rates: KL(q(z_d | x) ‖ p(z_d)) (N, latent), nats, where it is known in closed form; None otherwise.
        num_draws: of each row.
    """

    draws: np.ndarray
    log_w: np.ndarray | None
    rate: np.ndarray | None
    rates: np.ndarray | None
    num_draws: int


def terms_of(
    fitted: Fitted, rows: Rows, seed: int | None, progress: Callable[[int, int], None] | None = None
) -> RowTerms:
    """Draw latents of rows and weigh them.

    Arguments:
        fitted: the model.
        rows: the rows.
        seed: of the draws; that of the fit if None.
        progress: called with the rows done and their number.
    """
    written, parts, done = fitted.schema.is_written, [], 0
    num_draws = _DRAWS_OF_TEXT if written else _DRAWS
    numbers = num_draws * math.prod(fitted.schema.event_shape)
    size = min(max(1, _NUMBERS_AT_ONCE // numbers), _TEXTS_AT_ONCE if written else _ROWS_AT_ONCE)
    for x, context, part_seed in fitted.blocks(rows, seed):
        for part in row_blocks(len(x), size):
            with torch.no_grad(), forked(_CPU, part_seed, part.start, "explore"), rows_from(part.start):
                parts.append(_block(fitted, x[part], context_rows(context, part), num_draws))
            done += part.stop - part.start
            if progress is not None:
                progress(done, len(rows.x))
    draws, log_w, rate, rates = (_joined(column) for column in zip(*parts, strict=True))
    assert draws is not None
    return RowTerms(draws=draws, log_w=log_w, rate=rate, rates=rates, num_draws=num_draws)


def _block(fitted: Fitted, x: Tensor, context: object, num_draws: int) -> tuple[Tensor | None, ...]:
    """Draws, log w, rate and rates of some rows."""
    model = fitted.model
    q, joint = model.infer(x, context), model.joint(x, context)  # type: ignore[arg-type]
    z = q.sample(torch.Size((num_draws,)))
    draws, rates = flat_latents(latents_of(q, z))[0], _rates(q, joint.prior)
    try:
        w = weigh(q, joint, z)
    except NoDensityError:
        return draws, None, None, rates
    return draws, w.log_w.double().mean(0) - fitted.log_scale_of(x), w.rate.mean(0), rates


def _rates(q: Distribution, p: Distribution) -> Tensor | None:
    try:
        return kl_per_factor(q, p)
    except ValueError:
        return None


def _joined(parts: tuple[Tensor | None, ...]) -> np.ndarray | None:
    known = [part for part in parts if part is not None]
    return torch.cat(known).numpy() if known else None
