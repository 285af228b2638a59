import pytest
import torch

from lowerbound.k_means import k_means


def blobs():
    g = torch.Generator().manual_seed(0)
    centres = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    return centres, centres.repeat(50, 1) + 0.1 * torch.randn(150, 2, generator=g)


def test_it_finds_separated_clusters_and_labels_them():
    centres, points = blobs()
    torch.manual_seed(0)
    found, label = k_means(points, 3)
    distance = torch.cdist(centres, found)
    assert (distance.amin(1) < 0.1).all()
    assert torch.equal(label, torch.cdist(points, found).argmin(1))


def test_it_is_seeded_by_torch():
    points = torch.randn(200, 3, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(7)
    first, _ = k_means(points, 20)
    torch.manual_seed(7)
    again, _ = k_means(points, 20)
    assert torch.equal(first, again)


def test_fewer_points_than_clusters_are_refused():
    with pytest.raises(ValueError, match="got 2 points for 3 clusters"):
        k_means(torch.zeros(2, 1), 3)
