"""How far groups of points lie apart: batches of cells, which should be mixed, and types, which should not.

    mixing      the fraction of the k nearest neighbours of a point that are of another group, over the fraction that
                chance gives: 1 where groups are mixed, 0 where they are apart
    silhouette  the mean over points of (b − a) / max(a, b), with a the mean distance to the other points of its group
                and b that to those of the nearest other group (Rousseeuw 1987): 1 where groups are compact and apart,
                0 where they overlap

Chance is the fraction of the other points that are of another group. Standard errors are those of means over points,
which are taken to be independent: neighbours are shared, so that they are a little too small.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from torch import Tensor

from lowerbound.cited import cited
from lowerbound.evaluate.clustering import check_labels
from lowerbound.evaluate.estimates import Score

__all__ = ["mean_silhouette", "neighbour_mixing"]

_LEAST_GROUPS = 2


def neighbour_mixing(
    points: Float[Tensor, "point dim"], groups: Tensor | np.ndarray, *, num_neighbours: int = 30
) -> Score:
    """How much more often than by chance the neighbours of a point are of another group, by Euclidean distance.

    Arguments:
        points: one row for each point.
        groups: the group of each (N,), integers.
        num_neighbours: k.

    Raises:
        ValueError: not one group for each point, a single group, or not more points than neighbours.

    >>> import torch
    >>> apart = torch.tensor([[0.0], [0.1], [9.0], [9.1]])
    >>> neighbour_mixing(apart, torch.tensor([0, 0, 1, 1]), num_neighbours=1).value
    0.0
    """
    from sklearn.neighbors import NearestNeighbors

    own = _groups(points, groups)
    if not 1 <= num_neighbours < len(points):
        raise ValueError(
            f"neighbour_mixing got num_neighbours={num_neighbours} and needs between 1 and {len(points) - 1}, one less "
            "than the points; take fewer."
        )
    x = points.detach().cpu().numpy()
    near = NearestNeighbors(n_neighbors=num_neighbours).fit(x).kneighbors(return_distance=False)
    _, place, sizes = np.unique(own, return_inverse=True, return_counts=True)
    chance = (len(own) - sizes[place]) / (len(own) - 1)
    return _mean_of((own[near] != own[:, None]).mean(1) / chance.mean())


@cited("rousseeuw1987silhouettes")
def mean_silhouette(points: Float[Tensor, "point dim"], groups: Tensor | np.ndarray) -> Score:
    """The mean silhouette of points in their groups, by Euclidean distance.

    Arguments:
        points: one row for each point.
        groups: the group of each (N,), integers.

    Raises:
        ValueError: not one group for each point, a single group, or as many groups as points.
    """
    from sklearn.metrics import silhouette_samples

    own = _groups(points, groups)
    if len(np.unique(own)) == len(own):
        raise ValueError(f"mean_silhouette got {len(own)} points in as many groups; give groups of several points.")
    return _mean_of(silhouette_samples(points.detach().cpu().numpy(), own))


def _groups(points: Tensor, groups: Tensor | np.ndarray) -> np.ndarray:
    own = check_labels(groups, len(points), what="groups").cpu().numpy()
    if len(np.unique(own)) < _LEAST_GROUPS:
        raise ValueError("groups has one group for all points and needs at least two; give groups that differ.")
    return own


def _mean_of(values: np.ndarray) -> Score:
    each = np.asarray(values, dtype=np.float64)
    return Score(value=float(each.mean()), standard_error=float(each.std(ddof=1) / len(each) ** 0.5))
