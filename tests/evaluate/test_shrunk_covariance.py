"""The Gaussian of levels against the density of scipy, against its cells, and by the shrinkage that it takes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy import stats

from lowerbound.evaluate import shrunk_gaussian
from lowerbound.evaluate.shrunk_covariance import _Spectrum


def images(rows, *shape, levels=16, seed=0):
    g = torch.Generator().manual_seed(seed)
    shared = torch.randn(rows, 1, generator=g)
    x = 0.5 + 0.15 * shared + 0.08 * torch.randn(rows, int(np.prod(shape)), generator=g)
    return ((x * (levels - 1)).round().clamp(0, levels - 1) / (levels - 1)).view(rows, *shape)


@pytest.mark.parametrize("rows", [40, 6], ids=["more rows than numbers", "fewer"])
def test_the_bound_is_the_mean_log_density_over_the_cell(rows):
    """By scipy's density at the points ±w/√12 of each number, a rule that is exact for squares."""
    x, width, a = images(rows, 3, 3).flatten(1).double(), 1 / 15, 0.03
    got = _Spectrum.of(x).log_prob(x[:3], a, width)
    s = np.cov(x.numpy().T, bias=True)
    p = stats.multivariate_normal(x.mean(0).numpy(), (1 - a) * s + (a * np.trace(s) / 9 + width**2 / 12) * np.eye(9))
    points = width / 12**0.5 * np.array(list(itertools.product([-1, 1], repeat=9)))
    expected = [p.logpdf(row + points).mean() + 9 * np.log(width) for row in x[:3].numpy()]
    assert np.allclose(got.numpy(), expected)


def test_it_is_below_the_probability_of_the_cell():
    """In one dimension, where the cell is a difference of distribution functions."""
    x = images(200, 1, levels=64).double()
    got = _Spectrum.of(x).log_prob(x, 0.0, 1 / 63)
    scale = (x.var(correction=0) + 1 / 63**2 / 12).sqrt().item()
    p = stats.norm(x.mean().item(), scale)
    cell = np.log(p.cdf(x.numpy() + 1 / 126) - p.cdf(x.numpy() - 1 / 126))[:, 0]
    assert (got.numpy() <= cell).all()
    assert np.allclose(got.numpy(), cell, atol=0.01)


def test_images_are_flattened_and_the_shrinkage_is_chosen():
    train, test = images(30, 2, 4, 4), images(50, 2, 4, 4, seed=1)
    got = shrunk_gaussian(train, test, num_levels=16)
    assert got.shape == (50,)
    flat = _Spectrum.of(train.flatten(1).double())
    least, most = (flat.log_prob(test.flatten(1).double(), a, 1 / 15).mean() for a in (1e-4, 1.0))
    assert got.mean() > max(least, most) + 1


def test_too_few_rows_are_refused():
    with pytest.raises(ValueError, match="3 training rows and needs at least 2 levels and 4 rows"):
        shrunk_gaussian(images(3, 2, 2), images(3, 2, 2), num_levels=16)
