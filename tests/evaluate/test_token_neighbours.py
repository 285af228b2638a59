"""Nearest embeddings against scikit-learn's search by the cosine."""

import pytest
import torch
from sklearn.neighbors import NearestNeighbors

from lowerbound.evaluate import nearest_tokens


def test_they_are_those_of_scikit_learn():
    torch.manual_seed(0)
    embedding = torch.randn(40, 5) * torch.rand(40, 1).add(0.1)
    found = nearest_tokens(embedding, [3, 39, 2], num_nearest=4, first=2)
    search = NearestNeighbors(n_neighbors=5, metric="cosine").fit(embedding[2:])
    expected = search.kneighbors(embedding[[3, 39, 2]], return_distance=False) + 2
    assert found == expected[:, 1:].tolist()  # the nearest is the token itself


def test_there_may_be_fewer_and_wrong_numbers_are_refused():
    assert nearest_tokens(torch.eye(3), [1], num_nearest=9) == [[0, 2]]
    for of, number in (([3], 1), ([-1], 1), ([0], 0)):
        with pytest.raises(ValueError, match="expected 1 or more, and numbers from 0 to 2"):
            nearest_tokens(torch.eye(3), of, num_nearest=number)
