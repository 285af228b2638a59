"""The rows whose latents are nearest to those of a row.

    euclid         d(m, n)² = Σ_d (μ_md − μ_nd)²
    symmetric-kl   KL(q_m ‖ q_n) + KL(q_n ‖ q_m) = ½ Σ_d [(σ_m² + δ²) / σ_n² + (σ_n² + δ²) / σ_m² − 2]

with δ = μ_md − μ_nd, for diagonal normals with the means and standard deviations of q. Blocks of M × B distances are
held, never N × N.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lowerbound.fitted import Fitted
from lowerbound.latent_space.vectors import vectors_of

__all__ = ["Distance", "Neighbours", "neighbours"]

Distance: TypeAlias = Literal["euclid", "symmetric-kl"]
_NUMBERS_AT_ONCE = 2**22


@dataclass(frozen=True, kw_only=True, eq=False)
class Neighbours:
    """The nearest rows to each row that was asked for.

    Attributes:
        places: of the nearest rows, in the rows that were searched, the nearest first (M, K).
        distances: to them (M, K): of latents, or nats.
        distance: which.
    """

    places: Int[np.ndarray, "row neighbour"]
    distances: Float[np.ndarray, "row neighbour"]
    distance: Distance


def neighbours(
    fitted: Fitted,
    of: Any,
    among: Any = None,
    count: int = 5,
    *,
    distance: Distance = "euclid",
    exclude: Int[np.ndarray, "row"] | None = None,
    seed: int | None = None,
) -> Neighbours:
    """The nearest rows. See `Fitted.neighbours`.

    Arguments:
        fitted: the model.
        of: M rows.
        among: the rows that are searched; None for the test rows of the fit.
        count: K.
        distance: between two rows.
        exclude: for each of the M rows a place (M,) that is no neighbour: its own.
        seed: of draws where q has no moments in closed form.

    Raises:
        ValueError: fewer rows than neighbours, or another distance.
    """
    if distance not in ("euclid", "symmetric-kl"):
        raise ValueError(f"neighbours got distance={distance!r}; choose euclid or symmetric-kl.")
    asked, rows = fitted.rows(of), fitted.test_rows() if among is None else fitted.rows(among)
    available = len(rows.x) - (exclude is not None)
    if not 1 <= count <= available:
        raise ValueError(f"neighbours got count={count} and {available:,} rows to search; expected 1 to {available:,}.")
    a, b = vectors_of(fitted, asked, seed), vectors_of(fitted, rows, seed)
    best, places = _nearest(
        (a.mean.double(), a.scale.double()), (b.mean.double(), b.scale.double()), count, distance, exclude
    )
    found = best.sqrt() if distance == "euclid" else best
    return Neighbours(places=places.numpy(), distances=found.numpy(), distance=distance)


def _nearest(
    a: tuple[Tensor, Tensor],
    b: tuple[Tensor, Tensor],
    count: int,
    distance: Distance,
    exclude: np.ndarray | None,
) -> tuple[Tensor, Tensor]:
    """The `count` smallest distances of each row of a to rows of b, with their places, a block of b at a time."""
    num_asked, width = a[0].shape
    size = max(1, _NUMBERS_AT_ONCE // (num_asked * width))
    best, places = torch.full((num_asked, 0), torch.inf).double(), torch.zeros(num_asked, 0, dtype=torch.int64)
    for start in range(0, len(b[0]), size):
        part = b[0][start : start + size], b[1][start : start + size]
        d = _squared(a, part) if distance == "euclid" else _symmetric_kl(a, part)
        here = torch.arange(start, start + d.shape[1]).expand(num_asked, -1)
        if exclude is not None:
            d = torch.where(here == torch.from_numpy(exclude)[:, None], torch.inf, d)
        d, here = torch.cat([best, d], 1), torch.cat([places, here], 1)
        order = d.argsort(dim=1, stable=True)[:, :count]
        best, places = d.gather(1, order), here.gather(1, order)
    return best, places


def _squared(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> Float[Tensor, "row other"]:
    return (a[0][:, None] - b[0]).square().sum(-1)


def _symmetric_kl(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> Float[Tensor, "row other"]:
    apart, va, vb = (a[0][:, None] - b[0]).square(), a[1].square()[:, None], b[1].square()
    return 0.5 * ((va + apart) / vb + (vb + apart) / va - 2).sum(-1)
