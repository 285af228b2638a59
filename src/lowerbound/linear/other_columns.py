"""Columns of classes and of counts in a mixture: independent of all others given the cluster.

    x_j | k ~ Cat(p_kj)              x_j | k ~ NB(mean m_kj, inverse dispersion r_j)

(Lazarsfeld & Henry 1968, latent classes; Hunt & Jorgensen 1999 beside Gaussian columns). A missing entry (NaN) leaves
the sum of log-probabilities. With responsibilities ρ_nk the M step is

    p_kjv ∝ Σ_n ρ_nk 1[x_nj = v] + f_jv          m_kj = (Σ_n ρ_nk x_nj + x̄_j) / (Σ_n ρ_nk + 1)      over observed x_nj

whatever r is, and r_j is then the best of a grid, for which only sums over clusters are needed. f_jv are the
frequencies of all rows and x̄_j their mean: every cluster is given one row of pseudo-data, so that no class has
probability 0. This is the exact maximum of the likelihood of rows and pseudo-rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["MixedRows", "OtherColumns", "OtherFit", "OtherParameters"]

_GRID = torch.logspace(-1.5, 4, 34, dtype=torch.float64)
_SMALLEST_MEAN = 0.01


@dataclass(frozen=True)
class OtherColumns:
    """Classes and counts of some rows, NaN where an entry is missing.

    Arguments:
        classes: numbers of classes from 0.
        sizes: how many classes each of these columns has.
        counts: whole numbers that are not negative.
    """

    classes: Float[Tensor, "row class_column"]
    sizes: tuple[int, ...]
    counts: Float[Tensor, "row count_column"]

    def __len__(self) -> int:
        return len(self.classes)

    def __getitem__(self, rows: Tensor | slice) -> OtherColumns:
        return OtherColumns(self.classes[rows], self.sizes, self.counts[rows])

    @cached_property
    def one_hot(self) -> Float[Tensor, "row class"]:
        """The classes of all columns beside each other, 0 where an entry is missing."""
        parts = [column[:, None] == torch.arange(k) for column, k in zip(self.classes.mT, self.sizes, strict=True)]
        return torch.cat([self.classes[:, :0], *parts], 1)

    @cached_property
    def seen(self) -> Float[Tensor, "row count_column"]:
        """1 where a count is known, else 0."""
        return (~self.counts.isnan()).to(self.counts)

    @cached_property
    def known(self) -> Float[Tensor, "row count_column"]:
        """The counts, 0 where they are not known."""
        return self.counts.nan_to_num()

    @cached_property
    def frequencies(self) -> Float[Tensor, "class"]:
        """f: of the classes of each column, with one count spread evenly."""
        totals = self.one_hot.sum(0).split(self.sizes) if self.sizes else ()
        return torch.cat([self.one_hot.new_zeros(0), *((t + 1 / len(t)) / (t.sum() + 1) for t in totals)])

    @cached_property
    def mean(self) -> Float[Tensor, "count_column"]:
        """x̄: of the known counts, at least 0.01."""
        return (self.known.sum(0) / self.seen.sum(0).clamp_min(1)).clamp_min(_SMALLEST_MEAN)

    def features(self) -> Float[Tensor, "row feature"]:
        """Numbers for k-means, of variance 1 a column: centred indicators of classes, and log(1 + x)."""
        parts = [self.classes[:, :0]]
        if self.sizes:
            blocks = zip(self.one_hot.split(self.sizes, 1), self.frequencies.split(self.sizes), strict=True)
            for indicator, f in blocks:
                parts.append((indicator - f * indicator.sum(1, keepdim=True)) / (f * (1 - f)).sum().sqrt())
        log_x = self.counts.log1p()
        spread = (log_x - log_x.nanmean(0)).square().nanmean(0).sqrt().nan_to_num().clamp_min(1e-3)
        return torch.cat([*parts, ((log_x - log_x.nanmean(0)) / spread).nan_to_num()], 1)


@dataclass(frozen=True)
class OtherParameters:
    """p, m and r of every cluster.

    Attributes:
        log_p: log p of the classes of all columns beside each other.
        mean: m.
        inverse_dispersion: r.
    """

    log_p: Float[Tensor, "cluster class"]
    mean: Float[Tensor, "cluster count_column"]
    inverse_dispersion: Float[Tensor, "cluster count_column"]

    def log_prob(self, rows: OtherColumns) -> Float[Tensor, "row cluster"]:
        """log p of the classes and counts of each row given each cluster, nats; of those that are known."""
        m, r = self.mean, self.inverse_dispersion
        log_p = (
            rows.one_hot @ self.log_p.mT + rows.known @ (m / (r + m)).log().mT - rows.seen @ (r * (m / r).log1p()).mT
        )
        for x, seen, of_column in zip(rows.known.mT, rows.seen.mT, r.mT, strict=True):
            values, inverse = of_column.unique(return_inverse=True)  # one, unless mixtures were joined
            log_p = log_p + (seen[:, None] * _volume(x[:, None], values))[:, inverse]
        return log_p


@dataclass(frozen=True)
class MixedRows:
    """Rows of a table by the kinds of their columns.

    Arguments:
        real: real columns, in standard units.
        others: the other ones; None where there are none.
    """

    real: Float[Tensor, "row data"]
    others: OtherColumns | None = None

    def __len__(self) -> int:
        return len(self.real)

    def __getitem__(self, rows: Tensor | slice) -> MixedRows:
        return MixedRows(self.real[rows], None if self.others is None else self.others[rows])

    @property
    def is_whole(self) -> bool:
        """Whether all columns are real and nothing is missing."""
        return self.others is None and not bool(self.real.isnan().any())


class OtherFit:
    """The M step for some rows.

    Arguments:
        rows: the rows.
    """

    def __init__(self, rows: OtherColumns):
        self.rows = rows
        self.volumes = torch.stack(
            [(rows.seen * _volume(rows.known, r)).sum(0) for r in _GRID.to(rows.counts)]
        )  # of the counts of all rows together, at each r of the grid

    def maximise(self, responsibilities: Float[Tensor, "row cluster"]) -> OtherParameters:
        """The parameters of greatest likelihood of rows and pseudo-rows."""
        rows, rho = self.rows, responsibilities.mT
        totals = rho @ rows.one_hot + rows.frequencies
        if rows.sizes:
            totals = torch.cat([(t / t.sum(1, keepdim=True)).log() for t in totals.split(rows.sizes, 1)], 1)
        total, weight = rho @ rows.known + rows.mean, rho @ rows.seen + 1
        mean = total / weight
        r = _GRID.to(mean)[:, None, None]
        values = (total * (mean / (r + mean)).log() - weight * r * (mean / r).log1p()).sum(1)
        pseudo = len(rho) * _volume(rows.mean, r[:, 0])
        best = (values + self.volumes + pseudo).argmax(0) if mean.shape[1] else torch.zeros(0, dtype=torch.long)
        return OtherParameters(totals, mean, _GRID.to(mean)[best].expand_as(mean))


def _volume(x: Tensor, r: Tensor) -> Tensor:
    """log Γ(x + r) / (Γ(r) x!)."""
    return torch.lgamma(x + r) - torch.lgamma(r) - torch.lgamma(x + 1)
