"""Mixtures whose real columns are moved by classes: the general location model within clusters.

    p(x, y, u) = Σ_k π_k p(y | k) p(u | k) Σ_s π_s|k N(x; b_k + Aᵀ d(y), τ_s Σ_k)

y are the columns of classes that move the real ones and d(y) their indicators less their frequencies, side by side; u
are all other classes and counts. Given its cluster a row has one centre for each cell of the table of y, and these are
sums of one vector for each class: the price falls by so much from one color to the next, whatever the cut.
One cluster is the general location model (Olkin & Tate 1961; with gaps Little & Schluchter 1985) with main effects;
mixtures of it are in Lawrence & Krzanowski (1996) and Hunt & Jorgensen (1999). Clusters alone, in which y and x are
independent, need as many of them as there are cells to say the same.

EM runs over pairs of a row n and a cell q that its known classes allow. With ρ_nqk = p(q, k | row), x̂ the row with its
gaps at their means, and u_nqk = Σ_s r_nqks / τ_s, the M step has two parts, each of which raises the likelihood (ECM,
Meng & Rubin 1993): b_k, Σ_k and all else as `scaled_mixture` says, for rows x − Aᵀ d(y); then A, by A + Δ with

    Σ_k H_k Δ Q_k + λ (A + Δ) Q̄ = Σ_k G_k Q_k,     H_k = Σ u d dᵀ,   G_k = Σ u d (x̂ − Aᵀ d − b_k)ᵀ,   Q_k = Σ_k⁻¹

where the second term on the left is a prior of λ rows at A = 0, and Q̄ is the mean of Q_k.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound.k_means import k_means
from lowerbound.linear.class_cells import BLOCK, ClassCells, Pairs, expected_design
from lowerbound.linear.gaps import Block, Filled, blocks_of, filled_at_means
from lowerbound.linear.other_columns import MixedRows, OtherColumns, OtherParameters
from lowerbound.linear.resolution import Resolution
from lowerbound.linear.scaled_mixture import Gaussians, ScaledFit, ScaledMixture, Sums, shrunk_to
from lowerbound.randomness import forked

__all__ = ["LocationMixture", "fit_location_mixture"]

_Joint: TypeAlias = tuple[Block, Tensor, Filled | None]
_PRIOR_ROWS = 1.0  # λ
_UNSEEN = 1e-6  # the probability of each class but its own in a component of a cell


@dataclass(frozen=True, kw_only=True)
class LocationMixture:
    """Clusters whose real columns are moved by classes.

    Attributes:
        clusters: of rows x − Aᵀ d(y); its `others` hold p(y | k) and p(u | k).
        effects: A.
        cells: of y.
    """

    clusters: ScaledMixture
    effects: Float[Tensor, "effect data"]
    cells: ClassCells

    @property
    def shift(self) -> Float[Tensor, "cell data"]:
        """Aᵀ d of every cell."""
        return self.cells.design @ self.effects

    def log_evidence(self, x: Float[Tensor, "batch data"], others: OtherColumns | None) -> Float[Tensor, "batch"]:
        """log p of the observed entries of rows (NaN where one is missing), nats."""
        pairs = Pairs.of(MixedRows(x, others), self.cells, len(self.clusters.loc))
        parts = [log_p for _, _, log_p in _log_joints(self, pairs)]
        return _logsumexp_of_rows(torch.cat(parts), pairs.row, len(x))

    def spelled_out(self) -> ScaledMixture:
        """The same density as a mixture with a cluster for each cluster and cell, the cells of a cluster side by side.

        A class that is not that of its cell has a probability of 1e-6 there, so that no cell has a density of 0.
        """
        q = len(self.shift)
        of_cell = self.cells.indicators
        old = self.clusters.others
        assert old is not None
        share, log_p = old.log_p @ of_cell.mT, old.log_p[:, None].repeat(1, q, 1)
        for place in self.cells.places:
            own = of_cell[:, place]
            log_p[:, :, place] = (own * (1 - len(place) * _UNSEEN) + _UNSEEN).log()
        mixture = self.clusters
        return ScaledMixture(
            log_weights=(mixture.log_weights[:, None] + share[:, :, None]).flatten(0, 1),
            loc=(mixture.loc[:, None] + self.shift).flatten(0, 1),
            weight=mixture.weight.repeat_interleave(q, 0),
            variance=mixture.variance.repeat_interleave(q, 0),
            levels=mixture.levels,
            others=OtherParameters(
                log_p.flatten(0, 1), old.mean.repeat_interleave(q, 0), old.inverse_dispersion.repeat_interleave(q, 0)
            ),
            iterations=mixture.iterations,
            points=q,
        )


def fit_location_mixture(
    rows: MixedRows,
    num_clusters: int,
    latent_dim: int | None,
    columns: Sequence[int],
    *,
    levels: Sequence[float] = (1.0,),
    shrinkage: float = 0.0,
    min_scale: float = 1e-3,
    resolution: Resolution | None = None,
    max_iterations: int = 100,
    tolerance: float = 1e-3,
    seed: int = 0,
) -> LocationMixture:
    """Fit by EM from clusters of k-means, of all columns.

    Arguments:
        rows: real columns, and others with classes among them; NaN where an entry is missing.
        num_clusters: K.
        latent_dim: rank of W in each cluster: 0 for independent columns, None for any covariance.
        columns: y, among the columns of classes.
        levels: τ, at least 1.
        shrinkage: κ, the weight of the covariance of all rows, less the effects, in rows.
        min_scale: the floor of a standard deviation, in the units of x.
        resolution: the steps of columns on a grid, below half of which no standard deviation falls; None for none. Of
            columns that are logarithms the step is that at b_k, for all cells of a cluster.
        max_iterations: after which to stop.
        tolerance: stop when the log-likelihood rises by less, nats per row.
        seed: of k-means.

    Raises:
        ValueError: no real column, or columns that are no columns of classes.
    """
    others = rows.others
    if others is None or not rows.real.shape[1] or not set(columns) <= set(range(len(others.sizes))) or not columns:
        known = 0 if others is None else len(others.sizes)
        raise ValueError(
            f"columns is {tuple(columns)}; a location mixture needs real columns, of which there are "
            f"{rows.real.shape[1]}, and some of the {known} columns of classes."
        )
    cells = ClassCells(tuple(columns), others.sizes, others.frequencies)
    x = filled_at_means(rows.real)
    with forked(torch.device("cpu"), seed):
        cluster = k_means(torch.cat([x, others.features()], 1), num_clusters)[1]
    effects = _first_effects(x, cluster, others, cells)
    left = x - expected_design(others, cells) @ effects
    fit = _LocationFit(rows, left, cells, num_clusters, latent_dim, levels, shrinkage, min_scale, resolution)
    return fit.climb(fit.first(left, cluster, effects), max_iterations, tolerance)


def _first_effects(x: Tensor, cluster: Tensor, others: OtherColumns, cells: ClassCells) -> Float[Tensor, "effect data"]:
    """A of a regression of complete rows on their clusters and classes."""
    d = expected_design(others, cells)
    member = torch.nn.functional.one_hot(cluster).to(x)
    mean = member / member.sum(0).clamp_min(1.0)
    d_in, x_in = d - member @ (mean.mT @ d), x - member @ (mean.mT @ x)
    prior = _PRIOR_ROWS * torch.eye(d.shape[1], dtype=d.dtype, device=d.device)
    return torch.linalg.solve(d_in.mT @ d_in + prior, d_in.mT @ x_in)


class _LocationFit:
    """EM of one mixture."""

    def __init__(
        self,
        rows: MixedRows,
        left: Tensor,
        cells: ClassCells,
        num_clusters: int,
        latent_dim: int | None,
        levels: Sequence[float],
        shrinkage: float,
        min_scale: float,
        resolution: Resolution | None,
    ):
        self.num_rows, self.cells = len(rows), cells
        self.pairs = Pairs.of(rows, cells, num_clusters)
        towards = shrunk_to(left, "covariance", 1)
        self.fit = ScaledFit(
            rows.real,
            rows.others,
            None,
            num_clusters,
            latent_dim,
            levels,
            shrinkage,
            0.0,
            towards,
            min_scale,
            resolution,
        )

    def first(self, left: Tensor, cluster: Tensor, effects: Tensor) -> LocationMixture:
        """From clusters of complete rows from which the effects are taken."""
        clusters = self.fit.maximise(self.fit.sums_of(cluster, int(cluster.max()) + 1, left), None)
        return LocationMixture(clusters=clusters, effects=effects, cells=self.cells)

    def climb(self, mixture: LocationMixture, max_iterations: int, tolerance: float) -> LocationMixture:
        """To a mode, or some way towards it."""
        previous = -math.inf
        for _ in range(max_iterations):
            value, mixture_then = self._step(mixture)
            if value - previous <= tolerance:
                break
            previous, mixture = value, mixture_then
        return mixture

    def _step(self, old: LocationMixture) -> tuple[float, LocationMixture]:
        """The mean of log p of the rows, and the mixture after a step of EM."""
        sums, moments, of_cell, value = self._expect(old)
        clusters = self.fit.maximise(sums, old.clusters)
        assert clusters.others is not None
        log_p = clusters.others.log_p.clone()
        totals = of_cell.mT @ self.cells.indicators + self.cells.frequencies
        for place in self.cells.places:
            log_p[:, place] = (totals[:, place] / totals[:, place].sum(1, keepdim=True)).log()
        others, iterations = replace(clusters.others, log_p=log_p), old.clusters.iterations + 1
        clusters = replace(clusters, others=others, iterations=iterations)
        weight, deviation = moments
        deviation = deviation + weight[:, :, None] * (old.clusters.loc - clusters.loc)
        effects = self._effects(old.effects, clusters, weight, deviation)
        return value, LocationMixture(clusters=clusters, effects=effects, cells=self.cells)

    def _expect(self, mixture: LocationMixture) -> tuple[Sums, tuple[Tensor, Tensor], Tensor, float]:
        """What the M step needs of clusters; of cells Σ u with Σ u (x̂ − Aᵀd − b), and Σ ρ; and the mean of log p."""
        clusters, pairs, zeros = mixture.clusters, self.pairs, mixture.effects.new_zeros
        shape, num_cells = clusters.loc.shape, len(mixture.shift)
        sums = Sums.zero(clusters, self.num_rows)
        weight, deviation, of_cell = zeros(num_cells, shape[0]), zeros(num_cells, *shape), zeros(num_cells, shape[0])
        value = 0.0
        for taken, joints, log_p in _log_joints(mixture, pairs):
            row, cell = pairs.row[taken], pairs.cell[taken]
            of_row = _logsumexp_of_rows(log_p, row - row[0], int(row[-1] - row[0]) + 1)
            value += float(of_row.sum())
            for block, log_joint, filled in joints:
                at = block.index
                r = (log_joint - of_row[row[at] - row[0]][:, None, None]).exp()
                part = Sums.zero(clusters, len(r))
                part.add(replace(block, index=slice(None)), filled, r, clusters)
                for mine, more in ((sums.counts, part.counts), (sums.total, part.total)):
                    mine.add_(more)
                sums.first.add_(part.first)
                sums.second.add_(part.second)
                sums.responsibilities.index_add_(0, row[at], part.responsibilities)
                u = (r / clusters.levels).sum(-1)
                left = (block.x[:, None] - clusters.loc) if filled is None else filled.deviation.transpose(0, 1)
                weight.index_add_(0, cell[at], u)
                deviation.index_add_(0, cell[at], u[:, :, None] * left)
                of_cell.index_add_(0, cell[at], part.responsibilities)
        return sums, (weight, deviation), of_cell, value / self.num_rows

    def _effects(self, old: Tensor, clusters: ScaledMixture, weight: Tensor, deviation: Tensor) -> Tensor:
        """A, given all else: Δ is the solution of the equation above, in which the Q of one cluster alone cancels."""
        design, precision = self.cells.design, torch.linalg.inv(clusters.covariance)
        prior = _PRIOR_ROWS * torch.eye(len(old), dtype=old.dtype, device=old.device)
        second = torch.einsum("qk,qc,qe->kce", weight, design, design)
        pull = torch.einsum("qc,qkd->kcd", design, deviation)
        if len(precision) == 1:
            return old + torch.linalg.solve(second[0] + prior, pull[0] - _PRIOR_ROWS * old)
        share = clusters.log_weights.exp().sum(1)
        mean = torch.einsum("k,kde->de", share, precision)
        size = old.numel()
        left = torch.einsum("kce,kdf->cdef", second, precision).reshape(size, size)
        left = left + torch.einsum("ce,df->cdef", prior, mean).reshape(size, size)
        right = (pull @ precision).sum(0) - _PRIOR_ROWS * old @ mean
        return old + torch.linalg.solve(left, right.flatten()).view_as(old)


def _log_joints(mixture: LocationMixture, pairs: Pairs) -> Iterator[tuple[slice, list[_Joint], Tensor]]:
    """Of some pairs at a time: which; log p(k, s, x_o − Aᵀd, y, u) in blocks of `gaps`; and the log of its sum."""
    gaussians, shift = Gaussians(mixture.clusters), mixture.shift
    assert mixture.clusters.others is not None
    for taken in pairs.blocks:
        log_others = mixture.clusters.others.log_prob(
            replace(pairs.others, classes=pairs.others.classes[taken], counts=pairs.others.counts[taken])
        )
        x = pairs.x[taken] - shift[pairs.cell[taken]]
        found, log_p = [], x.new_empty(len(x))
        for block in blocks_of(x, len(mixture.clusters.loc), BLOCK):
            log_joint, filled = gaussians.log_joint(block, log_others)
            log_p[block.index] = log_joint.flatten(1).logsumexp(1)
            found.append((block, log_joint, filled))
        yield taken, found, log_p


def _logsumexp_of_rows(log_p: Tensor, row: Tensor, num_rows: int) -> Tensor:
    """log Σ exp over the pairs of each row."""
    most = log_p.new_full((num_rows,), -math.inf).scatter_reduce_(0, row, log_p, "amax")
    return most + log_p.new_zeros(num_rows).index_add_(0, row, (log_p - most[row]).exp()).log()
