"""Walks, neighbours and directions where posterior and decoder are known: p(x | z) = N(W z + b, s²)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence

import lowerbound as lb
from lowerbound.exact import LinearGaussian
from lowerbound.latent_space import nearest, taken
from lowerbound.latent_space.directions import with_attribute

RNG = np.random.default_rng(0)
W = torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.5, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
EXACT = LinearGaussian(W, torch.tensor([1.0, -1.0, 0.0, 3.0]), torch.tensor(0.5))
X = (RNG.normal(size=(80, 3)) @ W.numpy().T + [1, -1, 0, 3] + 0.5 * RNG.normal(size=(80, 4))).astype(np.float32)


@pytest.fixture(scope="module")
def fitted() -> lb.Fitted:
    return lb.Fitted(EXACT.model(), data=X)


def _means(x: np.ndarray) -> np.ndarray:
    return EXACT.model().infer(torch.from_numpy(x)).mean.detach().numpy()


def test_latents_come_by_their_activity_and_the_one_without_weights_is_silent(fitted) -> None:
    found = fitted.traverse(X)
    activity = _means(X).var(0)
    assert found.activity == pytest.approx(activity, rel=1e-5)
    assert found.latents.tolist() == [0, 1]
    assert found.silent == [2]
    assert found.num_rows == 80


def test_one_latent_moves_and_the_decoder_is_linear_along_it(fitted) -> None:
    found = fitted.traverse(X, row=5, sd=2, num_steps=5, num_latents=3)
    q = EXACT.model().infer(torch.from_numpy(X))
    spread = (q.mean.var(0, correction=0) + q.stddev.square().mean(0)).sqrt().detach().numpy()
    for walk, d in enumerate(found.latents):
        z = np.tile(_means(X)[5], (5, 1))
        z[:, d] += spread[d] * np.linspace(-2, 2, 5)
        assert found.values[walk] == pytest.approx(z[:, d], rel=1e-4, abs=1e-5)
        expected = z @ W.numpy().T + [1, -1, 0, 3]
        assert found.shown[walk].numpy() == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert found.row == 5


def test_quantiles_are_those_of_the_aggregate_posterior() -> None:
    x = np.tile(X[:1], (4000, 1))  # q(z) is then one normal, of which the quantiles are known
    q = EXACT.model().infer(torch.from_numpy(x[:1]))
    found = lb.Fitted(EXACT.model(), data=X).traverse(x, num_latents=3)
    standard = Normal(0.0, 1.0).icdf(torch.linspace(0.02, 0.98, 7)).numpy()
    for walk, d in enumerate(found.latents):
        expected = q.mean[0, d].item() + q.stddev[0, d].item() * standard
        assert found.values[walk] == pytest.approx(expected, abs=0.15)


@pytest.mark.parametrize("distance", ["euclid", "symmetric-kl"])
def test_neighbours_are_those_of_all_pairs(fitted, monkeypatch, distance) -> None:
    monkeypatch.setattr(nearest, "_NUMBERS_AT_ONCE", 3 * 3 * 7)  # blocks of seven rows
    found = fitted.neighbours(X[:3], X, 4, distance=distance)
    q = EXACT.model().infer(torch.from_numpy(X))
    if distance == "euclid":
        all_pairs = np.linalg.norm(_means(X)[:3, None] - _means(X)[None], axis=-1)
    else:
        one = Independent(Normal(q.mean[:3, None], q.stddev[:3, None]), 1)
        other = Independent(Normal(q.mean[None], q.stddev[None]), 1)
        all_pairs = (kl_divergence(one, other) + kl_divergence(other, one)).detach().numpy()
    assert found.places.tolist() == np.argsort(all_pairs, 1, kind="stable")[:, :4].tolist()
    assert found.distances == pytest.approx(np.sort(all_pairs, 1)[:, :4], rel=1e-3, abs=1e-4)
    assert found.places[:, 0].tolist() == [0, 1, 2]


def test_the_direction_of_a_column_moves_it_and_is_judged_on_other_rows() -> None:
    fitted = lb.Fitted(EXACT.model(), data=X)
    found = fitted.attribute("0", data=X)
    z, y = _means(X), X[:, 0]
    difference = z[y > np.median(y)].mean(0) - z[y <= np.median(y)].mean(0)
    unit = difference / np.linalg.norm(difference)
    assert found.direction == pytest.approx(unit * (z @ unit).std(), rel=1e-3, abs=1e-4)
    assert found.held_out > 0.9
    assert found.num_train + found.num_held_out == 80
    assert abs(fitted.attribute("3", data=X, how="classifier").held_out) < 0.3  # the decoder does not know that column
    before, after = with_attribute(fitted, found, X[:2], 1.5)
    moved = 1.5 * W.numpy() @ found.direction
    assert (after - before).numpy() == pytest.approx(np.tile(moved, (2, 1)), abs=1e-4)


def test_a_class_has_an_accuracy_beside_its_share() -> None:
    frame_y = np.where(X[:, 0] > 1, "big", "small")
    fitted = lb.fit(X.astype(float), "vae", y=frame_y, latent_dim=2, hidden=[8], steps=60, device="cpu")
    rows = fitted.rows(X.astype(float), y=frame_y)
    found = fitted.attribute("y", "big", rows)
    assert (found.is_class, found.name) == (True, "y=big")
    assert 0.5 <= found.baseline <= 1
    noise = taken(rows, np.arange(80))
    noise.y[:] = RNG.integers(0, 2, 80)
    assert fitted.attribute("y", "big", noise).held_out < 0.85
    with pytest.raises(ValueError, match="got the class 'huge'; expected one of big, small"):
        fitted.attribute("y", "huge", rows)


def test_refusals(fitted, as_users_run) -> None:
    with pytest.raises(ValueError, match="row 80 is none of X, of which there are 80"):
        fitted.traverse(X, row=80)
    with pytest.raises(ValueError, match="at least 2 steps"):
        fitted.traverse(X, num_steps=1)
    with pytest.raises(ValueError, match="count=81 and 80 rows"):
        fitted.neighbours(X, X, 81)
    with pytest.raises(ValueError, match="name of type ndarray and expected the label"):
        fitted.attribute(X, X[:, 0])
    with pytest.raises(ValueError, match="no label or column 'nix'"):
        fitted.attribute("nix", data=X)
    with pytest.raises(ValueError, match="holds numbers, which have no class 'b'"):
        fitted.attribute("0", "b", X)
    classes = lb.fit(X.astype(float), "latent-classes", components=2, latent_dim=1, steps=2, objective="elbo")
    for verb in (lambda: classes.traverse(X), lambda: classes.interpolate(X[:2]), lambda: classes.neighbours(X[:1])):
        with pytest.raises(ValueError, match="no single vector of latents"):
            verb()


def test_the_symmetric_divergence_of_unequal_scales() -> None:
    mean, scale = torch.from_numpy(RNG.normal(size=(5, 3))), torch.from_numpy(RNG.uniform(0.2, 2, size=(5, 3)))
    one = Independent(Normal(mean[:, None], scale[:, None]), 1)
    other = Independent(Normal(mean, scale), 1)
    exact = kl_divergence(one, other) + kl_divergence(other, one)
    torch.testing.assert_close(nearest._symmetric_kl((mean, scale), (mean, scale)), exact)
