"""Quality of samples: identical sets, lost modes, brute force, and features of a classifier."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch

from lowerbound.data import load
from lowerbound.evaluate import frechet_distance, sample_quality
from lowerbound.verbs.quality import classifier_features


def modes(which, count=600, seed=0):
    """Points around some of four corners."""
    generator = torch.Generator().manual_seed(seed)
    corners = torch.tensor([[0.0, 0.0], [8.0, 0.0], [0.0, 8.0], [8.0, 8.0]])[which]
    return corners[torch.arange(count) % len(which)] + torch.randn(count, 2, generator=generator)


ALL = [0, 1, 2, 3]


def test_identical_sets_score_perfectly():
    x = modes(ALL)
    found = sample_quality(x, x)
    assert (found.precision, found.recall, found.coverage) == (1, 1, 1)
    assert found.density == pytest.approx(1 + 1 / 5)  # a point lies in its own ball besides
    assert found.frechet == pytest.approx(0, abs=1e-9)


def test_sets_of_one_distribution_are_near_what_theory_says():
    """Coverage of as many samples is 1 − 2^−k at least, density 1 (Naeem et al. 2020, §3.2)."""
    found = sample_quality(modes(ALL, 1500), modes(ALL, 1500, seed=1))
    assert found.density == pytest.approx(1, abs=4 * found.density_error)
    assert found.coverage == pytest.approx(1 - 2**-5, abs=0.02)
    assert min(found.precision, found.recall) > 0.95
    assert found.frechet < 5 * found.frechet_of_data + 0.2


def test_a_lost_mode_is_seen_in_recall_and_not_in_precision():
    lost = sample_quality(modes(ALL), modes([0, 1, 2], seed=1))
    assert lost.precision > 0.95
    assert lost.recall == pytest.approx(0.75, abs=0.04)
    assert lost.coverage == pytest.approx(0.75, abs=0.04)
    assert lost.frechet > 1
    invented = sample_quality(modes([0, 1, 2]), modes(ALL, seed=1))
    assert invented.precision == pytest.approx(0.75, abs=0.04)
    assert invented.recall > 0.95


def test_numbers_are_those_of_loops():
    data, samples, k = torch.randn(13, 3), 1.3 * torch.randn(9, 3), 2
    d, s = data.double().numpy(), samples.double().numpy()

    def radius(points, i):
        return np.sort(np.linalg.norm(points - points[i], axis=1))[k]

    in_data = [[np.linalg.norm(b - a) <= radius(d, i) for i, a in enumerate(d)] for b in s]
    in_samples = [[np.linalg.norm(a - b) <= radius(s, j) for j, b in enumerate(s)] for a in d]
    found = sample_quality(data, samples, num_neighbours=k)
    assert found.precision == pytest.approx(np.mean([any(row) for row in in_data]))
    assert found.recall == pytest.approx(np.mean([any(row) for row in in_samples]))
    assert found.density == pytest.approx(np.mean([sum(row) for row in in_data]) / k)
    assert found.coverage == pytest.approx(np.mean(np.any(in_data, 0)))


def test_the_frechet_distance_is_that_of_a_matrix_root():
    one, other = torch.randn(50, 4).double(), torch.randn(40, 4).double() @ torch.randn(4, 4).double() + 1
    a, b = np.cov(one.numpy().T), np.cov(other.numpy().T)
    apart = (one.mean(0) - other.mean(0)).square().sum().item()
    wanted = apart + np.trace(a + b - 2 * scipy.linalg.sqrtm(a @ b).real)
    assert frechet_distance(one, other) == pytest.approx(wanted, rel=1e-9)


@pytest.mark.slow
def test_features_of_a_classifier_tell_classes_apart():
    digits = load("digits")
    x, y = torch.as_tensor(digits.x_train[:800]).float() / 16, torch.as_tensor(digits.y_train[:800])
    features = classifier_features(x, y)
    f, held_out = features(x), torch.as_tensor(digits.x_test).float() / 16
    centres = torch.stack([f[y == c].mean(0) for c in range(10)])
    found = torch.cdist(features(held_out), centres).argmin(1)
    assert (found == torch.as_tensor(digits.y_test)).double().mean() > 0.85


@pytest.mark.parametrize(
    "data, samples, k, sentence",
    [
        (torch.zeros(9, 2), torch.zeros(9, 3), 3, r"features of shape \(9, 2\) and \(9, 3\)"),
        (torch.zeros(4, 2), torch.zeros(9, 2), 5, "needs one neighbour or more and at least 6 of each"),
        (torch.full((9, 2), torch.nan), torch.zeros(9, 2), 3, "not finite"),
    ],
)
def test_mistakes_are_named(data, samples, k, sentence):
    with pytest.raises(ValueError, match=sentence) as error:
        sample_quality(data, samples, num_neighbours=k)
    assert len(str(error.value)) <= 300
