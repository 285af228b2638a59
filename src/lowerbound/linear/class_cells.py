"""The cells of a table of classes, and rows with each of the cells that they may be in.

The indicators of the columns of classes, less the frequencies of the classes, are the main effects of a linear model: a
row d for each cell, one number for each class of each column. A class that is missing leaves a row with several cells.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lowerbound.linear.other_columns import MixedRows, OtherColumns

__all__ = ["BLOCK", "ClassCells", "Pairs", "expected_design"]

BLOCK = 2**21  # numbers of pairs, clusters and columns at a time


@dataclass(frozen=True)
class ClassCells:
    """The cells of the table of y.

    Arguments:
        columns: which columns of classes y are.
        sizes: how many classes each of all columns of classes has.
        frequencies: of the classes of all columns beside each other.
    """

    columns: tuple[int, ...]
    sizes: tuple[int, ...]
    frequencies: Float[Tensor, "class"]

    @property
    def each(self) -> Int[Tensor, "cell column"]:
        """The classes of every cell."""
        return torch.tensor(list(itertools.product(*(range(self.sizes[j]) for j in self.columns))))

    @property
    def places(self) -> list[Tensor]:
        """Where the classes of each column of y stand among those of all columns."""
        ends = list(itertools.accumulate(self.sizes))
        return [torch.arange(ends[j] - self.sizes[j], ends[j]) for j in self.columns]

    @property
    def indicators(self) -> Float[Tensor, "cell class"]:
        """1 for the classes of each cell among those of all columns, else 0."""
        found = self.frequencies.new_zeros(len(self.each), len(self.frequencies))
        for place, column in zip(self.places, self.each.mT, strict=True):
            found[torch.arange(len(found)), place[column]] = 1.0
        return found

    @property
    def design(self) -> Float[Tensor, "cell effect"]:
        """d of every cell."""
        of_y = torch.cat(self.places)
        return (self.indicators - self.frequencies)[:, of_y]


@dataclass(frozen=True)
class Pairs:
    """Rows with each of the cells that they may be in.

    Attributes:
        row: n of each pair.
        cell: q of each pair.
        x: the real columns of the row.
        others: its other columns, with the classes of the cell.
        blocks: which pairs are taken at a time: all of a row together.
    """

    row: Int[Tensor, "pair"]
    cell: Int[Tensor, "pair"]
    x: Float[Tensor, "pair data"]
    others: OtherColumns
    blocks: tuple[slice, ...]

    @classmethod
    def of(cls, rows: MixedRows, cells: ClassCells, num_clusters: int) -> Pairs:
        """The pairs of rows, in blocks that so many clusters leave small."""
        assert rows.others is not None
        classes, columns = rows.others.classes, list(cells.columns)
        known, each = classes[:, columns], cells.each.to(classes)
        fits = torch.ones(len(rows), len(each), dtype=torch.bool)
        for j in range(len(columns)):
            fits &= (known[:, j, None] == each[:, j]) | known[:, j, None].isnan()
        row, cell = fits.nonzero(as_tuple=True)
        filled = classes[row]
        filled[:, columns] = each[cell]
        others = replace(rows.others, classes=filled, counts=rows.others.counts[row])
        most = max(1, BLOCK // (num_clusters * max(1, rows.real.shape[1])))
        return cls(row, cell, rows.real[row], others, tuple(_whole_rows(fits.sum(1), most)))


def _whole_rows(pairs: Int[Tensor, "row"], most: int) -> list[slice]:
    """The pairs of rows that lie behind each other, about `most` at a time, those of a row together."""
    ends = pairs.cumsum(0)
    part = (ends - 1) // most
    last = torch.cat([ends[:-1][part.diff() > 0], ends[-1:]]).tolist()
    return [slice(begin, end) for begin, end in itertools.pairwise([0, *last])]


def expected_design(others: OtherColumns, cells: ClassCells) -> Float[Tensor, "row effect"]:
    """d of each row, 0 for a column whose class is not known."""
    parts = []
    for place in cells.places:
        one_hot = others.one_hot[:, place]
        parts.append(one_hot - cells.frequencies[place] * one_hot.sum(1, keepdim=True))
    return torch.cat(parts, 1)
