"""How near pictures are to others: mean squared error, PSNR and MS-SSIM.

    PSNR = 10 log₁₀(1 / MSE) dB, of pixels in [0, 1], with the mean over all pictures inside the logarithm
    SSIM = l · cs      l = (2 μ_x μ_y + C₁) / (μ_x² + μ_y² + C₁)      cs = (2 σ_xy + C₂) / (σ_x² + σ_y² + C₂)
    MS-SSIM = l_M^{w_M} Π_j cs_j^{w_j},   j = 1, …, M, each scale the mean of 2×2 pixels of the one before

(Wang, Simoncelli & Bovik 2003, Asilomar), with a Gaussian window of 11 pixels and σ = 1.5, C₁ = 0.01², C₂ = 0.03² and
the weights 0.0448, 0.2856, 0.3001, 0.2363, 0.1333. Scales smaller than the window are left out, and the weights of the
others brought to the sum 1: five scales take pictures of 176 pixels, 28 pixels have two.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d

__all__ = ["ms_ssim", "num_scales", "psnr"]

_WINDOW, _SIGMA = 11, 1.5
_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_C1, _C2 = 0.01**2, 0.03**2


def psnr(x: Float[Tensor, "picture ..."], other: Float[Tensor, "picture ..."]) -> float:
    """Peak signal-to-noise ratio of pixels in [0, 1], dB; infinite for equal ones.

    >>> psnr(torch.zeros(2, 4, 4), torch.full((2, 4, 4), 0.1))
    20.0
    """
    error = (x.double() - other.double()).square().mean().item()
    return math.inf if error == 0 else round(-10 * math.log10(error), 10)


def num_scales(height: int, width: int) -> int:
    """How many scales of MS-SSIM pictures of a size have; 0 where they are smaller than the window.

    >>> num_scales(176, 200), num_scales(28, 28), num_scales(8, 8)
    (5, 2, 0)
    """
    scales, side = 0, min(height, width)
    while scales < len(_WEIGHTS) and side >= _WINDOW:
        scales, side = scales + 1, side // 2
    return scales


def ms_ssim(
    x: Float[Tensor, "picture channel height width"], other: Float[Tensor, "picture channel height width"]
) -> Float[Tensor, "picture"]:
    """MS-SSIM of each pair of pictures in [0, 1], mean over channels; 1 for equal ones.

    Raises:
        ValueError: pictures of different shapes, or smaller than the window.
    """
    if x.shape != other.shape:
        raise ValueError(f"ms_ssim got shapes {tuple(x.shape)} and {tuple(other.shape)}; give pairs of one shape.")
    count = num_scales(*x.shape[-2:])
    if not count:
        raise ValueError(f"ms_ssim got {x.shape[-2]} x {x.shape[-1]} pixels and needs {_WINDOW} x {_WINDOW} pixels.")
    weights = torch.tensor(_WEIGHTS[:count], dtype=torch.float64)
    weights = weights / weights.sum()
    x, other = x.double(), other.double()
    found = torch.ones(x.shape[:2], dtype=torch.float64)
    for scale, weight in enumerate(weights.tolist(), 1):
        luminance, contrast = _terms(x, other)
        found = found * contrast.clamp_min(0) ** weight
        if scale == count:
            found = found * luminance.clamp_min(0) ** weight
        x, other = avg_pool2d(x, 2), avg_pool2d(other, 2)
    return found.mean(1)


def _terms(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """l · cs over cs, and cs, as means over the positions of each channel (picture, channel).

    At the last scale the mean of l · cs is taken, as the source does; it is given as a factor of the mean of cs.
    """
    mean_x, mean_y = _blurred(x), _blurred(y)
    var_x, var_y = _blurred(x * x) - mean_x**2, _blurred(y * y) - mean_y**2
    contrast = (2 * (_blurred(x * y) - mean_x * mean_y) + _C2) / (var_x + var_y + _C2)
    both = contrast * (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
    of_both, of_contrast = both.mean((-2, -1)), contrast.mean((-2, -1))
    return of_both / of_contrast, of_contrast


def _blurred(x: Tensor) -> Tensor:
    """Means under the window, where it lies inside."""
    place = torch.arange(_WINDOW, dtype=x.dtype) - _WINDOW // 2
    window = torch.exp(-0.5 * (place / _SIGMA) ** 2)
    window = window / window.sum()
    flat = x.reshape(-1, 1, *x.shape[-2:])
    rows = conv2d(flat, window[None, None, :, None])
    out = conv2d(rows, window[None, None, None, :])
    return out.reshape(*x.shape[:2], *out.shape[-2:])
