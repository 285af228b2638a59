"""Contours and holes of planes, where the densities are known."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import Independent, MixtureSameFamily, Normal

from lowerbound.explorer.planes import Directions, latent_plane
from lowerbound.explorer.space import LatentSpace

RNG = np.random.default_rng(0)


def space_of(prior, size=3):
    return LatentSpace(size=size, shape=(size,), limits=None, prior=prior, is_product=True)


def plane_of(draws, prior, axes=(0, 1)):
    basis = np.zeros((2, draws.shape[1]))
    basis[0, axes[0]] = basis[1, axes[1]] = 1
    directions = Directions(origin=np.zeros(draws.shape[1]), basis=basis)
    return latent_plane(space_of(prior, draws.shape[1]), directions, draws, draws, 0)


def standard(size=3):
    return Independent(Normal(torch.zeros(size), torch.ones(size)), 1)


def test_contours_of_a_standard_normal_are_circles_that_enclose_their_share():
    plane = plane_of(RNG.normal(size=(500, 3)), standard())
    assert "exact" in plane.sentence
    for share, lines in plane.contours:
        radii = np.linalg.norm(np.concatenate(lines), axis=1)
        np.testing.assert_allclose(radii, math.sqrt(-2 * math.log(1 - share)), rtol=0.05)  # of 4,000 draws


def test_a_prior_on_other_scales_is_projected_exactly():
    prior = Independent(Normal(torch.tensor([1.0, -2.0, 0.0]), torch.tensor([0.5, 2.0, 9.0])), 1)
    draws = RNG.normal(size=(500, 3)) * [0.5, 2.0, 9.0] + [1.0, -2.0, 0.0]
    plane = plane_of(draws, prior)
    _, lines = plane.contours[-1]
    away = (np.concatenate(lines) - [1.0, -2.0]) / [0.5, 2.0]
    np.testing.assert_allclose(np.linalg.norm(away, axis=1), math.sqrt(-2 * math.log(0.5)), rtol=0.05)


def test_latents_spread_as_the_prior_is_leave_no_hole():
    plane = plane_of(RNG.normal(size=(2000, 3)), standard())
    assert plane.share == 0
    assert not plane.holes.any()


def test_a_planted_hole_is_found_with_its_mass():
    """Latents that avoid a disc: the hole is there, and nowhere else within the contour."""
    draws = RNG.normal(size=(40_000, 2))
    draws = draws[np.linalg.norm(draws - [0.8, 0.0], axis=1) > 0.7][:2000]
    plane = plane_of(draws, standard(2))
    left, right, bottom, top = plane.box
    row, column = np.nonzero(plane.holes)
    cells = len(plane.holes)
    where = np.stack([left + (column + 0.5) / cells * (right - left), bottom + (row + 0.5) / cells * (top - bottom)], 1)
    assert len(where)
    assert np.linalg.norm(where - [0.8, 0.0], axis=1).max() < 0.75
    far = plane_of(RNG.normal(size=(2000, 2)) * 0.1, standard(2))
    inside = 1 - math.exp(-0.5 * 0.5**2)
    assert 0.95 - inside < far.share + 0.02 < 0.97  # all of the 95 % but what lies near the latents


def test_a_mixture_prior_is_fitted_to_its_draws():
    two = Independent(Normal(torch.tensor([[-3.0, 0.0], [3.0, 0.0]]), torch.ones(2, 2) * 0.5), 1)
    prior = MixtureSameFamily(torch.distributions.Categorical(torch.ones(2)), two)
    plane = plane_of(prior.sample((1000,)).numpy(), prior)
    assert "a mixture fitted" in plane.sentence
    assert len(plane.contours[-1][1]) == 2  # one line around each mode
    assert plane.share < 0.02


def test_points_are_lifted_to_latents_that_are_projected_on_them():
    basis = np.linalg.qr(RNG.normal(size=(5, 2)))[0].T
    plane = Directions(origin=RNG.normal(size=5), basis=basis)
    through, points = RNG.normal(size=5), RNG.normal(size=(7, 2))
    z = plane.lift(points, through)
    np.testing.assert_allclose(plane.project(z), points, atol=1e-12)
    np.testing.assert_allclose((z - through) - (z - through) @ basis.T @ basis, 0, atol=1e-12)


def test_a_prior_that_cannot_be_drawn_from_has_no_contours():
    class Silent(Normal):
        def sample(self, sample_shape=()):
            raise ValueError("There are no draws of it.")

    plane = plane_of(RNG.normal(size=(50, 2)), Silent(torch.zeros(2), torch.ones(2)))
    assert plane.contours == ()
    assert plane.sentence == "There are no contours: There are no draws of it."


@pytest.mark.parametrize("axes", [None, (0, 2)])
def test_planes_of_an_explorer_are_computed_once(explorer, axes):
    assert explorer.plane(axes) is explorer.plane(axes)
    basis = explorer.directions(axes).basis
    np.testing.assert_allclose(basis @ basis.T, np.eye(2), atol=1e-6)


def test_the_first_components_are_those_of_the_means(explorer):
    directions, shares = explorer.principal
    z = explorer.mean - explorer.mean.mean(0)
    spread = np.linalg.svd(z, compute_uv=False) ** 2
    np.testing.assert_allclose(shares, (spread / spread.sum())[:2], rtol=1e-4)
    np.testing.assert_allclose(directions.project(explorer.mean).var(0) / z.var(0).sum(), shares, rtol=1e-4)
