"""A generated set of small binary pictures with known factors, after dSprites (Matthey et al. 2017).

A square, an ellipse or a heart, in 4 sizes, 6 rotations and 10 × 10 places, 32 × 32 pixels: every one of the 7,200
combinations once, in the order of the factors. A pixel is 255 where its centre (u, v) in [−1, 1]² is inside the shape,

    (a, b) = R(−θ) ((u, v) − centre) / size
    square max(|a|, |b|) ≤ 0.75       ellipse a² + (2 b)² ≤ 1        heart (a² + b² − ½)³ ≤ a² b³, with b upwards

Rotations θ cover a quarter of a turn (dSprites: a whole one), so that no two combinations look the same, and the
picture determines each factor.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lowerbound.data.catalog import Entry
from lowerbound.data.dataset import Dataset
from lowerbound.data.split import split_rows

__all__ = ["FACTORS", "UNORDERED", "Shapes", "load_shapes", "shapes"]

FACTORS = ("shape", "size", "rotation", "x", "y")
"""The factors, in the order of their columns."""

UNORDERED = (0,)
"""The columns of the factors whose classes have no order: a heart is no more than a square."""

_SHAPE_NAMES = ("square", "ellipse", "heart")
_SIZES = np.linspace(0.38, 0.5, 4)
_ROTATIONS = np.arange(6) * (np.pi / 2 / 6)
_PLACES = np.linspace(-0.42, 0.42, 10)
_PIXELS = 32


@dataclass(frozen=True, kw_only=True, eq=False)
class Shapes:
    """Every picture once, and its factors.

    Attributes:
        images: (7200, 32, 32), uint8, 0 or 255.
        factors: (7200, 5), int64, the class of each of `FACTORS`, from 0.
    """

    images: np.ndarray
    factors: np.ndarray

    def split(self, num_test: int) -> tuple[Shapes, Shapes]:
        """Training and test part, at random but always the same; those of the data set "shapes" for 1,200."""
        parts = (np.sort(rows) for rows in split_rows(len(self.images), num_test))
        train, test = (Shapes(images=self.images[rows], factors=self.factors[rows]) for rows in parts)
        return train, test


def shapes() -> Shapes:
    """Generate the pictures; they are the same bytes every time.

    >>> shapes().factors[-1]
    array([2, 3, 5, 9, 9])
    """
    sizes = (len(_SHAPE_NAMES), len(_SIZES), len(_ROTATIONS), len(_PLACES), len(_PLACES))
    factors = np.stack(np.unravel_index(np.arange(np.prod(sizes)), sizes), 1).astype(np.int64)
    images = np.concatenate([_inside(block) for block in np.array_split(factors, 24)])
    return Shapes(images=images.astype(np.uint8) * 255, factors=factors)


def load_shapes(entry: Entry) -> Dataset:
    """As a data set whose label is the shape; `shapes().split(num_test)` gives the other factors of the same rows."""
    train, test = shapes().split(entry.num_test)
    return Dataset.from_arrays(
        name=entry.name,
        kind=entry.kind,
        x_train=train.images,
        x_test=test.images,
        y_train=train.factors[:, 0].copy(),
        y_test=test.factors[:, 0].copy(),
        label_names=_SHAPE_NAMES,
        source=entry.origin,
    )


def _inside(factors: np.ndarray) -> np.ndarray:
    """Which pixels are inside (N, 32, 32)."""
    shape, size, rotation, x, y = factors.T[..., None, None]
    centre = (np.arange(_PIXELS) + 0.5) * (2 / _PIXELS) - 1
    u, v = centre[None, :] - _PLACES[x], centre[::-1, None] - _PLACES[y]  # v upwards
    cosine, sine = np.cos(_ROTATIONS[rotation]), np.sin(_ROTATIONS[rotation])
    a, b = (cosine * u + sine * v) / _SIZES[size], (cosine * v - sine * u) / _SIZES[size]
    square = np.maximum(abs(a), abs(b)) <= 0.75
    ellipse = a**2 + (2 * b) ** 2 <= 1
    heart = (a**2 + b**2 - 0.5) ** 3 <= a**2 * b**3
    return np.choose(shape, (square, ellipse, heart))
