"""Baum–Welch for the emissions of any likelihood whose net is a `StateTable`: the M step in its own parameters.

    table_k = argmax Σ_nt γ_ntk log p(x_nt | table_k)

It has a closed form for Gaussians, and for columns of real numbers, of classes, of 0 and 1 and of Poisson counts.
Elsewhere it is a few iterations of L-BFGS from the better of the present parameters and moments, so that the likelihood
rises too. What no observation
decides is decided by one more: a step of the spread of all steps for a scale, one count over all classes, so that no
state has scale 0 and no class probability 0.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import one_hot

from lowerbound.exact import HiddenMarkov
from lowerbound.likelihoods import Bernoulli, Categorical, Mixed, Normal, Poisson
from lowerbound.likelihoods.categorical import to_classes
from lowerbound.likelihoods.columns import CategoricalColumns, ContinuousColumns
from lowerbound.likelihoods.location_scale import LocationScale
from lowerbound.models.state_table import StateTable
from lowerbound.models.steps_with_gaps import StepsWithGaps
from lowerbound.nets.softplus import raw_of

__all__ = ["SmoothedHiddenMarkov", "StateEmissions"]

_ITERATIONS, _LEAST_RATE = 10, 1e-2


@dataclass(frozen=True)
class StateEmissions:
    """The likelihood of one step as `exact.Emissions`.

    Arguments:
        step: p(x_t | c_t), in double precision, whose net is a `StateTable`.
    """

    step: Any

    @property
    def num_states(self) -> int:
        """K."""
        return len(self._table)

    @property
    def closed_form(self) -> bool:
        """Whether the M step has one."""
        one = self._table.new_zeros(1, *self.step.event_shape)
        with torch.no_grad():
            return _closed_form(copy.deepcopy(self.step), one, one.new_ones(1, self.num_states)) is not None

    @property
    def _table(self) -> nn.Parameter:
        net = self.step.net
        assert isinstance(net, StateTable)
        return net.table

    def log_prob(self, x: Float[Tensor, "batch time data"]) -> Float[Tensor, "batch time state"]:
        """See `exact.Emissions`."""
        return self.step(torch.eye(self.num_states).to(x)).log_prob(x.unsqueeze(-2))

    def maximised(
        self, x: Float[Tensor, "batch time data"], weight: Float[Tensor, "batch time state"]
    ) -> StateEmissions:
        """See `exact.Emissions`."""
        step = copy.deepcopy(self.step)
        rows, weights = x.flatten(0, 1), weight.flatten(0, 1)
        seen = weights.sum(1) > 0
        found = _closed_form(step, rows[seen], weights[seen])
        if found is None:
            step = _at_moments(step, rows[seen], weights[seen])
            _climb(step, rows[seen], weights[seen])
        else:
            step.net.table.copy_(found)
        return StateEmissions(step)


@dataclass(frozen=True)
class SmoothedHiddenMarkov(HiddenMarkov):
    """A hidden Markov model of the likelihood of a model, with one more count spread over the states in each row.

    Arguments:
        likelihood: says which steps were observed.
    """

    likelihood: StepsWithGaps | None = None

    def observed(
        self, x: Float[Tensor, "batch time data"]
    ) -> tuple[Bool[Tensor, "batch time"], Float[Tensor, "batch time data"]]:
        """Which steps were observed, and the series as the likelihood of a step takes them."""
        assert self.likelihood is not None
        return self.likelihood.observed(x)

    def frequencies(self, counts: Float[Tensor, "*lead state"], present: Float[Tensor, "*lead state"]) -> Tensor:
        """Expected counts and one more as probabilities."""
        return (counts + 1 / counts.shape[-1]) / (counts.sum(-1, keepdim=True) + 1)


def _closed_form(step: Any, x: Tensor, weight: Tensor) -> Tensor | None:
    """The table (K, *out) of largest likelihood, of rows x (n, D) with weights (n, K); None if none is known."""
    for kind, found in _CLOSED.items():
        if type(step) is kind:
            return found(step, x, weight)
    return None


def _normal(step: Normal, x: Tensor, weight: Tensor) -> Tensor:
    """Scales that states share are set in the likelihood."""
    loc, scale = _moments(x, weight)
    if step.scale == "heteroscedastic":
        return torch.stack([loc, raw_of(scale, step.min_scale)], 1)
    if isinstance(step.scale, str):
        share = weight.sum(0) / weight.sum()
        square = share @ scale.square()
        square = square.mean() if step.scale == "shared" else square
        step.raw_scale.copy_(raw_of(square.sqrt(), step.min_scale))
    return loc


def _bernoulli(step: Bernoulli, x: Tensor, weight: Tensor) -> Tensor:
    return ((weight.mT @ x + 0.5) / (weight.sum(0)[:, None] + 1)).logit()


def _poisson(step: Poisson, x: Tensor, weight: Tensor) -> Tensor:
    rate = weight.mT @ x / weight.sum(0)[:, None].clamp(min=_LEAST_RATE)
    return raw_of(rate.clamp(min=_LEAST_RATE), step.min_rate)


def _categorical(step: Categorical, x: Tensor, weight: Tensor) -> Tensor:
    k = to_classes(x, step.num_classes) if step.unit_interval else x.round().long()
    return _log_frequencies(k, weight, step.num_classes, torch.ones_like(x)).movedim(-1, 1)


def _mixed(step: Mixed, x: Tensor, weight: Tensor) -> Tensor | None:
    parts = []
    for group, part in zip(step.groups, x[:, step.order].split(step.sizes, 1), strict=True):
        if isinstance(group, ContinuousColumns):
            found = group.parameters_at(*_moments(group.standard(part), weight))
        elif isinstance(group, CategoricalColumns):
            seen = (~part.isnan()).to(x)
            found = _log_frequencies(part.nan_to_num().long(), weight, group.num_outputs, seen)
        else:
            return None
        parts.append(found.flatten(1))
    return torch.cat(parts, 1)


_CLOSED: dict[type, Callable[[Any, Tensor, Tensor], Tensor | None]] = {
    Normal: _normal,
    Bernoulli: _bernoulli,
    Poisson: _poisson,
    Categorical: _categorical,
    Mixed: _mixed,
}


def _moments(x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (K, D) of rows, of which some entries are missing, with one step of all more."""
    seen, y = (~x.isnan()).to(weight), x.nan_to_num()
    mean = (seen * y).sum(0) / seen.sum(0).clamp(min=1)
    spread = (seen * (y - mean)).square().sum(0) / seen.sum(0).clamp(min=1)
    count = weight.mT @ seen
    loc = mean + weight.mT @ (seen * (y - mean)) / count.clamp(min=1e-6)
    square = torch.stack([w @ (seen * (y - m)).square() for w, m in zip(weight.T, loc, strict=True)])
    return loc, ((square + spread) / (count + 1)).sqrt()


def _log_frequencies(k: Tensor, weight: Tensor, num_classes: int, seen: Tensor) -> Tensor:
    """Log-frequencies (K, D, M) of classes k (n, D), with one count spread over all."""
    counts = torch.einsum("nk,ndm->kdm", weight, one_hot(k, num_classes).to(weight) * seen[..., None])
    return ((counts + 1 / num_classes) / (counts.sum(-1, keepdim=True) + 1)).log()


def _at_moments(step: Any, x: Tensor, weight: Tensor) -> Any:
    """A copy of a likelihood of location and scale whose locations are means, where there it is better."""
    if not isinstance(step, LocationScale):
        return step
    other = copy.deepcopy(step)
    loc, scale = _moments(x, weight)
    raw = raw_of(scale, step.min_scale)
    table = torch.stack([loc, raw], 1) if step.scale == "heteroscedastic" else loc
    net = other.net
    assert isinstance(net, StateTable)
    net.table.copy_(table)
    if step.scale in ("shared", "per-dimension"):
        other.raw_scale.copy_(raw.mean() if step.scale == "shared" else raw.mean(0))
    eye = torch.eye(weight.shape[1]).to(x)
    before, after = ((weight * one(eye).log_prob(x.unsqueeze(-2))).sum() for one in (step, other))
    return other if after > before else step


def _climb(step: nn.Module, x: Tensor, weight: Tensor) -> None:
    """Raise the weighted likelihood over all parameters of the step, in place."""
    parameters, eye = list(step.parameters()), torch.eye(weight.shape[1]).to(x)
    optimizer = torch.optim.LBFGS(parameters, max_iter=_ITERATIONS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = -(weight * step(eye).log_prob(x.unsqueeze(-2))).sum() / weight.sum()
        value.backward()
        return value

    with torch.enable_grad():
        optimizer.step(loss)  # pyright: ignore[reportArgumentType]
