"""Gaussians with dependent coordinates, one coordinate after another: p(z) = Π_d p(z_d | z_<d) in closed form.

    N(μ, L Lᵀ):               p(z_d | z_<d) = N(μ_d + Σ_{j<d} L_dj ε_j, L_dd²),    ε_j solves z_j, j < d
    Σ_k π_k N(μ_k, diag σ_k²): p(z_d | z_<d) = Σ_k w_k N(μ_kd, σ_kd²),             w_k ∝ π_k Π_{j<d} N(z_j; μ_kj, σ_kj²)

What is yielded and received is said in `hooks.ComesInTurn`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from lowerbound.distributions import distribution_functions
from lowerbound.hooks import Turn

__all__ = ["Stated", "gaussian_in_turn", "mixture_in_turn", "num_elements"]


class Stated(Distribution):
    """A distribution of single numbers that is known by its distribution function alone (`hooks.HasCumulative`).

    Arguments:
        function: of `distribution_functions`.
        parameters: of the function; the first axes of each are the batch shape.
        batch_shape: of the distribution.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}

    def __init__(self, function: Callable[..., Any], parameters: tuple[Tensor, ...], batch_shape: tuple[int, ...]):
        self.function, self.parameters = function, parameters
        super().__init__(torch.Size(batch_shape), validate_args=False)

    def cumulative(self) -> tuple[Callable[..., Any], tuple[Tensor, ...]]:
        """See `hooks.HasCumulative`."""
        return self.function, self.parameters


def num_elements(p: Distribution) -> int:
    """How many numbers, bits or one-hot vectors an elementwise p of one batch axis or none is over."""
    base = p
    while isinstance(base, Independent):
        base = base.base_dist
    return base.batch_shape[len(p.batch_shape) :].numel()


def gaussian_in_turn(loc: Tensor, scale_tril: Tensor) -> Generator[Turn, Tensor, None]:
    """N(μ, L Lᵀ) for μ (B, D) and L (B, D, D)."""
    noise = torch.zeros_like(loc)
    for d in range(loc.shape[-1]):
        mean = loc[:, d] + (scale_tril[:, d, :d] * noise[:, :d]).sum(-1)
        scale = scale_tril[:, d, d]
        z = yield Normal(mean[:, None], scale[:, None], validate_args=False), torch.tensor([d])
        noise[:, d] = (z[:, 0] - mean) / scale


def mixture_in_turn(log_weights: Tensor, loc: Tensor, scale: Tensor) -> Generator[Turn, Tensor, None]:
    """Σ_k π_k N(μ_k, diag σ_k²) for log π (B, K), μ and σ (B, K, D)."""
    log_w = log_weights
    for d in range(loc.shape[-1]):
        of_d = log_w.softmax(-1)[:, None], loc[:, None, :, d], scale[:, None, :, d]
        p = Stated(distribution_functions.mixture_of_normals, of_d, (len(loc), 1))
        z = yield p, torch.tensor([d])
        t = (z - loc[..., d]) / scale[..., d]
        log_w = log_w - 0.5 * t.square() - scale[..., d].log() - 0.5 * math.log(2 * math.pi)
