"""A Gaussian of images of K levels, its covariance shrunk, which has a bound for the probability of a level.

    Σ = (1 − a) S + (a tr(S)/D + w²/12) I,      w = 1/(K − 1)

S is the covariance of the training rows, w the width of a level, and a is the best of a list on rows that S does not
know. With u uniform within the cell of a level, Jensen's inequality gives

    log P(x) = log ∫ N(x + u; μ, Σ) du ≥ D log w + E_u log N(x + u; μ, Σ) = D log w + log N(x; μ, Σ) − w² tr(Σ⁻¹)/24

Only the eigenvectors with rows to support them are kept, so that images may have more numbers than there are rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["shrunk_gaussian"]

_SHRINKAGES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0)
_LARGEST, _MOST_NUMBERS = 4096, 4 * 10**7  # of a matrix whose eigenvectors take seconds; of rows as doubles
_ROWS_OF_A_BLOCK = 500


def shrunk_gaussian(
    train: Float[Tensor, "row *event"], test: Float[Tensor, "batch *event"], *, num_levels: int = 256, seed: int = 0
) -> Float[Tensor, "batch"]:
    """A lower bound of log p(x) of test images of levels under a Gaussian with a shrunk covariance, nats.

    Arguments:
        train: levels k/(K − 1) in [0, 1]; of many numbers some rows are taken, evenly spaced.
        test: the same.
        num_levels: K.
        seed: of the tenth of the training rows by which the shrinkage is chosen.

    Raises:
        ValueError: fewer than two levels, or fewer than four training rows.
    """
    if num_levels < 2 or len(train) < 4:
        raise ValueError(
            f"A shrunk Gaussian got num_levels={num_levels} and {len(train)} training rows and needs at least 2 levels "
            "and 4 rows."
        )
    width, x = 1 / (num_levels - 1), _some(train.flatten(1)).double()
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed)).to(x.device)
    held, rest = x[order[: math.ceil(len(x) / 10)]], x[order[math.ceil(len(x) / 10) :]]
    chosen = _Spectrum.of(rest)
    best = max(_SHRINKAGES, key=lambda a: chosen.log_prob(held, a, width).mean().item())
    spectrum = _Spectrum.of(x)
    blocks = test.flatten(1).split(_ROWS_OF_A_BLOCK)
    return torch.cat([spectrum.log_prob(rows.double(), best, width) for rows in blocks])


def _some(x: Float[Tensor, "row column"]) -> Float[Tensor, "some column"]:
    """As many rows as a spectrum is found of in seconds."""
    most = _MOST_NUMBERS // x.shape[1]
    most = max(4, min(most, _LARGEST) if x.shape[1] > _LARGEST else most)
    return x[:: math.ceil(len(x) / most)]


@dataclass(frozen=True)
class _Spectrum:
    """The mean (D,), and those eigenvalues (R,) and eigenvectors (D, R) of S that are not 0."""

    mean: Tensor
    values: Tensor
    vectors: Tensor

    @classmethod
    def of(cls, x: Float[Tensor, "row column"]) -> _Spectrum:
        """By the smaller of S and the products of rows."""
        mean = x.mean(0)
        centred = (x - mean) / len(x) ** 0.5
        if x.shape[1] <= len(x):
            values, vectors = torch.linalg.eigh(centred.T @ centred)
            return cls(mean, values.clamp(min=0), vectors)
        values, vectors = torch.linalg.eigh(centred @ centred.T)
        kept = values > 1e-12 * values[-1]
        values, vectors = values[kept], vectors[:, kept]
        return cls(mean, values, centred.T @ (vectors / values.sqrt()))

    def log_prob(self, x: Float[Tensor, "batch column"], shrinkage: float, width: float) -> Float[Tensor, "batch"]:
        """The bound of log P(x), nats."""
        count, rest = x.shape[1], x.shape[1] - len(self.values)
        floor = shrinkage * self.values.sum() / count + width**2 / 12
        values = (1 - shrinkage) * self.values + floor
        y = x - self.mean
        along = (y @ self.vectors) ** 2
        outside = (y.square().sum(1) - along.sum(1)).clamp(min=0)
        distance = (along / values).sum(1) + outside / floor
        log_det = values.log().sum() + rest * floor.log()
        trace = (1 / values).sum() + rest / floor
        constant = count * (math.log(width) - 0.5 * math.log(2 * math.pi)) - width**2 * trace / 24
        return constant - 0.5 * (log_det + distance)
