"""The start of a hidden Markov model: Baum–Welch (Baum et al. 1970) from several k-means, the best of them to its end.

Points of k-means are observed steps, or means over a window of them, because states that last are seen better in
means: each number in standard units, or one-hot where it takes few values. Transitions are counted along the clusters.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import one_hot

from lowerbound.exact import HiddenMarkov, HiddenMarkovIteration, baum_welch
from lowerbound.k_means import k_means
from lowerbound.losses import Loss
from lowerbound.model import LatentVariableModel
from lowerbound.models.state_emissions import SmoothedHiddenMarkov, StateEmissions
from lowerbound.models.steps_with_gaps import StepsWithGaps
from lowerbound.priors.markov_chain import MarkovChain

__all__ = ["start_hidden_markov"]

_WINDOWS = (0, 0, 1, 3, 0, 1)  # steps to each side, one start each; two of them where the M step takes long
_FEW, _MANY, _TOLERANCE = 15, 500, 1e-4  # iterations; nats a series
_MOST_VALUES, _MOST_POINTS = 20, 20_000


@torch.no_grad()
def start_hidden_markov(loss: Loss | LatentVariableModel, x: Tensor, *, seed: int = 0) -> str:
    """Fit the model of a loss to series x, as its likelihood sees them, and say how it went.

    Raises:
        ValueError: fewer observed steps than states.
    """
    model = loss.model if isinstance(loss, Loss) else loss
    prior, likelihood = model.prior, model.likelihood
    assert isinstance(prior, MarkovChain)
    assert isinstance(likelihood, StepsWithGaps)
    series = likelihood.series(x.double())
    emissions = StateEmissions(copy.deepcopy(_module(likelihood)).double())
    _require_enough(series, emissions.num_states)
    starts = [
        _last(_begun(series, likelihood, emissions, clusters), series, _FEW)
        for clusters in _clusterings(series, emissions.num_states, _WINDOWS if emissions.closed_form else _WINDOWS[1:3])
    ]
    best = max(starts, key=lambda one: one.log_likelihood)
    last = _last(best.model, series, _MANY)
    _put(last.model, prior, likelihood)
    reached = ", ".join(f"{value:.2f}" for value in sorted({round(one.log_likelihood, 2) for one in starts}))
    return (
        f"Baum–Welch from {len(starts)} starts reached {reached} nats a series; the best went on to "
        f"{last.log_likelihood:.2f}."
    )


def _last(begun: HiddenMarkov, series: Tensor, iterations: int) -> HiddenMarkovIteration:
    """The fit of largest likelihood on the way."""
    fits = baum_welch(begun, series, max_iterations=iterations, tolerance=_TOLERANCE)
    return max(fits, key=lambda one: one.log_likelihood)


def _require_enough(series: Tensor, num_states: int) -> None:
    count = int((~series.isnan().all(-1)).sum())
    if count < num_states:
        raise ValueError(f"hidden_markov got {count} observed steps for {num_states} states; give fewer states.")


def _clusterings(series: Tensor, num_states: int, windows: Sequence[int]) -> list[Int[Tensor, "batch time"]]:
    """A cluster for each step, −1 where it was not observed; one clustering for each window."""
    features = _features(series)
    seen, found = ~series.isnan().all(-1), []
    for window in windows:
        points = _means(features, seen, window)[seen]
        some = points[torch.randperm(len(points))[: max(_MOST_POINTS, num_states)]]
        centres, _ = k_means(some, num_states)
        clusters = torch.full(seen.shape, -1)
        clusters[seen] = torch.cdist(points, centres).argmin(1)
        found.append(clusters)
    return found


def _features(series: Float[Tensor, "batch time data"]) -> Float[Tensor, "batch time feature"]:
    """Each number in standard units, or one-hot where it takes few values; 0 where it is missing."""
    parts = []
    for x in series.unbind(-1):
        known = x[~x.isnan()]
        values = known.unique()
        if 2 < len(values) <= _MOST_VALUES and bool((values == values.round()).all()):
            parts.append((x[..., None] == values).to(series))
        elif len(values) > 1:
            parts.append(((x - known.mean()) / known.std()).nan_to_num()[..., None])
    return torch.cat(parts, -1) if parts else torch.zeros_like(series)


def _means(features: Tensor, seen: Tensor, window: int) -> Tensor:
    """Means over observed steps up to so many steps away."""
    total, count = torch.zeros_like(features), torch.zeros_like(features[..., :1])
    weight = seen[..., None].to(features)
    length = features.shape[1]
    for shift in range(-min(window, length - 1), min(window, length - 1) + 1):
        to, source = slice(max(0, shift), length + min(0, shift)), slice(max(0, -shift), length + min(0, -shift))
        total[:, to] += (weight * features)[:, source]
        count[:, to] += weight[:, source]
    return total / count.clamp(min=1)


def _begun(
    series: Tensor, likelihood: StepsWithGaps, emissions: StateEmissions, clusters: Int[Tensor, "batch time"]
) -> SmoothedHiddenMarkov:
    """Initial probabilities, transitions and emissions counted along clusters."""
    size = emissions.num_states
    weight = one_hot(clusters + 1, size + 1)[..., 1:].to(series)
    moved = torch.einsum("ntj,ntk->jk", weight[:, :-1], weight[:, 1:])
    _, filled = likelihood.observed(series)
    begun = SmoothedHiddenMarkov(
        initial=weight[:, 0].sum(0),
        transition=moved,
        emissions=emissions.maximised(filled, weight),
        likelihood=likelihood,
    )
    return SmoothedHiddenMarkov(
        initial=begun.frequencies(begun.initial, begun.initial),
        transition=begun.frequencies(moved, moved),
        emissions=begun.emissions,
        likelihood=likelihood,
    )


def _put(found: HiddenMarkov, prior: MarkovChain, likelihood: StepsWithGaps) -> None:
    """Give the model the parameters of a fit."""
    assert isinstance(found.emissions, StateEmissions)
    for module, p in ((prior.initial, found.initial), (prior.transition, found.transition)):
        logits = module.logits  # pyright: ignore[reportAttributeAccessIssue]
        logits.copy_(p.log())
    _module(likelihood).load_state_dict(found.emissions.step.state_dict())


def _module(likelihood: StepsWithGaps) -> nn.Module:
    """The likelihood of one step."""
    assert isinstance(likelihood.step, nn.Module)
    return likelihood.step
