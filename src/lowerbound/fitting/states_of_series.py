"""Whether series are better described by hidden states or by one law for all steps, and by how many states.

A fifth of at most 200 series, and no more than their first 60 steps, is scored by models that were fitted to the rest:
hidden Markov models with Gaussian states by Baum–Welch (`exact.baum_welch`), and a Gaussian near an autoregression
(`linear.autoregression`). Channels are divided by their spread, which changes all of these densities alike.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound.data.sparse import Array
from lowerbound.exact import HiddenMarkov, NormalStates, baum_welch
from lowerbound.k_means import k_means
from lowerbound.linear import fit_scaled_mixture
from lowerbound.observed_steps import observed_steps
from lowerbound.randomness import forked

__all__ = ["States", "states_of"]

_MOST_SERIES, _MOST_STEPS, _FEWEST_SERIES, _FEWEST_STEPS = 200, 60, 10, 4
_NUMBERS, _STAYS, _ITERATIONS, _STANDARD_ERRORS = (2, 3, 5, 8), 0.8, 30, 2.0


class States(NamedTuple):
    """How many states are best on series held out, the fewest within a standard error; by how many nats a series they
    are ahead of one law for all steps, and its standard error, both NaN where steps are missing.
    """

    number: int
    ahead: float
    error: float

    @property
    def are_better(self) -> bool:
        """Whether they are ahead by more than chance."""
        return self.ahead > _STANDARD_ERRORS * self.error


def states_of(rows: Array) -> States | None:
    """Measure series (N, T, C), steps of NaN not observed; None for fewer than ten series or four steps."""
    if len(rows) < _FEWEST_SERIES or rows.shape[1] < _FEWEST_STEPS:
        return None
    some = np.linspace(0, len(rows) - 1, min(len(rows), _MOST_SERIES)).astype(int)
    x = torch.from_numpy(np.asarray(rows[some][:, :_MOST_STEPS], float))
    x = torch.where(x.isnan().any(-1, keepdim=True), math.nan, x)
    steps = x.flatten(0, 1)[~x.isnan().all(-1).flatten()]
    if len(steps.unique(dim=0)) < 5 * max(_NUMBERS):
        return None
    x = (x - steps.mean(0)) / steps.std(0).clamp_min(torch.finfo(x.dtype).tiny)
    held_out = torch.arange(len(x)) % 5 == 0
    with forked(torch.device("cpu"), 0):
        scores = {number: _of_states(x[~held_out], x[held_out], number) for number in _NUMBERS}
    number = _fewest(scores)
    ahead = scores[number] - _of_one_law(x[~held_out], x[held_out])
    return States(number, float(ahead.mean()), float(ahead.std()) / math.sqrt(len(ahead)))


def _fewest(scores: dict[int, Tensor]) -> int:
    """The smallest number of states that is not below the best by more than a standard error."""
    best = max(scores.values(), key=lambda score: float(score.mean()))
    behind = {number: best - score for number, score in scores.items()}
    return min(k for k, d in behind.items() if float(d.mean()) <= float(d.std()) / math.sqrt(len(d)))


def _of_states(train: Tensor, held_out: Tensor, number: int) -> Float[Tensor, "series"]:
    """log p of series by a hidden Markov model whose states begin at the centres of k-means."""
    seen, _ = observed_steps(train)
    centres, _ = k_means(train[seen], number)
    stays = torch.full((number, number), (1 - _STAYS) / (number - 1), dtype=train.dtype).fill_diagonal_(_STAYS)
    uniform = train.new_full((number,), 1 / number)
    begun = HiddenMarkov(uniform, stays, NormalStates(centres, torch.ones_like(centres), min_scale=0.01))
    *_, last = baum_welch(begun, train, max_iterations=_ITERATIONS, tolerance=1e-2)
    return last.model.chain(held_out).log_evidence


def _of_one_law(train: Tensor, held_out: Tensor) -> Float[Tensor, "series"]:
    """log p of series by a Gaussian near an autoregression; NaN where steps are missing."""
    if bool(train.isnan().any() | held_out.isnan().any()):
        return held_out.new_full((len(held_out),), math.nan)
    size = train[0].numel()
    near = fit_scaled_mixture(
        train.flatten(1), 1, None, shrinkage=size, target="autoregression", num_steps=train.shape[1], min_scale=0.01
    )
    return near.log_evidence(held_out.flatten(1))
