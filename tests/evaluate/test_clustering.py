"""Scores of clusterings against scikit-learn and against permutations tried one by one."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from lowerbound.evaluate import (
    adjusted_rand_index,
    clustering_accuracy,
    nearest_neighbour_accuracy,
    normalized_mutual_information,
)

SCORES = [clustering_accuracy, normalized_mutual_information, adjusted_rand_index]


def noisy(size, generator, num_classes=4, keep=0.7):
    """Labels, and clusters that say them, renamed, seven times in ten."""
    labels = generator.integers(num_classes, size=size)
    clusters = np.where(generator.random(size) < keep, (labels + 1) % num_classes, generator.integers(5, size=size))
    return torch.from_numpy(clusters), torch.from_numpy(labels)


@pytest.mark.parametrize("seed", range(5))
def test_against_scikit_learn(seed):
    clusters, labels = noisy(60, np.random.default_rng(seed))
    assert math.isclose(
        normalized_mutual_information(clusters, labels).value, normalized_mutual_info_score(labels, clusters)
    )
    assert math.isclose(adjusted_rand_index(clusters, labels).value, adjusted_rand_score(labels, clusters))


def test_accuracy_is_that_of_the_best_matching():
    clusters, labels = noisy(60, np.random.default_rng(0))
    best = max(
        np.mean(np.array(order)[clusters.numpy()] == labels.numpy())
        for order in itertools.permutations([0, 1, 2, 3, -1])  # five clusters, four labels
    )
    got = clustering_accuracy(clusters, labels)
    assert math.isclose(got.value, best)
    assert math.isclose(got.standard_error, (best * (1 - best) / 60) ** 0.5)


@pytest.mark.parametrize("score", SCORES)
def test_the_stated_error_is_the_spread_over_data_sets(score):
    generator = np.random.default_rng(0)
    got = [score(*noisy(400, generator)) for _ in range(300)]
    spread = np.std([one.value for one in got])
    assert 0.85 < np.mean([one.standard_error for one in got]) / spread < 1.15


@pytest.mark.parametrize("score", SCORES)
def test_names_and_order_of_the_classes_do_not_matter(score):
    clusters, labels = noisy(60, np.random.default_rng(0))
    order = torch.randperm(60, generator=torch.Generator().manual_seed(0))
    other = score((7 - 3 * clusters)[order], (100 + labels)[order])
    assert math.isclose(other.value, score(clusters, labels).value)
    assert math.isclose(other.standard_error, score(clusters, labels).standard_error)


def test_limits():
    labels = torch.arange(4).repeat(25)
    same, unrelated = (labels + 2) % 4, torch.arange(4).repeat_interleave(25)
    for score in SCORES:
        assert math.isclose(score(same, labels).value, 1)
        assert score(same, labels).standard_error < 1e-6
        assert math.isclose(score(torch.zeros(9).long(), torch.zeros(9).long()).value, 1)
    assert abs(normalized_mutual_information(unrelated, labels).value) < 0.02
    assert abs(adjusted_rand_index(unrelated, labels).value) < 0.05
    with torch.inference_mode():
        assert adjusted_rand_index(same, labels).value == 1


def test_nearest_neighbours():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(3, (200,), generator=generator)
    latents = torch.nn.functional.one_hot(labels).float() * 4 + torch.randn(200, 3, generator=generator)
    got = nearest_neighbour_accuracy(latents[:150], labels[:150], latents[150:], labels[150:], num_neighbours=7)
    distance = torch.cdist(latents[150:], latents[:150]).topk(7, largest=False).indices
    voted = torch.nn.functional.one_hot(labels[distance]).sum(1).argmax(1)
    assert math.isclose(got.value, (voted == labels[150:]).float().mean().item(), abs_tol=1e-6)
    assert got.value > 0.9
    own = nearest_neighbour_accuracy(latents, labels, latents, labels, num_neighbours=1)
    assert own.value == 1


def test_refusals():
    labels = torch.arange(4)
    for score in SCORES:
        with pytest.raises(ValueError, match=r"labels has shape \(4,\) and there are 3 rows; give one label"):
            score(labels[:3], labels)
        with pytest.raises(ValueError, match="needs to be integers"):
            score(labels, labels.float())
        with pytest.raises(ValueError, match="one label for each row"):
            score(labels[:0], labels[:0])
    latents = torch.zeros(4, 2)
    with pytest.raises(ValueError, match=r"train_labels has shape \(3,\) and there are 4 rows"):
        nearest_neighbour_accuracy(latents, labels[:3], latents, labels)
    with pytest.raises(ValueError, match="num_neighbours=9 and needs between 1 and the 4"):
        nearest_neighbour_accuracy(latents, labels, latents, labels, num_neighbours=9)
