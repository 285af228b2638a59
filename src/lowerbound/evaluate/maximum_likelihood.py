"""The parameters of a likelihood without latents that maximise Σ_n log p(x_n; θ) + Σ_j w_j log p(x̃_j; θ).

The fit begins on few rows with the signs of the gradient alone (Rprop; Riedmiller & Braun 1993): each parameter finds
its order of magnitude separately, so that the units of x do not matter. Rounds of L-BFGS on all rows follow; before
each, every parameter is scaled by the root of its diagonal entry of the empirical Fisher information. The best
parameters of the whole fit are kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["WeightedRows", "log_probs", "maximise"]

_VALUES_AT_ONCE, _VALUES_TO_START, _ROWS_FOR_INFORMATION = 2_000_000, 200_000, 64
_STARTING_STEPS, _PATIENCE, _FIRST_STEP, _STEP_SIZES = 100, 10, 0.1, (1e-9, 1e12)
_ROUNDS, _ITERATIONS, _GAIN = 10, 40, 1e-7  # stop where a round, or ten steps, gain less than this share of the loss
_WORK = 3e9  # rows times parameters, over all iterations of L-BFGS: seconds to minutes


@dataclass(frozen=True, kw_only=True)
class WeightedRows:
    """Training rows of weight 1 and pseudo-rows of other weights.

    Attributes:
        rows: (N, *event), N at least 1.
        pseudo_rows: (J, *event), possibly none.
        weights: (J,).
    """

    rows: Float[Tensor, "row *event"]
    pseudo_rows: Float[Tensor, "pseudo *event"]
    weights: Float[Tensor, "pseudo"]

    def log_likelihoods(self, likelihood: nn.Module) -> Iterator[Tensor]:
        """The terms of the objective, each of some rows, nats per training row."""
        for rows in self.rows.split(_rows_of(_VALUES_AT_ONCE, likelihood, self.rows)):
            yield _log_prob(likelihood, rows).sum() / len(self.rows)
        if len(self.pseudo_rows):
            yield (self.weights * _log_prob(likelihood, self.pseudo_rows)).sum() / len(self.rows)


@torch.no_grad()
def log_probs(likelihood: nn.Module, x: Float[Tensor, "batch *event"]) -> Float[Tensor, "batch"]:
    """log p(x; θ) of each row, nats."""
    if len(x) == 0:
        return x.new_zeros(0)
    with torch.autocast(x.device.type, enabled=False):
        return torch.cat([_log_prob(likelihood, y) for y in x.split(_rows_of(_VALUES_AT_ONCE, likelihood, x))])


def maximise(likelihood: nn.Module, data: WeightedRows) -> None:
    """Maximise over the parameters of a likelihood that require a gradient, in place.

    Arguments:
        likelihood: in float64, its net independent of the context.
        data: what it is fitted to.
    """
    before = float("inf")
    with torch.enable_grad(), torch.autocast(data.rows.device.type, enabled=False):
        _start(likelihood, data)
        size = len(data.rows) * _width(likelihood, data.rows)
        for _ in range(min(_ROUNDS, math.ceil(_WORK / size / _ITERATIONS))):
            after = _climb(likelihood, data, min(_ITERATIONS, math.ceil(_WORK / size)))
            if not _gains(after, before):
                return
            before = after


def _start(likelihood: nn.Module, data: WeightedRows) -> None:
    """Rprop on some rows; its result is kept only if it is better on all rows."""
    parameters = _free(likelihood)
    first = [p.detach().clone() for p in parameters]
    before, _ = _loss_and_gradients(likelihood, parameters, data)
    few = replace(data, rows=_every(data.rows, max(50, _rows_of(_VALUES_TO_START, likelihood, data.rows))))
    optimizer = torch.optim.Rprop(parameters, lr=_FIRST_STEP, step_sizes=_STEP_SIZES)
    best: tuple[float, list[Tensor]] = (float("inf"), first)
    history: list[float] = []
    for _ in range(_STARTING_STEPS):
        value, gradients = _loss_and_gradients(likelihood, parameters, few)
        if value < best[0]:
            best = value, [p.detach().clone() for p in parameters]
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        optimizer.step()
        history.append(best[0])
        if len(history) > _PATIENCE and not _gains(history[-1], history[-1 - _PATIENCE]):
            break
    _put(parameters, best[1])
    if not _loss_and_gradients(likelihood, parameters, data)[0] < before:
        _put(parameters, first)


def _gains(after: float, before: float) -> bool:
    return after < before - _GAIN * (1 + abs(after))


def _climb(likelihood: nn.Module, data: WeightedRows, iterations: int) -> float:
    """One round: leave the best parameters found in place, and return their loss, nats per row."""
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
    likelihood: nn.Module, parameters: list[nn.Parameter], data: WeightedRows
) -> tuple[float, list[Tensor]]:
    value, total = 0.0, [torch.zeros_like(p) for p in parameters]
    for term in data.log_likelihoods(likelihood):
        gradients = torch.autograd.grad(-term, parameters, allow_unused=True)
        total = [t if g is None else t + g for t, g in zip(total, gradients, strict=True)]
        value -= term.item()
    return value, total


def _units(likelihood: nn.Module, parameters: list[nn.Parameter], data: WeightedRows) -> list[Tensor]:
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


def _log_prob(likelihood: nn.Module, x: Tensor) -> Tensor:
    return likelihood(x.new_zeros(1, 1)).log_prob(x)


def _width(likelihood: nn.Module, x: Tensor) -> int:
    """The cost per row: the numbers of the row, or the parameters if there are more of them."""
    return max(x[0].numel(), sum(p.numel() for p in _free(likelihood)))


def _rows_of(values: int, likelihood: nn.Module, x: Tensor) -> int:
    return max(1, values // _width(likelihood, x))


def _free(likelihood: nn.Module) -> list[nn.Parameter]:
    return [p for p in likelihood.parameters() if p.requires_grad]


def _every(rows: Tensor, number: int) -> Tensor:
    """About so many rows, evenly spaced."""
    return rows[:: math.ceil(len(rows) / number)]


@torch.no_grad()
def _put(parameters: list[nn.Parameter], values: list[Tensor]) -> None:
    for parameter, value in zip(parameters, values, strict=True):
        parameter.copy_(value)
