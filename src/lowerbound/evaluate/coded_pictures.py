"""What the codes of pictures take, and how near to them the decoded codes are.

    bits per pixel = −Σ log₂ p̃(z) / (pictures · height · width)        a file takes these to within a thousandth

Pixels are counted once for all channels; those of a clip in each of its frames.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound.evaluate.batches import check_rows, row_blocks
from lowerbound.evaluate.picture_quality import ms_ssim, num_scales, psnr
from lowerbound.model import LatentVariableModel
from lowerbound.posteriors import UniformNoise, UniformNoiseLayers

__all__ = ["PictureCodes", "has_picture_codes", "near", "picture_codes"]

_NUMBERS_AT_ONCE = 2**21


@dataclass(frozen=True, kw_only=True)
class PictureCodes:
    """Rate and distortion of some pictures.

    Attributes:
        bits_per_pixel: −log₂ p̃(z), the rate.
        psnr: of the decoded codes, dB.
        ms_ssim: mean over pictures; None where they are smaller than its window.
    """

    bits_per_pixel: float
    psnr: float
    ms_ssim: float | None


def has_picture_codes(model: LatentVariableModel) -> bool:
    """Whether the posterior of a model rounds, so that a file can hold its codes."""
    return isinstance(model.posterior, UniformNoise | UniformNoiseLayers)


@torch.no_grad()
def picture_codes(
    model: LatentVariableModel, x: Float[Tensor, "batch *event"], *, levels: int | None = None
) -> PictureCodes:
    """Rate and distortion of a rate–distortion autoencoder.

    Arguments:
        model: in eval mode.
        x: pictures, or clips, with pixels in [0, 1].
        levels: to which the decoded pixels are rounded, as in a file of bytes; None for none.

    Raises:
        ValueError: no rows, or a model whose codes are no whole numbers.
    """
    check_rows(model, x, None, 1, owner="picture_codes")
    if not has_picture_codes(model):
        raise ValueError("picture_codes got a model without codes of whole numbers; fit the recipe rate-distortion.")
    nats, decoded = 0.0, []
    for rows in row_blocks(len(x), max(1, _NUMBERS_AT_ONCE // math.prod(x.shape[1:]))):
        z = model.infer(x[rows]).sample(torch.Size((1,)))
        nats -= model.prior(None).log_prob(z).double().sum().item()
        decoded.append(model.decode(z).mean[0])
    quality = near(x, torch.cat(decoded), levels)
    pixels = len(x) * math.prod(x.shape[1:]) // (x.shape[-3] if x.ndim > 3 else 1)
    return PictureCodes(bits_per_pixel=nats / math.log(2) / pixels, psnr=quality[0], ms_ssim=quality[1])


def near(x: Tensor, decoded: Tensor, levels: int | None) -> tuple[float, float | None]:
    """PSNR and mean MS-SSIM of decoded pictures (N, *event), on the levels of the data if they have such."""
    channels = x.shape[-3] if x.ndim > 3 else 1
    pair = [rows.detach().cpu().double().clamp(0, 1).reshape(-1, channels, *x.shape[-2:]) for rows in (x, decoded)]
    if levels is not None:
        pair = [(rows * (levels - 1)).round() / (levels - 1) for rows in pair]
    return psnr(*pair), ms_ssim(*pair).mean().item() if num_scales(*x.shape[-2:]) else None
