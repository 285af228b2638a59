"""Differences of large log-gammas and logarithms without the cancellation.

Stirling's formula with its remainder kept,

    log Γ(a) = (a − ½) log a − a + ½ log 2π + ρ(a),        ρ(a) = 1/(12 a) − 1/(360 a³) + 1/(1260 a⁵) − …,

lets the large terms of log Γ(x + r) − log Γ(r), of log B(a, b) and of the Poisson, negative binomial, beta and
Student-t densities cancel on paper instead of in floating point, in the manner of Loader (2000), "Fast and accurate
computation of binomial probabilities". The rest consists of ρ and of logarithms of ratios, which are small where the
large terms are large.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["HALF_LOG_TWO_PI", "log_ratio", "stirling_remainder"]

HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
_LARGE = 10.0  # above it the four terms of the series are exact to 1e-12


def stirling_remainder(a: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """ρ(a) = log Γ(a) − (a − ½) log a + a − ½ log 2π for a > 0.

    >>> stirling_remainder(torch.tensor(1e6)) * 12e6
    tensor(1.0000)
    """
    large = a >= _LARGE
    s = torch.where(large, a, _LARGE)
    t = 1 / s**2
    series = (1 / 12 - t * (1 / 360 - t * (1 / 1260 - t / 1680))) / s
    d = torch.where(large, 1.0, a)
    direct = torch.lgamma(d) - (d - 0.5) * torch.log(d) + d - HALF_LOG_TWO_PI
    return torch.where(large, series, direct)


def log_ratio(
    a: Float[Tensor, "*#shape"], b: Float[Tensor, "*#shape"], difference: Float[Tensor, "*#shape"]
) -> Float[Tensor, "*shape"]:
    """log (a / b) for a, b > 0, given their difference a − b, which the caller may know more exactly.

    >>> log_ratio(torch.tensor(1e8), torch.tensor(1e8), torch.tensor(1.0))
    tensor(1.0000e-08)
    """
    d = difference / b
    near = d.abs() < 0.5
    return torch.where(near, torch.log1p(torch.where(near, d, 0.0)), torch.log(torch.where(near, 1.0, a / b)))
