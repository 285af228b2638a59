"""Densities of independent sources: one with heavier tails than a Gaussian, one with lighter ones.

    super-Gaussian    p(s) = 1 / (π cosh s)                   ψ(s) = tanh s         kurtosis 2 (hyperbolic secant)
    sub-Gaussian      p(s) = ½ N(s; −1, 1) + ½ N(s; 1, 1)     ψ(s) = s − tanh s     kurtosis −½

with ψ = −(log p)'. The second is that of extended infomax (Lee, Girolami & Sejnowski 1999), the first of infomax. The
scale of a source belongs to the mixing matrix; the best one for given values is the root of E[a s ψ(a s)] = 1, whose
left side rises with a for both.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

__all__ = ["best_scale", "draw", "log_density", "score", "slope"]

_BISECTIONS = 30


def log_density(s: Float[Tensor, "batch source"], is_super: Bool[Tensor, "source"]) -> Float[Tensor, "batch source"]:
    """log p(s) of each source, nats."""
    log_cosh = torch.logaddexp(s, -s) - math.log(2)
    lighter = -0.5 * (s**2 + 1 + math.log(2 * math.pi)) + log_cosh
    return torch.where(is_super, -math.log(math.pi) - log_cosh, lighter)


def score(s: Float[Tensor, "batch source"], is_super: Bool[Tensor, "source"]) -> Float[Tensor, "batch source"]:
    """ψ(s)."""
    return torch.where(is_super, s.tanh(), s - s.tanh())


def slope(s: Float[Tensor, "batch source"], is_super: Bool[Tensor, "source"]) -> Float[Tensor, "batch source"]:
    """ψ'(s)."""
    bend = 1 - s.tanh() ** 2
    return torch.where(is_super, bend, 1 - bend)


def best_scale(s: Float[Tensor, "batch source"], is_super: Bool[Tensor, "source"]) -> Float[Tensor, "source"]:
    """a with the largest mean of log p(a s) + log a, by bisection of its logarithm."""
    middle = -s.square().mean(0).log() / 2
    low, high = middle - 5, middle + 5
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        y = s * middle.exp()
        above = (y * score(y, is_super)).mean(0) > 1
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    return ((low + high) / 2).exp()


def draw(num_samples: int, is_super: Bool[Tensor, "source"], dtype: torch.dtype) -> Float[Tensor, "sample source"]:
    """Samples of each source, from torch's global generator."""
    u = torch.rand(num_samples, len(is_super), dtype=dtype, device=is_super.device)
    u = u.clamp(torch.finfo(dtype).tiny, 1 - torch.finfo(dtype).eps)
    lighter = torch.where(u < 0.5, -1.0, 1.0) + torch.randn_like(u)
    return torch.where(is_super, torch.tan(0.5 * math.pi * u).log(), lighter)
