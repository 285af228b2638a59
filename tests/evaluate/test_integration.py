"""Mixing and silhouettes against numbers by hand, and at chance."""

import numpy as np
import pytest
import torch

from lowerbound.evaluate import mean_silhouette, neighbour_mixing

LINE = torch.tensor([[0.0], [1.0], [10.0], [12.0], [12.5]])
GROUPS = torch.tensor([0, 0, 1, 1, 0])


def test_silhouette_by_hand() -> None:
    a = np.array([(1 + 12.5) / 2, (1 + 11.5) / 2, 2.0, 2.0, (12.5 + 11.5) / 2])
    b = np.array([11.0, 10.0, (10 + 9 + 2.5) / 3, (12 + 11 + 0.5) / 3, (2.5 + 0.5) / 2])
    found = mean_silhouette(LINE, GROUPS)
    each = (b - a) / np.maximum(a, b)
    assert found.value == pytest.approx(each.mean(), abs=1e-6)
    assert found.standard_error == pytest.approx(each.std(ddof=1) / 5**0.5, abs=1e-6)


def test_mixing_by_hand() -> None:
    chance = np.array([2, 2, 3, 3, 2]).mean() / 4
    for count, other in ((1, [0, 0, 0, 1, 1]), (2, [1 / 2, 1 / 2, 1 / 2, 1 / 2, 1])):
        found = neighbour_mixing(LINE, GROUPS, num_neighbours=count)
        assert found.value == pytest.approx(np.mean(other) / chance)


def test_groups_without_a_place_are_mixed_as_by_chance_and_overlap() -> None:
    g = torch.Generator().manual_seed(0)
    points, groups = torch.randn(2000, 3, generator=g), (torch.rand(2000, generator=g) < 0.2).long()
    mixing = neighbour_mixing(points, groups)
    assert abs(mixing.value - 1) < 6 * mixing.standard_error < 0.2
    assert abs(mean_silhouette(points, groups).value) < 0.03


@pytest.mark.parametrize(
    "arguments, words",
    [
        ((LINE, torch.zeros(5, dtype=torch.long)), "one group for all points"),
        ((LINE, torch.tensor([0, 1])), "one label for each row"),
        ((LINE, torch.arange(5)), "in as many groups"),
    ],
)
def test_refusals(arguments, words) -> None:
    with pytest.raises(ValueError, match=words):
        mean_silhouette(*arguments)
    with pytest.raises(ValueError, match="between 1 and 4"):
        neighbour_mixing(LINE, GROUPS, num_neighbours=5)
