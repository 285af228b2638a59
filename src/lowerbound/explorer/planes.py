"""A plane through the latent space: where the prior has its mass, and where no latents of rows lie.

A point (a, b) of the plane is z = origin + a u + b v, with orthonormal u and v: two coordinates of z, or the first two
principal components of the means of q(z | x). All densities here are those of the projection of z on u and v:

    p(a, b)     of the prior: exact for a product of normal distributions, else a mixture fitted to its draws
    r(a, b)     of the aggregate posterior: the mixture that `diagnosis.holes` fits, here to projected draws of q(z | x)

A contour encloses the given share of the prior. A *hole* is where p is more than ten times r, inside the contour of
95 %: a draw from the prior falls there ten times as often as the latent of a row.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure

from lowerbound.diagnosis.holes import density_of_latents
from lowerbound.explorer.space import LatentSpace
from lowerbound.randomness import forked

__all__ = ["Directions", "LatentPlane", "latent_plane"]

_CPU = torch.device("cpu")
_PRIOR_DRAWS, _MOST_LATENTS, _CELLS = 4000, 4000, 96
_SHARES, _SHARE_OF_HOLES, _TIMES = (0.99, 0.95, 0.5), 0.95, 10.0
_EDGE, _MARGIN = 0.0005, 0.1


@dataclass(frozen=True, kw_only=True)
class Directions:
    """A plane (see above).

    Attributes:
        origin: (latent,).
        basis: u and v (2, latent); v is zero where z is a single number.
    """

    origin: np.ndarray
    basis: np.ndarray

    def project(self, z: np.ndarray) -> np.ndarray:
        """(a, b) of latents (N, latent)."""
        return (z - self.origin) @ self.basis.T

    def lift(self, points: np.ndarray, through: np.ndarray) -> np.ndarray:
        """Latents (N, latent) that are projected on points (N, 2); in other directions they are those of `through`."""
        return through + (points - self.project(through[None])) @ self.basis


@dataclass(frozen=True, kw_only=True)
class LatentPlane:
    """What is drawn behind the rows.

    Attributes:
        box: left, right, bottom and top, of equal width and height.
        contours: the share of the prior within, and lines (N, 2), of each contour; none without a prior.
        holes: (cell, cell), rows from the bottom: which are holes.
        share: of the prior, in holes; None where this is not known.
        sentence: how the contours were found, or why there are none.
    """

    box: tuple[float, float, float, float]
    contours: tuple[tuple[float, tuple[np.ndarray, ...]], ...]
    holes: np.ndarray
    share: float | None
    sentence: str


def latent_plane(
    space: LatentSpace, directions: Directions, means: np.ndarray, draws: np.ndarray, seed: int
) -> LatentPlane:
    """Contours of the prior and holes in a plane.

    Arguments:
        space: the latents, with their prior.
        directions: the plane.
        means: of q(z | x) of rows (N, latent).
        draws: one of q(z | x) of each (N, latent).
        seed: of the draws of the prior and of the mixtures.
    """
    here = directions.project(means)
    if space.prior is None or not directions.basis.any(1).all():
        why = "There are no contours: p(z) is no density over this plane." if space.prior is None else _ONE_NUMBER
        return LatentPlane(box=_box(here), contours=(), holes=np.zeros((0, 0), bool), share=None, sentence=why)
    try:
        with torch.no_grad(), forked(_CPU, seed, "explore prior"):
            z = space.prior.sample(torch.Size((_PRIOR_DRAWS,)))
    except (ValueError, NotImplementedError) as error:
        why = f"There are no contours: {error}"
        return LatentPlane(box=_box(here), contours=(), holes=np.zeros((0, 0), bool), share=None, sentence=why)
    drawn = directions.project(z.flatten(1).double().numpy())
    box = _box(np.concatenate([here, drawn]))
    at = np.concatenate([_grid(box), drawn])
    log_p, sentence = _prior_density(space, directions, drawn, at, seed)
    latents = directions.project(_some(draws).astype(np.float64))
    log_r = density_of_latents(torch.from_numpy(latents), torch.from_numpy(at), seed).numpy()
    num_cells = _CELLS**2
    levels = [float(np.quantile(log_p[num_cells:], 1 - share)) for share in _SHARES]
    inside = float(np.quantile(log_p[num_cells:], 1 - _SHARE_OF_HOLES))
    hole = (log_p >= inside) & (log_p - log_r > math.log(_TIMES))
    return LatentPlane(
        box=box,
        contours=_contours(box, log_p[:num_cells].reshape(_CELLS, _CELLS), levels),
        holes=hole[:num_cells].reshape(_CELLS, _CELLS),
        share=float(hole[num_cells:].mean()),
        sentence=sentence,
    )


_ONE_NUMBER = "z is a single number: it is drawn along the map, and rows are spread across it to be seen."


def _prior_density(
    space: LatentSpace, directions: Directions, drawn: np.ndarray, at: np.ndarray, seed: int
) -> tuple[np.ndarray, str]:
    """log p of points (N, 2), and how it was found."""
    if space.exact_moments is None:
        found = density_of_latents(torch.from_numpy(drawn), torch.from_numpy(at), seed).numpy()
        return found, f"Contours of p(z) are those of a mixture fitted to {_PRIOR_DRAWS:,} draws from it."
    mean, variance = (moment.numpy() for moment in space.exact_moments)
    centre = directions.project(mean[None])[0]
    covariance = (directions.basis * variance) @ directions.basis.T
    away = at - centre
    squares = (away @ np.linalg.inv(covariance) * away).sum(1)
    return -0.5 * (squares + np.linalg.slogdet(2 * math.pi * covariance)[1]), "Contours of p(z) are exact."


def _some(draws: np.ndarray) -> np.ndarray:
    """As many latents as a mixture is fitted to, evenly from all rows."""
    return draws[np.linspace(0, len(draws) - 1, min(len(draws), _MOST_LATENTS)).astype(np.int64)]


def _box(points: np.ndarray) -> tuple[float, float, float, float]:
    """A square around nearly all points."""
    low, high = np.quantile(points, [_EDGE, 1 - _EDGE], axis=0)
    centre, half = (low + high) / 2, max(float((high - low).max()) / 2 * (1 + _MARGIN), 1e-6)
    (x, y) = centre.tolist()
    return x - half, x + half, y - half, y + half


def _axes(box: tuple[float, float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Middles of the cells along both axes."""
    middles = (np.arange(_CELLS) + 0.5) / _CELLS
    return box[0] + middles * (box[1] - box[0]), box[2] + middles * (box[3] - box[2])


def _grid(box: tuple[float, float, float, float]) -> np.ndarray:
    """Middles of all cells (cell · cell, 2), row by row from the bottom."""
    x, y = np.meshgrid(*_axes(box))
    return np.stack([x.ravel(), y.ravel()], 1)


def _contours(
    box: tuple[float, float, float, float], log_p: np.ndarray, levels: list[float]
) -> tuple[tuple[float, tuple[np.ndarray, ...]], ...]:
    """Lines of equal density, the outermost first."""
    axes, found = Figure().subplots(), []
    for share, level in zip(_SHARES, levels, strict=True):
        lines = axes.contour(*_axes(box), log_p, [level]).allsegs[0] if log_p.min() < level < log_p.max() else []
        found.append((share, tuple(np.asarray(line) for line in lines)))
    return tuple(found)
