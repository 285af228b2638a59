"""The adaptation of Hamiltonian Monte Carlo during warm-up: a step size for each datum, and a scale for each
coordinate.

Dual averaging (Hoffman & Gelman 2014, arXiv:1111.4246, eq. 6) drives the mean acceptance probability α_t to δ:

    H̄_t = (1 − 1/(t + t_0)) H̄_{t−1} + (δ − α_t) / (t + t_0)      log ε_t = μ − √t/γ H̄_t
    log ε̄_t = t^−κ log ε_t + (1 − t^−κ) log ε̄_{t−1}               ε̄ is kept after the warm-up

with γ = 0.05, t_0 = 10, κ = 0.75 and μ = log 10 ε_0. The scale of a coordinate is the standard deviation of the draws
of a window of the warm-up, over time and chains; the former scale counts like five draws. The windows grow, and after
each the adaptation of ε starts again.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["DualAveraging", "RunningScale", "window_ends"]

_GAMMA, _T0, _KAPPA = 0.05, 10, 0.75
_PRIOR_DRAWS = 5


class DualAveraging:
    """Step sizes, one for each datum (or for each chain, if given for each).

    Arguments:
        step_size: ε_0.
        target: δ, the acceptance to be reached.
    """

    def __init__(self, step_size: Float[Tensor, "chain batch"], target: float):
        self._target, self._center, self._time = target, step_size.log() + math.log(10), 0
        self._error = torch.zeros_like(step_size)
        self.current, self._log_mean = step_size, torch.zeros_like(step_size)

    def update(self, acceptance: Float[Tensor, "chain batch"]) -> None:
        """Update with the acceptance probabilities of one transition at `current`."""
        self._time += 1
        rate = 1 / (self._time + _T0)
        self._error = (1 - rate) * self._error + rate * (self._target - acceptance)
        log_step = self._center - math.sqrt(self._time) / _GAMMA * self._error
        weight = self._time**-_KAPPA
        self._log_mean = weight * log_step + (1 - weight) * self._log_mean
        self.current = log_step.exp()

    @property
    def final(self) -> Float[Tensor, "chain batch"]:
        """ε̄, for use after the warm-up; ε_0 before any update."""
        return self._log_mean.exp() if self._time else self.current


class RunningScale:
    """A running standard deviation of draws (Welford's sums), for each datum and coordinate.

    Arguments:
        scale: s to start from.
    """

    def __init__(self, scale: Float[Tensor, "batch *event"]):
        self._before = scale
        self._count, self._mean, self._squares = 0, torch.zeros_like(scale), torch.zeros_like(scale)

    def update(self, z: Float[Tensor, "chain batch *event"]) -> None:
        """Update with the present states of all chains."""
        chains, mean = z.shape[0], z.mean(0)
        total, shift = self._count + chains, mean - self._mean
        self._squares = self._squares + (z - mean).square().sum(0) + shift.square() * self._count * chains / total
        self._mean, self._count = self._mean + shift * chains / total, total

    @property
    def scale(self) -> Float[Tensor, "batch *event"]:
        """s from the draws so far and from the start, which counts like five draws."""
        return ((self._squares + _PRIOR_DRAWS * self._before.square()) / (self._count + _PRIOR_DRAWS)).sqrt()


def window_ends(num_warmup: int) -> list[int]:
    """The transitions after which the scale is renewed: at 1/8, 1/4, 1/2 and 7/8 of the warm-up.

    >>> window_ends(200)
    [25, 50, 100, 175]
    """
    return [num_warmup * eighths // 8 for eighths in (1, 2, 4, 7)]
