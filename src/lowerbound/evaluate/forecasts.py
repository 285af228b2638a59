"""What follows the beginning of a series: mean and quantiles of each number of the next steps, p(x_{t+h} | x_1 … x_t).

    hidden Markov        Σ_k p(c_t = · | x_≤t) A^h  F_k                     exactly, any number of steps ahead
    mixture of rows      Σ_k p(k | x_≤t) N(E_k[x_{t+h} | x_≤t], Var_k)      exactly, within the length of the fit
    others               draws of the next steps given those before (`evaluate.continued`)

F_k is the distribution of one number of a step given its state. Quantiles of mixtures are found from their cumulative
function (`mixture_quantiles`), and from draws where a likelihood of one step does not state it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.distributions import Distribution, Independent

from lowerbound.coding.families import stated_cumulative
from lowerbound.distributions import distribution_functions
from lowerbound.evaluate.batches import row_blocks
from lowerbound.evaluate.continued import continued
from lowerbound.evaluate.mixture_quantiles import quantiles_of
from lowerbound.likelihoods.mixed import MixedDistribution
from lowerbound.linear import observe
from lowerbound.model import LatentVariableModel
from lowerbound.models.hidden_markov import StatePosterior
from lowerbound.models.mixture_of_factor_analysers import GivenClusterAndFactors, factor_analysers_of
from lowerbound.models.steps_with_gaps import StepsWithGaps
from lowerbound.randomness import derive_seed, forked
from lowerbound.shown import shown

__all__ = ["Forecasts", "next_steps", "observed_lengths"]

_NUMBERS_PER_BLOCK, _DRAWN_PER_BLOCK = 2**21, 2**24
_MOST_STEPS, _MOST_NUMBERS = 10**6, 10**8


class Forecasts(NamedTuple):
    """The next steps of series.

    Attributes:
        mean: E[x_{t+h} | x_≤t].
        quantiles: of each level.
        exact: whether both are exact; otherwise they are those of draws.
    """

    mean: Float[Tensor, "series step channel"]
    quantiles: Float[Tensor, "level series step channel"]
    exact: bool


@torch.no_grad()
def next_steps(
    model: Any,
    x: Float[Tensor, "series time channel"],
    num_steps: int,
    levels: Sequence[float],
    *,
    num_samples: int = 1000,
    seed: int = 0,
    called: str = "this model",
) -> Forecasts:
    """Forecast the steps after the last one of each series of which anything was observed.

    Arguments:
        model: of series, in evaluation mode.
        x: series as the likelihood scores them, NaN where a number was not observed, as after the end of short series.
        num_steps: H.
        levels: of the quantiles, between 0 and 1.
        num_samples: draws for each series, where the model is not exact.
        seed: of the draws.
        called: what messages call the model.

    Raises:
        ValueError: no step, more numbers than memory holds, a level out of range, a series of which nothing was
            observed, or a model that cannot be asked.
    """
    if num_steps < 1:
        raise ValueError(f"next_steps got steps={num_steps} and needs at least 1.")
    if any(not 0 < level < 1 for level in levels):
        raise ValueError(f"levels are {list(levels)}; expected numbers between 0 and 1.")
    exact = _is_exact(model)
    drawn = 0 if exact else num_samples * (num_steps + x.shape[1]) * x.shape[2]  # of each series
    _check_size(x, num_steps, drawn)
    size = _NUMBERS_PER_BLOCK // (num_steps * x[0].numel()) if exact else _DRAWN_PER_BLOCK // max(1, drawn)
    lengths, parts = observed_lengths(x), []
    for number, rows in enumerate(row_blocks(len(x), max(1, size))):
        asked = (model, x[rows], lengths[rows], num_steps, levels)
        found = _exactly(*asked, num_samples=num_samples, seed=derive_seed(seed, number))
        if found is None:
            with forked(x.device, derive_seed(seed, number), "forecasts"):
                draws = continued(model, x[rows], lengths[rows], num_steps, num_samples, called)
            found = _of_draws(draws, levels)
        parts.append(found)
    mean, quantiles = torch.cat([part.mean for part in parts]), torch.cat([part.quantiles for part in parts], 1)
    return Forecasts(mean, quantiles, all(part.exact for part in parts))


def observed_lengths(x: Float[Tensor, "series time channel"]) -> Int[Tensor, "series"]:
    """How many steps each series has, up to the last one of which anything was observed.

    Raises:
        ValueError: a series has none.
    """
    seen = ~x.isnan().all(-1)
    lengths = x.shape[1] - seen.flip(1).to(torch.uint8).argmax(1)
    if not bool(seen.any(1).all()):
        row = int((~seen.any(1)).nonzero()[0])
        raise ValueError(f"series {row} has no step of which anything was observed; leave it out.")
    return lengths


def _check_size(x: Tensor, num_steps: int, drawn: int) -> None:
    """Refuse forecasts that memory does not hold.

    Raises:
        ValueError: saying how large they would be.
    """
    numbers = max(num_steps * len(x) * x.shape[2], drawn)
    if num_steps > _MOST_STEPS or numbers > _MOST_NUMBERS:
        raise ValueError(
            f"steps={num_steps:,} of {len(x):,} series would take {numbers:,} numbers at once, and at most "
            f"{_MOST_STEPS:,} steps and {_MOST_NUMBERS:,} numbers are taken; ask for fewer steps, series or draws."
        )


def _is_exact(model: Any) -> bool:
    """Whether `_exactly` answers for the model."""
    if not isinstance(model, LatentVariableModel):
        return False
    q, likelihood = model.posterior, model.likelihood
    of_states = isinstance(q, StatePosterior) and isinstance(likelihood, StepsWithGaps) and q.is_exact_for(model)
    return of_states or isinstance(likelihood, GivenClusterAndFactors)


def _exactly(
    model: Any, x: Tensor, lengths: Tensor, num_steps: int, levels: Sequence[float], *, num_samples: int, seed: int
) -> Forecasts | None:
    """By a hidden Markov model or a mixture of whole rows; None for other models."""
    if not _is_exact(model):
        return None
    q, likelihood = model.posterior, model.likelihood
    if isinstance(q, StatePosterior):
        weight = _states_ahead(q, x, lengths, num_steps)
        of_each = likelihood.step(torch.eye(weight.shape[-1]).to(x))
        return _of_states(weight, of_each, levels, num_samples=num_samples, seed=seed)
    return _of_rows(model, x, lengths, num_steps, levels)


def _states_ahead(q: StatePosterior, x: Tensor, lengths: Tensor, num_steps: int) -> Float[Tensor, "series step state"]:
    """p(c_{t+h} | x_≤t): the forward recursion to t, and the chain from there."""
    chain = q.chain(x)
    transition = chain.log_transition.double().exp()
    now = chain.forward[torch.arange(len(x)), lengths - 1].double().softmax(-1)
    ahead = []
    for _ in range(num_steps):
        now = now @ transition
        ahead.append(now)
    return torch.stack(ahead, 1)


def _of_states(
    weight: Float[Tensor, "series step state"],
    of_each: Distribution,
    levels: Sequence[float],
    *,
    num_samples: int,
    seed: int,
) -> Forecasts:
    """Of a mixture of the distributions of a step given each state."""
    found = shown(of_each)
    mean, at = weight @ found.values.double(), _cumulative_of_states(of_each)
    if at is None or not found.is_mean:
        with forked(weight.device, seed, "forecasts"):
            states = torch.distributions.Categorical(probs=weight).sample(torch.Size((num_samples,)))
            draws = of_each.sample(torch.Size((num_samples, *weight.shape[:2])))
            return _of_draws(draws.gather(-2, _index(states, draws))[..., 0, :], levels)

    def cumulative(value: np.ndarray) -> np.ndarray:
        return np.einsum("bhk,bhkd->bhd", weight.numpy(), at(value[..., None, :]))

    quantiles = [quantiles_of(cumulative, level, mean.numpy()) for level in levels]
    return Forecasts(mean, torch.from_numpy(np.stack(quantiles)), True)


def _index(states: Tensor, draws: Tensor) -> Tensor:
    """Indices that take, of draws of a step in each state, those of one state."""
    return states[..., None, None].expand(*states.shape, 1, draws.shape[-1])


def _cumulative_of_states(of_each: Distribution) -> Callable[[np.ndarray], np.ndarray] | None:
    """F of each number of a step in each state (…, K, D), of values (…, 1, D); None if a part does not state it."""
    mixed = isinstance(of_each, MixedDistribution)
    base = of_each.base_dist if isinstance(of_each, Independent) else of_each
    parts = list(of_each.parts) if mixed else [base]
    try:
        stated = [stated_cumulative(part, "likelihood") for part in parts]
    except ValueError:
        return None
    given = [(f, [np.asarray(p.detach(), dtype=np.float64) for p in parameters]) for f, parameters, _ in stated]
    if not mixed:
        return lambda value: given[0][0](value, *given[0][1])
    order, restore = of_each.order.numpy(), of_each.restore.numpy()
    ends = np.cumsum([part.batch_shape[-1] for part in parts])[:-1]

    def at(value: np.ndarray) -> np.ndarray:
        columns = np.split(value[..., order], ends, -1)
        parts_of = [f(part, *parameters) for part, (f, parameters) in zip(columns, given, strict=True)]
        return np.concatenate(parts_of, -1)[..., restore]

    return at


def _of_rows(model: Any, x: Tensor, lengths: Tensor, num_steps: int, levels: Sequence[float]) -> Forecasts:
    """Of a mixture of Gaussians of whole rows: in each component the remaining numbers given those that are there."""
    longest, size = x.shape[1:]
    over = (lengths + num_steps > longest).nonzero()
    if len(over):
        row = int(over[0])
        raise ValueError(
            f"steps={num_steps} goes beyond the {longest} steps of this model of whole series; series {row} has "
            f"{int(lengths[row])}: ask for fewer, give shorter beginnings, or fit hidden-markov, which has no end."
        )
    mixture, rows = factor_analysers_of(model), x.double().flatten(1)
    step = lengths[:, None] + torch.arange(num_steps)
    place = (step[:, :, None] * size + torch.arange(size)).flatten(1)
    parts = []
    for component in mixture.components:
        seen, w = observe(component, rows), component.weight
        variance = torch.einsum("pij,di,dj->pd", seen.covariance, w, w) + component.scale**2
        loc = seen.mean @ w.mT + component.offset
        parts.append((loc.gather(1, place), variance.sqrt()[seen.pattern].gather(1, place)))
    loc, scale = (torch.stack(part, -1).unflatten(1, (num_steps, size)) for part in zip(*parts, strict=True))
    weight = mixture.responsibilities(rows)[:, None, None]
    mean = (weight * loc).sum(-1)
    of_mixture = [part.numpy() for part in (weight, loc, scale)]
    quantiles = [
        quantiles_of(lambda v: distribution_functions.mixture_of_normals(v, *of_mixture), level, mean.numpy())
        for level in levels
    ]
    return Forecasts(mean, torch.from_numpy(np.stack(quantiles)), True)


def _of_draws(draws: Float[Tensor, "sample series step channel"], levels: Sequence[float]) -> Forecasts:
    """Mean and quantiles of draws."""
    x = draws.double()
    return Forecasts(x.mean(0), torch.stack([x.quantile(level, 0) for level in levels]), False)
