"""Columns of classes and of counts in a mixture: independent of all others given the cluster.

    x_j | k ~ Cat(p_kj)              x_j | k ~ NB(mean m_kj, inverse dispersion r_j)

(Lazarsfeld & Henry 1968, latent classes; Hunt & Jorgensen 1999 beside Gaussian columns). A missing entry (NaN) leaves
the sum of log-probabilities. With responsibilities ρ_nk the M step is

    p_kjv ∝ Σ_n ρ_nk 1[x_nj = v] + f_jv          m_kj = (Σ_n ρ_nk x_nj + x̄_j) / (Σ_n ρ_nk + 1)      over observed x_nj

whatever r is, and r_j is then the best of a grid (of its values near the former r_j), for which only sums over clusters
are needed. f_jv are the frequencies of all rows and x̄_j their mean: every cluster is given one row of pseudo-data, so
that no class has probability 0. This is the maximum of the likelihood of rows and pseudo-rows. Counts may have factors
within clusters (`count_factors`): the pseudo-row of a cluster is then spread evenly over the points of its grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound.linear.count_factors import CountGrid

__all__ = ["MixedRows", "OtherColumns", "OtherFit", "OtherParameters"]

_GRID = torch.logspace(-1.5, 4, 34, dtype=torch.float64)
_SMALLEST_MEAN = 0.01
_NEAR = 2  # steps of the grid
_LEAST_TAIL = 1e-9
_STEPS, _STEPS_TO_BEGIN, _ROUNDS_TO_BEGIN = 2, 5, 3


@dataclass(frozen=True)
class OtherColumns:
    """Classes and counts of some rows, NaN where an entry is missing.

    Arguments:
        classes: numbers of classes from 0.
        sizes: how many classes each of these columns has.
        counts: whole numbers that are not negative.
        tables: K of each of the counts where a table of 0, …, K − 1 and of more may be fitted, else 0; no table at all
            if left out.
    """

    classes: Float[Tensor, "row class_column"]
    sizes: tuple[int, ...]
    counts: Float[Tensor, "row count_column"]
    tables: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.classes)

    def __getitem__(self, rows: Tensor | slice) -> OtherColumns:
        return OtherColumns(self.classes[rows], self.sizes, self.counts[rows], self.tables)

    def tabled(self) -> OtherColumns:
        """The same rows with the counts that may have a table as classes behind the others; what is not below K is the
        last of them.
        """
        small, rest = _places(self.tables)
        most = self.counts.new_tensor([self.tables[i] for i in small])
        classes = torch.cat([self.classes, self.counts[:, small].minimum(most)], 1)
        rest = rest if self.tables else list(range(self.counts.shape[1]))
        return OtherColumns(classes, (*self.sizes, *(self.tables[i] + 1 for i in small)), self.counts[:, rest])

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
    def distinct(self) -> tuple[Float[Tensor, "value"], Tensor]:
        """The different counts, and which of them each entry of `known` is."""
        return self.known.unique(return_inverse=True)

    @cached_property
    def log_factorials(self) -> Float[Tensor, "row"]:
        """Σ_j log x_j! of the known counts."""
        values, which = self.distinct
        return torch.lgamma(values + 1)[which].sum(1)  # log 0! = 0 where it is not known

    def volume(self, r: Float[Tensor, "count_column"]) -> Float[Tensor, "row"]:
        """Σ_j log Γ(x_j + r_j) / (Γ(r_j) x_j!) of the known counts."""
        values, which = self.distinct
        if len(values) < len(self):
            rising = torch.lgamma(values[:, None] + r).gather(0, which)
        else:
            rising = torch.lgamma(self.known + r)
        return (self.seen * (rising - torch.lgamma(r))).sum(1) - self.log_factorials

    def volumes(self, r: Float[Tensor, "size"]) -> Float[Tensor, "size count_column"]:
        """Σ_n log Γ(x_nj + r) / (Γ(r) x_nj!) of the known counts, for some r."""
        values, which = self.distinct
        if len(values) >= len(self):
            return torch.stack([(self.seen * _volume(self.known, each)).sum(0) for each in r])
        columns = torch.arange(which.shape[1], device=which.device).expand_as(which)
        number = self.known.new_zeros(len(values), which.shape[1])
        number.index_put_((which, columns), self.seen, accumulate=True)
        return _volume(values, r[:, None]) @ number

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
                variance = (f * (1 - f)).sum()  # 0 of a column of one class
                parts.append((indicator - f * indicator.sum(1, keepdim=True)) / variance.sqrt().clamp_min(1e-3))
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
        if not r.shape[1]:
            return log_p
        different, which = r.unique(dim=0, return_inverse=True)  # one, unless mixtures were joined
        return log_p + torch.stack([rows.volume(each) for each in different], 1)[:, which]

    def tabled(self, tables: Sequence[int]) -> OtherParameters:
        """The same with the negative binomials of counts that may have a table (K of each; 0 for none) written as such,
        behind the classes.
        """
        small, rest = _places(tables)
        parts = [self.log_p]
        for i in small:
            x, m, r = torch.arange(tables[i]).to(self.mean), self.mean[:, i, None], self.inverse_dispersion[:, i, None]
            log_p = _volume(x, r) + x * (m / (r + m)).log() - r * (m / r).log1p()
            more = (1 - log_p.exp().sum(1, keepdim=True)).clamp_min(_LEAST_TAIL)
            parts.append(torch.cat([log_p, more.log()], 1).log_softmax(1))
        return OtherParameters(torch.cat(parts, 1), self.mean[:, rest], self.inverse_dispersion[:, rest])


def _places(tables: Sequence[int]) -> tuple[list[int], list[int]]:
    """Of the counts with a table, and of those without."""
    every = range(len(tables))
    return [i for i in every if tables[i]], [i for i in every if not tables[i]]


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

    @property
    def has_tables(self) -> bool:
        """Whether tables may be fitted to some counts."""
        return self.others is not None and any(self.others.tables)

    @property
    def is_counts(self) -> bool:
        """Whether all columns are counts."""
        return self.others is not None and not self.real.shape[1] and not self.others.sizes


class OtherFit:
    """The M step for some rows.

    Arguments:
        rows: the rows.
        grid: of factors of the counts, whose components are then the clusters; None for independent columns.
    """

    def __init__(self, rows: OtherColumns, grid: CountGrid | None = None):
        self.rows, self.grid = rows, grid
        self.volumes = rows.volumes(_GRID.to(rows.counts))  # of the counts of all rows together

    def maximise(
        self, responsibilities: Float[Tensor, "row cluster"], former: OtherParameters | None = None
    ) -> OtherParameters:
        """The parameters of greatest likelihood of rows and pseudo-rows; with factors, steps towards them.

        Arguments:
            responsibilities: ρ.
            former: the parameters of the step before; None at the start of EM.
        """
        rows, rho = self.rows, responsibilities.mT
        log_p = rho @ rows.one_hot + rows.frequencies
        if rows.sizes:
            log_p = torch.cat([(t / t.sum(1, keepdim=True)).log() for t in log_p.split(rows.sizes, 1)], 1)
        share = 1.0 if self.grid is None else 1 / len(self.grid.points)
        total, weight = rho @ rows.known + share * rows.mean, rho @ rows.seen + share
        if self.grid is None:
            mean = total / weight
            r = self._dispersion(total, weight, mean, None if former is None else former.inverse_dispersion[0])
            return OtherParameters(log_p, mean, r.expand_as(mean))
        return OtherParameters(log_p, *self._with_factors(self.grid, total, weight, former))

    def _with_factors(
        self, grid: CountGrid, total: Tensor, weight: Tensor, former: OtherParameters | None
    ) -> tuple[Tensor, Tensor]:
        """Means and inverse dispersions, by steps of the one and of the other in turn."""
        if former is None:
            coefficients, rounds, steps = grid.coefficients_of(total, weight), _ROUNDS_TO_BEGIN, _STEPS_TO_BEGIN
            r = torch.ones_like(coefficients[0])
        else:
            coefficients, rounds, steps = grid.coefficients_at(former.mean), 1, _STEPS
            r = former.inverse_dispersion[0]
        for _ in range(rounds):
            for _ in range(steps):
                coefficients = grid.step(coefficients, total, weight, r)
            mean = grid.mean(coefficients)
            r = self._dispersion(total, weight, mean, None if former is None else r)
        return mean, r.expand_as(mean)

    def _dispersion(
        self, total: Tensor, weight: Tensor, mean: Tensor, former: Tensor | None
    ) -> Float[Tensor, "count_column"]:
        """The r of the grid at which rows and pseudo-rows are most probable, up to what does not depend on r; near that
        of the step before, if there was one.
        """
        if not mean.shape[1]:
            return mean.new_zeros(0)
        grid, sum_of_weights = _GRID.to(mean), weight.sum(0)
        tried = torch.arange(len(grid))[:, None].expand(-1, mean.shape[1])
        if former is not None:
            own = (grid[:, None] - former).abs().argmin(0)
            tried = (own + torch.arange(-_NEAR, _NEAR + 1)[:, None]).clamp(0, len(grid) - 1)
        sizes = grid[tried]
        values = torch.stack(
            [r * r.log() * sum_of_weights - ((total + weight * r) * (mean + r).log()).sum(0) for r in sizes]
        )
        num_pseudo = len(mean) if self.grid is None else self.grid.num_clusters
        pseudo = num_pseudo * _volume(self.rows.mean, sizes)
        best = (values + self.volumes.gather(0, tried) + pseudo).argmax(0, keepdim=True)
        return sizes.gather(0, best)[0]


def _volume(x: Tensor, r: Tensor) -> Tensor:
    """log Γ(x + r) / (Γ(r) x!)."""
    return torch.lgamma(x + r) - torch.lgamma(r) - torch.lgamma(x + 1)
