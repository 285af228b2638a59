"""How close samples are to data, and how much of the data they cover, in a space of features.

With the ball B(a) around a point a of a set, whose radius is the distance to its k-th neighbour in that set:

    precision   share of samples that lie in the ball of some datum        (Kynkäänniemi et al. 2019, arXiv:1904.06991)
    recall      share of data that lie in the ball of some sample
    density     (1/k) mean number of balls of data that hold a sample      (Naeem et al. 2020, arXiv:2002.09797, eq. 4)
    coverage    share of data in whose ball some sample lies               (ibid., eq. 5)
    Fréchet     ‖μ_1 − μ_2‖² + tr(C_1 + C_2 − 2 (C_1 C_2)^½)               (Heusel et al. 2017, arXiv:1706.08500, eq. 6)

Precision and density ask whether samples look like data, recall and coverage whether all data are sampled: a model
that gives one good image again and again has the first without the second. A single outlier among the data has a large
ball; density and coverage hardly notice it. The Fréchet distance is that of two Gaussians with the moments of the
features. It is biased upwards by sampling, so that the same number of two halves of the data stands beside it.

None of these is a likelihood: they say nothing of rows that the model finds impossible.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound.cited import cited
from lowerbound.randomness import forked

__all__ = ["SampleQuality", "frechet_distance", "sample_quality"]

_AT_ONCE = 2**22
_FEWEST = 4  # so that half of the data has a covariance


@dataclass(frozen=True, kw_only=True)
class SampleQuality:
    """The numbers of the module's docstring, with standard errors over samples or data, the other set held fixed.

    Attributes:
        precision, recall, coverage: between 0 and 1.
        density: 1 in expectation where samples are distributed as the data; it may be larger.
        frechet: in squared units of the features; 0 for equal moments.
        frechet_of_data: the same of two halves of the data.
        precision_error, recall_error, density_error, coverage_error: standard errors.
        num_data: rows of data.
        num_samples: samples.
        num_neighbours: k.
    """

    precision: float
    precision_error: float
    recall: float
    recall_error: float
    density: float
    density_error: float
    coverage: float
    coverage_error: float
    frechet: float
    frechet_of_data: float
    num_data: int
    num_samples: int
    num_neighbours: int


@cited("kynkaanniemi2019improved", "naeem2020reliable", "heusel2017gans")
@torch.no_grad()
def sample_quality(
    data: Float[Tensor, "row feature"],
    samples: Float[Tensor, "sample other"],
    *,
    num_neighbours: int = 5,
    seed: int = 0,
) -> SampleQuality:
    """Compare samples with data that the model was not trained on.

    Arguments:
        data: features of data (N, F).
        samples: features of samples (M, F), by the same function.
        num_neighbours: k.
        seed: of the halves of the data.

    Raises:
        ValueError: another shape, too few rows for k neighbours, or numbers that are not finite.
    """
    _check(data, samples, num_neighbours)
    data, samples = data.double(), samples.double()
    of_data, of_samples = _radii(data, num_neighbours), _radii(samples, num_neighbours)
    inside, near, recalled = [], [], torch.zeros(len(data), dtype=torch.bool, device=data.device)
    for part in range(0, len(samples), step := max(1, _AT_ONCE // len(data))):
        distance = _distances(samples[part : part + step], data)
        in_balls = distance <= of_data
        inside.append(in_balls.sum(1))
        near.append(distance.amin(0))
        recalled |= (distance <= of_samples[part : part + step, None]).any(0)
    covered = torch.stack(near).amin(0) <= of_data
    balls = torch.cat(inside).double()
    with forked(data.device, seed, "sample_quality"):
        one, other = data[torch.randperm(len(data))].tensor_split(2)
    shares = {"precision": balls > 0, "recall": recalled, "density": balls / num_neighbours, "coverage": covered}
    numbers = {name: values.double().mean().item() for name, values in shares.items()}
    errors = {f"{n}_error": v.double().std().item() / math.sqrt(len(v)) for n, v in shares.items()}
    return SampleQuality(
        **numbers,
        **errors,
        frechet=frechet_distance(data, samples),
        frechet_of_data=frechet_distance(one, other),
        num_data=len(data),
        num_samples=len(samples),
        num_neighbours=num_neighbours,
    )


@cited("heusel2017gans")
@torch.no_grad()
def frechet_distance(one: Float[Tensor, "row feature"], other: Float[Tensor, "sample feature"]) -> float:
    """‖μ_1 − μ_2‖² + tr(C_1 + C_2 − 2 (C_1 C_2)^½) of the moments of two sets of two rows or more."""
    both = one.double(), other.double()
    means, covariances = [x.mean(0) for x in both], [torch.atleast_2d(x.T.cov()) for x in both]
    root = _root(covariances[0])
    cross = torch.linalg.eigvalsh(root @ covariances[1] @ root).clamp_min(0).sqrt().sum()
    distance = (means[0] - means[1]).square().sum() + sum(c.trace() for c in covariances) - 2 * cross
    return max(0.0, float(distance))


def _root(c: Tensor) -> Tensor:
    """The symmetric square root."""
    values, vectors = torch.linalg.eigh(c)
    return vectors * values.clamp_min(0).sqrt() @ vectors.T


def _distances(one: Tensor, other: Tensor) -> Tensor:
    """Euclidean, by differences: equal rows are at distance 0."""
    return torch.cdist(one, other, compute_mode="donot_use_mm_for_euclid_dist")


def _radii(points: Tensor, k: int) -> Tensor:
    """The distance of each point to its k-th neighbour other than itself."""
    step = max(1, _AT_ONCE // len(points))
    parts = [_distances(part, points).kthvalue(k + 1, dim=1).values for part in points.split(step)]
    return torch.cat(parts)


def _check(data: Tensor, samples: Tensor, k: int) -> None:
    if data.ndim != 2 or samples.ndim != 2 or data.shape[1] != samples.shape[1]:
        raise ValueError(
            f"sample_quality got features of shape {tuple(data.shape)} and {tuple(samples.shape)}; give (N, F) and "
            "(M, F) by the same function."
        )
    least = max(_FEWEST, k + 1)
    if k < 1 or min(len(data), len(samples)) < least:
        raise ValueError(
            f"sample_quality got num_neighbours={k}, {len(data)} rows of data and {len(samples)} samples, and needs "
            f"one neighbour or more and at least {least} of each."
        )
    if not bool(data.isfinite().all() and samples.isfinite().all()):
        raise ValueError("sample_quality got features that are not finite; leave such rows out.")
