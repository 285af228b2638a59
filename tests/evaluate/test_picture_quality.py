"""PSNR and MS-SSIM against the same numbers by scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate1d

from lowerbound.evaluate.picture_quality import ms_ssim, num_scales, psnr

WEIGHTS = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])


def blurred(x):
    """A Gaussian window of 11 pixels, where it lies inside."""
    window = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    for axis in (0, 1):
        x = correlate1d(x, window / window.sum(), axis=axis)
    return x[5:-5, 5:-5]


def by_scipy(x, y, scales):
    """MS-SSIM of two pictures, from its definition."""
    found, weights = 1.0, WEIGHTS[:scales] / WEIGHTS[:scales].sum()
    for j in range(scales):
        mx, my = blurred(x), blurred(y)
        vx, vy, cov = blurred(x * x) - mx**2, blurred(y * y) - my**2, blurred(x * y) - mx * my
        cs = (2 * cov + 9e-4) / (vx + vy + 9e-4)
        last = cs * (2 * mx * my + 1e-4) / (mx**2 + my**2 + 1e-4)
        found *= (last if j == scales - 1 else cs).mean() ** weights[j]
        h, w = (n // 2 * 2 for n in x.shape)
        x, y = (p[:h, :w].reshape(h // 2, 2, w // 2, 2).mean((1, 3)) for p in (x, y))
    return found


@pytest.mark.parametrize("shape", [(28, 28), (45, 33), (180, 181)])
def test_ms_ssim_is_that_of_scipy(shape):
    g = np.random.default_rng(0)
    x = correlate1d(correlate1d(g.random(shape), np.ones(5) / 5, axis=0), np.ones(5) / 5, axis=1)
    y = np.clip(x + 0.05 * g.normal(size=shape), 0, 1)
    found = ms_ssim(torch.from_numpy(x)[None, None], torch.from_numpy(y)[None, None]).item()
    assert found == pytest.approx(by_scipy(x, y, num_scales(*shape)), rel=1e-9)
    assert found < 0.999


def test_equal_pictures_have_one_and_channels_are_averaged():
    x = torch.rand(2, 3, 20, 20)
    torch.testing.assert_close(ms_ssim(x, x), torch.ones(2, dtype=torch.float64))
    y = x.clone()
    y[:, 0] = 0.5
    alone = ms_ssim(x[:, :1], y[:, :1])
    torch.testing.assert_close(ms_ssim(x, y), (alone + 2) / 3)


def test_psnr_pools_the_errors_of_all_pictures():
    x, y = torch.zeros(2, 1, 2, 2), torch.zeros(2, 1, 2, 2)
    y[0] = 0.2
    assert psnr(x, y) == pytest.approx(10 * math.log10(1 / 0.02))
    assert psnr(x, x) == math.inf


def test_small_pictures_are_refused():
    with pytest.raises(ValueError, match="needs 11 x 11 pixels"):
        ms_ssim(torch.zeros(1, 1, 8, 30), torch.zeros(1, 1, 8, 30))
