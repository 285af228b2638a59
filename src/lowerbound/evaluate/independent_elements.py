"""Independent elements: the same likelihood with no latents, the least that a latent variable model must beat.

    p(x) = p(x; θ̂),        θ̂ = argmax_θ Σ_n log p(x_n; θ) + Σ_j w_j log p(x̃_j; θ)

θ is one vector in the place of the net's output, with the parameters that the likelihood has besides (scales, inverse
dispersions, cut points). It is fitted in float64, so that the units of x decide nothing: first by the signs of the
gradient alone (Rprop), on few rows, which finds the order of magnitude of each parameter; then by rounds of L-BFGS,
before each of which every parameter is divided by the root of its diagonal of the empirical Fisher information.

x̃ is one row of pseudo-data, of total weight 1, so that a value never seen in training has a probability:

    bounded sets     spread evenly over the set: one count over K classes, half a one and half a zero for pixels
    counts           the mean of the element rounded, but at least 1
    real numbers     none
"""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from lowerbound.nets.shapes import as_shape
from lowerbound.protocols import InitializedFromData
from lowerbound.support import Support

__all__ = ["independent_elements"]

_MOST_VALUES, _VALUES_AT_ONCE, _VALUES_TO_START = 10_000_000, 2_000_000, 200_000
_ROWS_FOR_INFORMATION = 64
_STARTING_STEPS, _FIRST_STEP, _STEP_SIZES = 100, 0.1, (1e-9, 1e12)
_ROUNDS, _ITERATIONS, _GAIN = 10, 40, 1e-7  # stop where a round gains less than this share of the loss
_WORK = 3e9  # rows times parameters, over all evaluations of L-BFGS: seconds to minutes


def independent_elements(
    likelihood: nn.Module, train: Shaped[Tensor, "row *event"], test: Shaped[Tensor, "batch *event"], *, seed: int = 0
) -> Float[Tensor, "batch"]:
    """log p(x) of test rows under independent elements of the family of a likelihood, fitted to training rows, nats.

    Arguments:
        likelihood: has a `net`; it is copied, and neither it nor its net is changed.
        train: rows as it scores them. Of more than 10 million values as many rows are drawn.
        test: rows to score.
        seed: of the rows drawn.

    Returns:
        Nats per row, in float64.

    Raises:
        ValueError: no training rows, a likelihood without a net, or whose net does not state its output shape.
    """
    if len(train) == 0:
        raise ValueError("independent_elements got no training rows and needs at least one.")
    x = _some(train, seed).double()
    fitted = _without_latents(likelihood).to(x.device, torch.float64)
    if isinstance(fitted, InitializedFromData):
        fitted.initialize(x)
    data = _Data(x, *_pseudo_rows(getattr(likelihood, "support", None), x))
    _maximise(fitted, data)
    with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
        return torch.cat([_log_prob(fitted, rows) for rows in _chunks(test.to(x.device).double())])


class _FreeVector(nn.Module):
    """Stands in for a net: its output is one learned vector, whatever the context."""

    def __init__(self, out_shape: tuple[int, ...]):
        super().__init__()
        self.out_shape = out_shape
        self.output_bias = nn.Parameter(torch.zeros(out_shape))

    def forward(self, *context: Tensor) -> Tensor:
        return self.output_bias.expand(1, *self.out_shape)


@dataclass(frozen=True)
class _Data:
    rows: Tensor
    pseudo_rows: Tensor
    weights: Tensor

    def log_likelihoods(self, likelihood: nn.Module) -> Iterator[Tensor]:
        """The terms of the objective, each of some rows, nats per training row."""
        for rows in _chunks(self.rows):
            yield _log_prob(likelihood, rows).sum() / len(self.rows)
        if len(self.pseudo_rows):
            yield (self.weights * _log_prob(likelihood, self.pseudo_rows)).sum() / len(self.rows)


def _without_latents(likelihood: nn.Module) -> nn.Module:
    """A copy whose net is a free vector; the net itself is never copied."""
    net = getattr(likelihood, "net", None)
    if not isinstance(net, nn.Module):
        raise ValueError(
            f"independent_elements got a {type(likelihood).__name__} and expected a likelihood with a `net`, which it "
            "replaces by a free vector."
        )
    return copy.deepcopy(likelihood, {id(net): _FreeVector(_output_shape(likelihood, net))}).train()


def _output_shape(likelihood: nn.Module, net: nn.Module) -> tuple[int, ...]:
    """As the net states it, or as the likelihood says from its own attributes."""
    stated = getattr(net, "out_shape", None)
    if stated is not None:
        return as_shape(stated)
    shape_of: Callable[..., tuple[int, ...]] | None = getattr(likelihood, "parameter_shape", None)
    needed: list[Any] = [] if shape_of is None else list(inspect.signature(shape_of).parameters)
    if shape_of is None or not all(hasattr(likelihood, name) for name in needed):
        raise ValueError(
            f"independent_elements cannot tell the output shape of {type(net).__name__}; give it an `out_shape`, the "
            "shape of its output per datum."
        )
    return shape_of(**{name: getattr(likelihood, name) for name in needed})


def _some(train: Tensor, seed: int) -> Tensor:
    """All rows, or as many random ones as make ten million values."""
    most = max(1000, _MOST_VALUES // train[0].numel())
    if len(train) <= most:
        return train
    chosen = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))[:most]
    return train[chosen.to(train.device)]


def _chunks(x: Tensor) -> tuple[Tensor, ...]:
    return x.split(max(1, _VALUES_AT_ONCE // x[0].numel())) if len(x) else (x,)


def _log_prob(likelihood: nn.Module, x: Tensor) -> Tensor:
    return likelihood(x.new_zeros(1, 1)).log_prob(x)


def _pseudo_rows(support: Support | None, x: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (J, *event) and their weights (J,), which sum to 1 for each element that has any."""
    if support is None:
        return x[:0], x.new_zeros(0)
    if support.columns is None:
        values = _pseudo_values(support, x)
        return values, x.new_full((len(values),), 1 / max(1, len(values)))
    rows, weights = [x[:0]], [x.new_zeros(0)]
    each = [_pseudo_values(s, x[..., i]) for i, s in enumerate(support.columns)]
    for size in {len(values) for values in each if support.allows_missing} - {0}:
        block = x.new_full((size, len(each)), torch.nan)
        for column, values in enumerate(each):
            if len(values) == size:
                block[:, column] = values
        rows.append(block)
        weights.append(x.new_full((size,), 1 / size))
    return torch.cat(rows), torch.cat(weights)


def _pseudo_values(support: Support, x: Tensor) -> Tensor:
    """Values (J, ...) of equal weight for elements x (N, ...) that lie in one set."""
    if support.grid is not None:
        grid = x.new_tensor(support.grid)
        return grid.view(-1, *[1] * (x.ndim - 1)).expand(len(grid), *x.shape[1:])
    whole = support.contains(x.new_tensor([0.5, 1.0, 2.0])).tolist() == [False, True, True]
    return x.nanmean(0).nan_to_num().round().clamp(min=1)[None] if whole else x[:0]


def _maximise(likelihood: nn.Module, data: _Data) -> None:
    """Rounds of L-BFGS in rescaled parameters, until one gains nothing."""
    before = float("inf")
    with torch.enable_grad(), torch.autocast(data.rows.device.type, enabled=False):
        _start(likelihood, data)
        size = len(data.rows) * sum(p.numel() for p in _free(likelihood))
        for _ in range(min(_ROUNDS, math.ceil(_WORK / size / _ITERATIONS))):
            after = _climb(likelihood, data, min(_ITERATIONS, math.ceil(_WORK / size)))
            if not after < before - _GAIN * (1 + abs(after)):
                return
            before = after


def _start(likelihood: nn.Module, data: _Data) -> None:
    """Rprop on some rows; its end is kept only if it is better on all of them."""
    parameters = _free(likelihood)
    first = [p.detach().clone() for p in parameters]
    before, _ = _loss_and_gradients(likelihood, parameters, data)
    few = replace(data, rows=_every(data.rows, max(50, _VALUES_TO_START // data.rows[0].numel())))
    optimizer = torch.optim.Rprop(parameters, lr=_FIRST_STEP, step_sizes=_STEP_SIZES)
    best: tuple[float, list[Tensor]] = (float("inf"), first)
    for _ in range(_STARTING_STEPS):
        value, gradients = _loss_and_gradients(likelihood, parameters, few)
        if value < best[0]:
            best = value, [p.detach().clone() for p in parameters]
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        optimizer.step()
    _put(parameters, best[1])
    if not _loss_and_gradients(likelihood, parameters, data)[0] < before:
        _put(parameters, first)


def _climb(likelihood: nn.Module, data: _Data, iterations: int) -> float:
    """One round, from the parameters as they are to the best that were met; the loss there, nats per row."""
    parameters = _free(likelihood)
    start, units = [p.detach().clone() for p in parameters], _units(likelihood, parameters, data)
    moves = [torch.zeros_like(p) for p in parameters]
    best: tuple[float, list[Tensor]] = (float("inf"), start)
    optimizer = torch.optim.LBFGS(
        moves, max_iter=iterations, history_size=20, tolerance_grad=1e-8, line_search_fn="strong_wolfe"
    )

    def loss() -> float:
        nonlocal best
        _put(parameters, [a + unit * move for a, unit, move in zip(start, units, moves, strict=True)])
        value, gradients = _loss_and_gradients(likelihood, parameters, data)
        for move, unit, gradient in zip(moves, units, gradients, strict=True):
            move.grad = unit * gradient
        if value < best[0]:
            best = value, [p.detach().clone() for p in parameters]
        return value

    optimizer.step(loss)  # pyright: ignore[reportArgumentType]
    _put(parameters, best[1])
    return best[0]


def _loss_and_gradients(
    likelihood: nn.Module, parameters: list[nn.Parameter], data: _Data
) -> tuple[float, list[Tensor]]:
    value, total = 0.0, [torch.zeros_like(p) for p in parameters]
    for term in data.log_likelihoods(likelihood):
        gradients = torch.autograd.grad(-term, parameters, allow_unused=True)
        total = [t if g is None else t + g for t, g in zip(total, gradients, strict=True)]
        value -= term.item()
    return value, total


def _units(likelihood: nn.Module, parameters: list[nn.Parameter], data: _Data) -> list[Tensor]:
    """1/√F_ii of each parameter, F the empirical Fisher information of some rows and of the pseudo-rows, per row."""
    chosen = _every(data.rows, _ROWS_FOR_INFORMATION)
    rows = torch.cat([chosen, data.pseudo_rows])
    weights = torch.cat([chosen.new_full((len(chosen),), 1 / len(chosen)), data.weights / len(data.rows)])
    information = [torch.zeros_like(p) for p in parameters]
    log_prob = _log_prob(likelihood, rows)
    for value, weight in zip(log_prob, weights, strict=True):
        gradients = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
        information = [f if g is None else f + weight * g**2 for f, g in zip(information, gradients, strict=True)]
    return [torch.where(f > 0, f, 1.0).rsqrt() for f in information]


def _free(likelihood: nn.Module) -> list[nn.Parameter]:
    return [p for p in likelihood.parameters() if p.requires_grad]


def _every(rows: Tensor, number: int) -> Tensor:
    """About so many rows, evenly spaced."""
    return rows[:: math.ceil(len(rows) / number)]


@torch.no_grad()
def _put(parameters: list[nn.Parameter], values: list[Tensor]) -> None:
    for parameter, value in zip(parameters, values, strict=True):
        parameter.copy_(value)
