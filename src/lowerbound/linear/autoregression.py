"""Mean and covariance of series whose steps follow one law: a vector autoregression of the order that BIC chooses.

    x_t = c + Σ_{j ≤ q} A_j x_{t−j} + e_t,      e_t ~ N(0, V),      q the order (Hamilton 1994, section 11.1)

The first q steps have regressions of their own on the steps before them, as many as the number of series bears, so that
no stationary beginning is assumed. With (I − A) x = c + e in all, E[x] = (I − A)⁻¹ c and
Cov[x] = (I − A)⁻¹ diag(V_1, …, V_T) (I − A)⁻ᵀ. Its parameters do not grow with the length of the series, where those of
any mean and covariance are T C (T C + 3) / 2.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["autoregression"]

_MOST_LAGS, _RIDGE = 12, 1e-6
_ROWS_EACH = 4  # of a regression for each step before


class _Regression(NamedTuple):
    """Coefficients (q C + 1, C) of the steps before, the latest first, and c; the covariance of what is left; rows."""

    coefficients: Tensor
    covariance: Tensor
    num_rows: int

    @property
    def bic(self) -> float:
        """−2 log-likelihood at the maximum, up to a constant for each number, plus log(rows) for each parameter."""
        size = self.covariance.shape[0]
        parameters = self.coefficients.numel() + size * (size + 1) / 2
        return self.num_rows * float(self.covariance.logdet()) + parameters * math.log(self.num_rows)


def autoregression(x: Float[Tensor, "batch time channel"]) -> tuple[Float[Tensor, "data"], Float[Tensor, "data data"]]:
    """E[x] and Cov[x] of series flattened to T C numbers.

    Arguments:
        x: series without gaps, at least two of them and two steps, best in double precision.

    >>> g = torch.Generator().manual_seed(0)
    >>> mean, covariance = autoregression(torch.randn(400, 6, 1, generator=g, dtype=torch.float64).cumsum(1) + 3)
    >>> mean.round().tolist(), covariance.diagonal().round().int().tolist()
    ([3.0, 3.0, 3.0, 3.0, 3.0, 3.0], [1, 2, 3, 4, 5, 6])
    """
    num_series, num_steps, size = x.shape
    shared = _shared(x)
    order, most_own = (len(shared.coefficients) - 1) // size, num_series // (_ROWS_EACH * size)
    whiten = torch.eye(num_steps * size, dtype=x.dtype, device=x.device)
    noise, level = torch.zeros_like(whiten), whiten.new_zeros(num_steps * size)
    for t in range(num_steps):
        lags = order if t >= order else min(t, most_own)
        found = shared if t >= order else _regression(*_pairs(x[:, t - lags : t + 1], lags))
        own = slice(t * size, (t + 1) * size)
        noise[own, own], level[own] = found.covariance, found.coefficients[-1]
        for lag in range(lags):
            before = slice((t - 1 - lag) * size, (t - lag) * size)
            whiten[own, before] = -found.coefficients[lag * size : (lag + 1) * size].mT
    root = torch.linalg.solve_triangular(whiten, torch.linalg.cholesky(noise), upper=False)
    mean = torch.linalg.solve_triangular(whiten, level[:, None], upper=False)[:, 0]
    return mean, root @ root.mT


def _shared(x: Tensor) -> _Regression:
    """The regression that all steps share, of the order of least BIC on the same steps."""
    num_series, num_steps, size = x.shape
    some = range(1, min(_MOST_LAGS, num_steps - 1) + 1)
    most = max((q for q in some if _ROWS_EACH * q * size <= num_series * (num_steps - q)), default=0)
    every = [_regression(*_pairs(x[:, most - q :], q)) for q in range(most + 1)]
    return _regression(*_pairs(x, min(range(most + 1), key=lambda q: every[q].bic)))


def _pairs(x: Tensor, order: int) -> tuple[Tensor, Tensor]:
    """Steps (n, C), and the steps before them with a one (n, q C + 1), the latest first."""
    num_steps = x.shape[1]
    after = x[:, order:]
    before = [x[:, order - 1 - lag : num_steps - 1 - lag] for lag in range(order)]
    return after.flatten(0, 1), torch.cat([*before, torch.ones_like(after[:, :, :1])], 2).flatten(0, 1)


def _regression(y: Tensor, before: Tensor) -> _Regression:
    """Least squares, with a millionth of its mean square added to what is left of each channel."""
    coefficients = torch.linalg.lstsq(before, y, driver="gelsd").solution
    left = y - before @ coefficients
    floor = _RIDGE * y.square().mean(0).clamp_min(torch.finfo(y.dtype).tiny)
    return _Regression(coefficients, left.mT @ left / len(y) + torch.diag_embed(floor), len(y))
