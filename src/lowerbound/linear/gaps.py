"""Rows with gaps under N(b, Σ), the missing entries (m) at their mean given the observed ones (o).

With Q = Σ⁻¹ and δ = x − b, both split by what a row has,

    δ_m = −Q_mm⁻¹ Q_mo δ_o                                             E[x_m | x_o] = b_m + δ_m
    C = Q_mm⁻¹, 0 outside of m                                          Cov[x | x_o]
    δ_oᵀ Σ_oo⁻¹ δ_o = δᵀ Q δ                                            with δ_m as above
    log |Σ_oo| = log |Σ| + log |Q_mm|

so that only matrices of the size of the gap are factorised, once for each pattern of missing entries. Rows are sorted
by how many entries they lack: in a block all patterns have the same size, and nothing loops over rows.

Reference: Ghahramani & Jordan (1994), "Supervised learning from incomplete data via an EM approach".
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

__all__ = ["Block", "Filled", "Patterns", "add_covariances", "blocks_of", "fill", "filled_at_means"]


@dataclass(frozen=True)
class Patterns:
    """Which entries some rows lack; as many in each of them.

    Attributes:
        missing: the columns that each pattern lacks.
        of_row: which pattern a row has.
    """

    missing: Int[Tensor, "pattern missing"]
    of_row: Int[Tensor, "row"]


@dataclass(frozen=True)
class Block:
    """Some rows that lack the same number of entries.

    Attributes:
        index: where they stand among all rows.
        x: the rows, 0 where an entry is missing.
        gaps: None where nothing is missing.
    """

    index: slice | Int[Tensor, "row"]
    x: Float[Tensor, "row data"]
    gaps: Patterns | None = None


@dataclass(frozen=True)
class Filled:
    """Rows under each of several Gaussians.

    Attributes:
        deviation: δ, complete.
        covariance: C_mm.
        log_det: log |Q_mm| of each row.
    """

    deviation: Float[Tensor, "cluster row data"]
    covariance: Float[Tensor, "cluster pattern missing missing"]
    log_det: Float[Tensor, "row cluster"]


def blocks_of(x: Float[Tensor, "row data"], num_clusters: int, most: int) -> list[Block]:
    """The rows, few enough at a time that K · D, or K times the square of the gap, numbers a row are at most `most`."""
    observed = ~x.isnan()
    size, width = max(1, x.shape[1]), num_clusters * max(1, x.shape[1])
    if bool(observed.all()):
        step = max(1, most // width)
        return [Block(slice(i, i + step), x[i : i + step]) for i in range(0, len(x), step)]
    lacking = size - observed.sum(1)
    blocks = []
    for number in lacking.unique().tolist():
        rows = (lacking == number).nonzero()[:, 0]
        for index in rows.split(max(1, most // max(width, num_clusters * number**2))):
            gaps = _patterns(observed[index]) if number else None
            blocks.append(Block(index, x[index].nan_to_num(), gaps))
    return blocks


def fill(block: Block, loc: Float[Tensor, "cluster data"], precision: Float[Tensor, "cluster data data"]) -> Filled:
    """The rows of a block that has gaps, given b and Q of every cluster."""
    gaps = block.gaps
    assert gaps is not None
    missing, of_row = gaps.missing, gaps.of_row
    hole = missing[of_row].expand(len(loc), -1, -1)  # (cluster, row, missing)
    seen = (block.x - loc[:, None]).scatter(2, hole, 0.0)
    within = precision[:, missing[:, :, None], missing[:, None, :]]
    factor = torch.linalg.cholesky(within)
    covariance = torch.cholesky_inverse(factor)
    pull = (seen @ precision).gather(2, hole)
    deviation = seen.scatter(2, hole, -(covariance[:, of_row] @ pull[..., None])[..., 0])
    log_det = 2 * factor.diagonal(dim1=2, dim2=3).log().sum(-1)
    return Filled(deviation, covariance, log_det[:, of_row].mT)


def add_covariances(
    total: Float[Tensor, "cluster data data"], block: Block, filled: Filled, r: Float[Tensor, "row cluster"]
) -> None:
    """Add Σ_n r_nk C_nk in place."""
    assert block.gaps is not None
    missing, of_row = block.gaps.missing, block.gaps.of_row
    weight = r.new_zeros(r.shape[1], len(missing)).index_add_(1, of_row, r.mT.contiguous())
    place = missing[:, :, None] * total.shape[1] + missing[:, None, :]
    values = (weight[:, :, None, None] * filled.covariance).flatten(1)
    total.flatten(1).index_add_(1, place.flatten(), values)


def filled_at_means(x: Float[Tensor, "row data"]) -> Float[Tensor, "row data"]:
    """The rows with their missing entries at the means of their columns; 0 in a column without any entry."""
    return torch.where(x.isnan(), x.nanmean(0).nan_to_num(), x) if bool(x.isnan().any()) else x


def _patterns(observed: Bool[Tensor, "row data"]) -> Patterns:
    patterns, of_row = torch.unique(observed, dim=0, return_inverse=True)
    missing = torch.stack([row.logical_not().nonzero()[:, 0] for row in patterns])
    return Patterns(missing, of_row)
