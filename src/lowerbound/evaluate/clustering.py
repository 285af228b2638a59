"""Do unsupervised clusters, or latents, predict the labels?

All three scores of a clustering are functions f of the table n_kl of how many data of label l are in cluster k:

    accuracy    max over matchings π of clusters to labels of Σ_k n_{k π(k)} / N, by the Hungarian method
    NMI         I(k; l) / ½ (H(k) + H(l))
    ARI         (index − expected) / (½ (rows + columns) − expected), in pairs of data
                (Hubert & Arabie 1985, eq. 5)

The data are N independent draws, so that the table is multinomial and the delta method gives the standard error,
with g = ∂f/∂n:   se² = Σ n g². (The mean of g needs no subtraction: f depends on proportions only, ARI to order 1/N, so
that Σ n g = 0.) The error is zero where the derivative of f is, as at a perfect score.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from lowerbound.cited import cited
from lowerbound.evaluate.estimates import Score

__all__ = [
    "adjusted_rand_index",
    "clustering_accuracy",
    "nearest_neighbour_accuracy",
    "normalized_mutual_information",
    "proportion",
]


def clustering_accuracy(clusters: Tensor | np.ndarray, labels: Tensor | np.ndarray) -> Score:
    """The fraction of data whose cluster is matched to their label, under the best one-to-one matching.

    Arguments:
        clusters: the cluster of each datum (N,), integers.
        labels: the label of each datum (N,), integers.

    Raises:
        ValueError: not one label for each datum.

    >>> clustering_accuracy(torch.tensor([1, 1, 0, 0]), torch.tensor([0, 0, 1, 2])).value
    0.75
    """
    table = _table(clusters, labels)
    rows, columns = linear_sum_assignment(table.numpy(), maximize=True)
    return proportion(table[rows, columns].sum().item(), len(labels))


def normalized_mutual_information(clusters: Tensor | np.ndarray, labels: Tensor | np.ndarray) -> Score:
    """I(cluster; label) over the mean of the two entropies: 0 for independent ones, 1 for the same partition.

    Arguments:
        clusters: the cluster of each datum (N,), integers.
        labels: the label of each datum (N,), integers.

    Raises:
        ValueError: not one label for each datum.
    """
    return _delta_method(_nmi, _table(clusters, labels))


@cited("hubert1985comparing")
def adjusted_rand_index(clusters: Tensor | np.ndarray, labels: Tensor | np.ndarray) -> Score:
    """Agreement about pairs of data, corrected for chance: 0 in expectation for random clusters, 1 at best.

    Arguments:
        clusters: the cluster of each datum (N,), integers.
        labels: the label of each datum (N,), integers.

    Raises:
        ValueError: not one label for each datum.
    """
    return _delta_method(_ari, _table(clusters, labels))


def nearest_neighbour_accuracy(
    train_latents: Float[Tensor, "train latent"],
    train_labels: Tensor | np.ndarray,
    latents: Float[Tensor, "batch latent"],
    labels: Tensor | np.ndarray,
    *,
    num_neighbours: int = 5,
) -> Score:
    """The fraction of test data whose label is that of the majority of the nearest training latents.

    Arguments:
        train_latents: latents of the data that vote.
        train_labels: their labels (train,).
        latents: latents of the data to be labelled.
        labels: their labels (batch,).
        num_neighbours: how many vote, by Euclidean distance.

    Raises:
        ValueError: not one label for each latent, or more neighbours than training latents.
    """
    train_latents, latents = torch.as_tensor(train_latents), torch.as_tensor(latents)
    train_labels = check_labels(train_labels, len(train_latents), what="train_labels")
    labels = check_labels(labels, len(latents), what="labels")
    if not 1 <= num_neighbours <= len(train_latents):
        raise ValueError(
            f"nearest_neighbour_accuracy got num_neighbours={num_neighbours} and needs between 1 and the "
            f"{len(train_latents)} training latents."
        )
    voters = KNeighborsClassifier(num_neighbours).fit(_numpy(train_latents), _numpy(train_labels))
    right = voters.predict(_numpy(latents)) == _numpy(labels)
    return proportion(int(right.sum()), len(right))


def proportion(successes: float, trials: int) -> Score:
    """A fraction p of N trials, with the standard error √(p (1 − p) / N)."""
    value = successes / trials
    return Score(value=value, standard_error=(value * (1 - value) / trials) ** 0.5)


def check_labels(labels: Tensor | np.ndarray, num_rows: int, *, what: str) -> Tensor:
    """Labels as a tensor, unless they are not whole numbers, one for each row."""
    if isinstance(labels, np.ndarray) and labels.dtype.kind not in "biuf":
        raise ValueError(f"{what} has type {labels.dtype} and needs to be integers; number the classes first.")
    labels = torch.as_tensor(labels)
    if labels.shape != (num_rows,) or num_rows == 0:
        raise ValueError(
            f"{what} has shape {tuple(labels.shape)} and there are {num_rows} rows; give one label for each row."
        )
    if labels.is_floating_point():
        raise ValueError(f"{what} has type {labels.dtype} and needs to be integers; number the classes first.")
    return labels


def _table(clusters: Tensor | np.ndarray, labels: Tensor | np.ndarray) -> Float[Tensor, "cluster label"]:
    """n_kl, float64."""
    clusters = check_labels(clusters, len(clusters), what="clusters")
    labels = check_labels(labels, len(clusters), what="labels")
    k, l = (part.cpu().unique(return_inverse=True)[1] for part in (clusters, labels))
    size = int(l.max()) + 1
    return torch.bincount(k * size + l, minlength=(int(k.max()) + 1) * size).reshape(-1, size).double()


def _delta_method(f: Callable[[Tensor], Tensor], table: Tensor) -> Score:
    with torch.inference_mode(False), torch.enable_grad():
        n = table.clone().requires_grad_()
        value = f(n)
        (g,) = torch.autograd.grad(value, n)
    g = g.where(table > 0, torch.zeros_like(g))  # cells without data have no say, and may have an infinite slope
    return Score(value=value.item(), standard_error=(table * g.square()).sum().sqrt().item())


def _nmi(n: Tensor) -> Tensor:
    p = n / n.sum()
    joint, k, l = _entropy(p), _entropy(p.sum(1)), _entropy(p.sum(0))
    if not float(k.detach() + l.detach()) > 0:  # one cluster and one label: the same partition
        return 1.0 + 0.0 * n.sum()
    return 2 * (k + l - joint) / (k + l)


def _entropy(p: Tensor) -> Tensor:
    return -torch.xlogy(p, p.clamp_min(torch.finfo(p.dtype).tiny)).sum()


def _ari(n: Tensor) -> Tensor:
    def pairs(count: Tensor) -> Tensor:
        return (count * (count - 1) / 2).sum()

    index, rows, columns, total = pairs(n), pairs(n.sum(1)), pairs(n.sum(0)), pairs(n.sum())
    expected, largest = rows * columns / total, (rows + columns) / 2
    if not float((largest - expected).detach()) > 0:  # all in one cluster, or each alone, on both sides
        return 1.0 + 0.0 * n.sum()
    return (index - expected) / (largest - expected)


def _numpy(values: Tensor):
    return values.detach().cpu().numpy()
