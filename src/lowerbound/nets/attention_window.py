"""An attention window on an image: a grid of Gaussian filters (Gregor et al. 2015, arXiv:1502.04623, §3.2).

A grid of N × N places, centred at (g_y, g_x) with stride δ, reads an image A × B through filters of width σ:

    μ_i = g + (i − (N − 1)/2) δ,  i = 0 … N − 1        F[i, a] ∝ exp(−(a − μ_i)² / 2σ²),  Σ_a F[i, a] = 1
    read(x) = γ F_y x F_xᵀ            write(w) = F_yᵀ w F_x / γ

Five numbers of a net decide it: g_y = (A − 1)/2 (ĝ_y + 1), g_x likewise, log σ², log γ, and log δ̂ with
δ = (max(A, B) − 1)/(N − 1) δ̂. Zeros cover the image. Places count from 0, so that the grid is centred at g. F is
normalised as a softmax over a, which has a gradient also where a filter lies outside of the image.

Zeros leave gaps between thin filters that are spread over the whole image. `first_window` starts in its middle half,
with filters of σ = δ/2, which leave none.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["NUM_PARAMETERS", "Window", "first_window"]

NUM_PARAMETERS = 5


class Window:
    """A window of N × N places on images of one size.

    Arguments:
        parameters: ĝ_y, ĝ_x, log σ², log δ̂ and log γ, in this order.
        places: N, 2 or more.
        image: (A, B).
    """

    cites: ClassVar[tuple[str, ...]] = ("gregor2015draw",)

    def __init__(self, parameters: Float[Tensor, "*batch 5"], places: int, image: tuple[int, int]):
        y, x, log_variance, log_stride, log_gamma = parameters.unbind(-1)
        stride = (max(image) - 1) / (places - 1) * log_stride.exp()
        centres = [(side - 1) / 2 * (g + 1) for side, g in zip(image, (y, x), strict=True)]
        self.rows, self.columns = (
            _filters(g, stride, log_variance.exp(), places, side) for g, side in zip(centres, image, strict=True)
        )
        self.gamma = log_gamma.exp()[..., None, None, None]

    def read(self, image: Float[Tensor, "*batch channel height width"]) -> Float[Tensor, "*batch channel place place"]:
        """γ F_y x F_xᵀ."""
        return self.gamma * (self.rows @ image @ self.columns.mT)

    def write(self, patch: Float[Tensor, "*batch channel place place"]) -> Float[Tensor, "*batch channel height width"]:
        """F_yᵀ w F_x / γ."""
        return self.rows.mT @ patch @ self.columns / self.gamma


def first_window(places: int, image: tuple[int, int], *, writes: bool) -> Float[Tensor, "5"]:
    """The parameters of a window with which to start: δ̂ = 1/2 and σ = δ/2, around the middle of the image.

    Arguments:
        places: N.
        image: (A, B).
        writes: whether γ is such that one value of w is written at its own size, 1/(2πσ²) at most 1; else γ = 1.

    >>> first_window(5, (28, 28), writes=False).exp()[2:].sqrt()  # σ, √δ̂, √γ
    tensor([1.6875, 0.7071, 1.0000])
    """
    sigma = (max(image) - 1) / (places - 1) / 4
    log_gamma = min(0.0, -math.log(2 * math.pi * sigma**2)) if writes else 0.0
    return torch.tensor([0.0, 0.0, 2 * math.log(sigma), -math.log(2), log_gamma])


def _filters(centre: Tensor, stride: Tensor, variance: Tensor, places: int, side: int) -> Tensor:
    """F (*batch, 1, places, side), whose rows sum to 1; the axis of length 1 is that of channels."""
    offsets = torch.arange(places, dtype=centre.dtype, device=centre.device) - (places - 1) / 2
    mu = centre[..., None] + offsets * stride[..., None]
    distance = torch.arange(side, dtype=centre.dtype, device=centre.device) - mu[..., None]
    return (-distance.square() / (2 * variance[..., None, None])).softmax(-1)[..., None, :, :]
