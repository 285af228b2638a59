"""Rows with gaps under N(b, Σ), the missing entries (m) at their mean given the observed ones (o).

With Q = Σ⁻¹ and δ = x − b, both split by what a row has,

    δ_m = −Q_mm⁻¹ Q_mo δ_o                                             E[x_m | x_o] = b_m + δ_m
    C = Q_mm⁻¹, 0 outside of m                                          Cov[x | x_o]
    δ_oᵀ Σ_oo⁻¹ δ_o = δᵀ Q δ                                            with δ_m as above
    log |Σ_oo| = log |Σ| + log |Q_mm|

so that only matrices of the size of the gap are factorised, once for each pattern of missing entries. Rows are sorted
by how many entries they lack, up to a power of two: in a block smaller gaps are padded by a column D that no row has,
and nothing loops over rows.

Reference: Ghahramani & Jordan (1994), "Supervised learning from incomplete data via an EM approach".
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad

__all__ = ["Block", "Filled", "Patterns", "add_covariances", "blocks_of", "fill", "filled_at_means"]

_SMALL = 2**18


@dataclass(frozen=True)
class Patterns:
    """Which entries some rows lack.

    Attributes:
        missing: the columns that each pattern lacks, padded by D.
        of_row: which pattern a row has.
        number: how many entries a row lacks.
    """

    missing: Int[Tensor, "pattern missing"]
    of_row: Int[Tensor, "row"]
    number: Int[Tensor, "row"]


@dataclass(frozen=True)
class Block:
    """Some rows that lack about the same number of entries.

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
    largest = int(lacking.max())
    if len(x) * num_clusters * largest**2 <= _SMALL:
        bounds = [0, largest]
    else:
        bounds = [0, *(2**i for i in range(largest.bit_length())), largest]
    blocks = []
    for below, number in pairwise([-1, *bounds]):
        rows = ((lacking > below) & (lacking <= number)).nonzero()[:, 0]
        few = max(1, most // max(width, num_clusters * number**2))
        blocks += [_block(x, observed, index, bool(number)) for index in rows.split(few) if len(index)]
    return blocks


def fill(block: Block, loc: Float[Tensor, "cluster data"], precision: Float[Tensor, "cluster data data"]) -> Filled:
    """The rows of a block that has gaps, given b and Q of every cluster."""
    gaps = block.gaps
    assert gaps is not None
    missing, of_row = gaps.missing, gaps.of_row
    hole = missing[of_row].expand(len(loc), -1, -1)  # (cluster, row, missing)
    seen = pad(block.x - loc[:, None], (0, 1)).scatter(2, hole, 0.0)
    padded = pad(precision, (0, 1, 0, 1))
    padding = torch.diag_embed((missing == precision.shape[1]).to(precision))
    factor = torch.linalg.cholesky(padded[:, missing[:, :, None], missing[:, None, :]] + padding)
    covariance = torch.cholesky_inverse(factor)
    pull = (seen @ padded).gather(2, hole)
    deviation = seen.scatter(2, hole, -(covariance[:, of_row] @ pull[..., None])[..., 0])[..., :-1]
    log_det = 2 * factor.diagonal(dim1=2, dim2=3).log().sum(-1)
    return Filled(deviation, covariance, log_det[:, of_row].mT)


def add_covariances(
    total: Float[Tensor, "cluster data data"], block: Block, filled: Filled, r: Float[Tensor, "row cluster"]
) -> None:
    """Add Σ_n r_nk C_nk in place."""
    assert block.gaps is not None
    missing, of_row = block.gaps.missing, block.gaps.of_row
    weight = r.new_zeros(r.shape[1], len(missing)).index_add_(1, of_row, r.mT.contiguous())
    size = total.shape[1] + 1
    place = missing[:, :, None] * size + missing[:, None, :]
    values = (weight[:, :, None, None] * filled.covariance).flatten(1)
    padded = total.new_zeros(len(total), size**2).index_add_(1, place.flatten(), values)
    total += padded.unflatten(1, (size, size))[:, :-1, :-1]


def filled_at_means(x: Float[Tensor, "row data"]) -> Float[Tensor, "row data"]:
    """The rows with their missing entries at the means of their columns; 0 in a column without any entry."""
    return torch.where(x.isnan(), x.nanmean(0).nan_to_num(), x) if bool(x.isnan().any()) else x


def _block(x: Tensor, observed: Tensor, index: Tensor, has_gaps: bool) -> Block:
    return Block(index, x[index].nan_to_num(), _patterns(observed[index]) if has_gaps else None)


def _patterns(observed: Bool[Tensor, "row data"]) -> Patterns:
    patterns, of_row = torch.unique(observed, dim=0, return_inverse=True)
    number = patterns.shape[1] - patterns.sum(1)
    columns = torch.arange(patterns.shape[1]).masked_fill(patterns, patterns.shape[1])
    return Patterns(columns.sort(1).values[:, : int(number.max())], of_row, number[of_row])
