"""The best fit of a table: mixtures of clusters of many sizes and ranks, weighed by rows to which none was fitted.

Every candidate is a `ScaledMixture`: Gaussian, mixture of Gaussians, factor analysis and mixture of factor analysers
are among them, with light and heavy tails. Each is fitted without a part of the rows and scored on that part (five
parts in turn; three for more than a thousand rows; a single tenth from three thousand on). `stacking_weights` gives the
weights of the candidates from these scores, and candidates with weight are fitted to all rows. A mixture of mixtures of
factor analysers is again such a mixture, so that the result is a single model with an exact posterior,
`models.model_of(stack.mixture)`.

Tables with gaps, classes or counts have candidates of their own (`mixed_candidates`), which are scored by all columns.
Classes follow numbers by rules with corners, which take many clusters. One fit from clusters of all columns, in which
numbers outweigh classes, finds some of them, and one from clusters of the classes and counts alone finds others: both
are candidates. Neither need be ahead for their mixture to be.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lowerbound.linear.count_factors import CountGrid
from lowerbound.linear.location_mixture import LocationMixture, fit_location_mixture
from lowerbound.linear.mixture import FactorAnalysers
from lowerbound.linear.moving_columns import columns_that_move
from lowerbound.linear.other_columns import MixedRows, OtherParameters
from lowerbound.linear.resolution import Resolution
from lowerbound.linear.scaled_mixture import ScaledMixture, Start, Target, fit_scaled_mixture
from lowerbound.linear.stacking import stacking_weights
from lowerbound.threads import one_thread

__all__ = ["Candidate", "Stack", "candidates", "fit_stack"]

_HEAVY = (1.0, 2.0, 5.0, 20.0)
_FEW_LEVELS = (1.0, 4.0)
_LIGHT = (1.0,)
_MOST_TO_CHOOSE, _MOST_TO_CHOOSE_MIXED, _MOST_TO_FIT = 10_000, 5_000, 40_000
_ALL = 1e9  # rows: the target itself
_LEAST_WEIGHT, _LEAST_SHARE = 0.02, 1e-6
_WIDE, _WIDE_WITH_GAPS, _STARTS = 40, 400, 3
_SIZES = ((1, 1), (1, 2), (1, 4), (1, 6), (1, 10), (3, 1), (10, 1), (3, 2), (8, 3), (2, 6), (5, 6), (12, 3))
_LARGE = ((1, 20), (1, 40), (2, 12), (4, 12), (2, 24))
"""Numbers of clusters and of factors; the second list is for more columns than `_WIDE`."""
_MANY_CLUSTERS = ((25, 4), (50, 4))
_MOVED_CLUSTERS, _MOST_COMPONENTS, _MOST_EFFECTS, _FULL = (1, 3, 6, 12), 7_000, 1_000, 12
"""Clusters whose numbers are moved by classes; these with cells and levels; numbers of A, for which several clusters
solve an equation at every step; columns up to which any covariance goes.
"""
_COUNT_SIZES = ((1, 1), (1, 2), (1, 3), (3, 1), (8, 1), (16, 1), (3, 2), (8, 2), (4, 3))
_ROWS_PER_CLUSTER, _ITERATIONS, _SPARE = 10, 60, 2
_MOST_PRODUCTS = 3e8
_SAID = 4
_FEW_ROWS = 2000  # up to here a second thread only waits


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """Arguments of `fit_scaled_mixture`: see there; whether counts of few values have tables (`tabled`), and by which
    columns of classes the real ones are moved (`moved_by`, arguments of `fit_location_mixture`).
    """

    num_clusters: int
    latent_dim: int | None
    levels: tuple[float, ...] = _LIGHT
    shrinkage: float = 0.0
    target: Target = "covariance"
    num_steps: int = 1
    starts: int = 1
    count_factors: int = 0
    tabled: bool = False
    start: Start = "all columns"
    moved_by: tuple[int, ...] = ()

    def can_begin(self, rows: MixedRows) -> bool:
        """Whether the columns of its start differ in enough rows, with some to spare for parts of them."""
        if self.start == "all columns":
            return True
        return rows.others is not None and len(rows.others.features().unique(dim=0)) >= _SPARE * self.num_clusters

    def seen(self, rows: MixedRows) -> MixedRows:
        """Rows as it takes them: with small counts as classes if it is tabled."""
        return MixedRows(rows.real, rows.others.tabled()) if self.tabled and rows.others is not None else rows

    def fit(
        self, rows: MixedRows, *, min_scale: float = 1e-3, resolution: Resolution | None = None, seed: int = 0
    ) -> ScaledMixture | LocationMixture:
        """Fit it to rows."""
        rows = self.seen(rows)
        if self.moved_by:
            return fit_location_mixture(
                rows,
                self.num_clusters,
                self.latent_dim,
                self.moved_by,
                levels=self.levels,
                shrinkage=self.shrinkage,
                min_scale=min_scale,
                resolution=resolution,
                max_iterations=_ITERATIONS,
                seed=seed,
            )
        return fit_scaled_mixture(
            rows.real,
            self.num_clusters,
            self.latent_dim,
            others=rows.others,
            count_factors=self.count_factors,
            starts=self.starts,
            levels=self.levels,
            shrinkage=self.shrinkage,
            target=self.target,
            num_steps=self.num_steps,
            min_scale=min_scale,
            resolution=resolution,
            max_iterations=_ITERATIONS,
            start=self.start,
            seed=seed,
        )

    def fit_alike(self, rows: MixedRows, **fitted_with: Any) -> ScaledMixture:
        """Fit it, and write it as what can be joined to other candidates: cells as clusters, small counts as tables."""
        found = self.fit(rows, **fitted_with)
        found = found.spelled_out() if isinstance(found, LocationMixture) else found
        if self.tabled or not rows.has_tables or rows.others is None or found.others is None:
            return found
        return replace(found, others=found.others.tabled(rows.others.tables))

    def __str__(self) -> str:
        kind = {None: "full covariance", 0: "independent columns"}.get(self.latent_dim, f"{self.latent_dim} factors")
        if self.count_factors:
            kind = f"counts of {self.count_factors} factor{'s' * (self.count_factors > 1)}"
        tails = ", heavy tails" if len(self.levels) > 1 else ""
        shrunk = ", shrunk" if self.shrinkage else ""
        if self.target.startswith("autoregress"):
            kind, shrunk = ("autoregression", "") if self.shrinkage == _ALL else (kind, ", near an autoregression")
        tables = ", tables of small counts" if self.tabled else ""
        begun = ", from clusters of classes and counts" if self.start == "other columns" else ""
        number = len(self.moved_by)
        moved = f", moved by {number} column{'s' * (number > 1)} of classes" if number else ""
        return f"{self.num_clusters} x {kind}{tails}{shrunk}{tables}{begun}{moved}"


@dataclass(frozen=True, kw_only=True)
class Stack:
    """A weighed mixture of candidates.

    Attributes:
        mixture: all of them as one mixture of factor analysers, of the real columns.
        others: the parameters of the other columns in each component of it, those of small counts as tables; None where
            there are none.
        cluster: the cluster of each component that comes from the heaviest candidate of several clusters, or of the
            heaviest where all have one; −1 for those of others.
        taken: the candidates with weight, the heaviest first.
        weights: theirs; they sum to 1.
        held_out: log p(x) of each row that was scored unseen, nats.
        single: the same for the single best candidate.
    """

    mixture: FactorAnalysers
    others: OtherParameters | None
    cluster: Int[Tensor, "component"]
    taken: tuple[Candidate, ...]
    weights: tuple[float, ...]
    held_out: Float[Tensor, "row"]
    single: Float[Tensor, "row"]

    @property
    def sentence(self) -> str:
        """What was chosen, for the user."""
        each = [f"{w:.0%} {candidate}" for w, candidate in zip(self.weights, self.taken, strict=True)]
        more = "" if len(each) <= _SAID else f"; {len(each) - _SAID} more"
        return (
            f"Weighed by rows that none of them saw: {'; '.join(each[:_SAID])}{more}. "
            f"{len(self.mixture.components)} components in all."
        )


def fit_stack(
    x: Float[Tensor, "batch data"] | MixedRows,
    *,
    min_scale: float = 1e-3,
    resolution: Resolution | None = None,
    num_steps: int = 1,
    seed: int = 0,
) -> Stack:
    """Choose and fit.

    Arguments:
        x: rows of standardised columns, in double precision, at least ten; NaN where an entry is missing.
        min_scale: the floor of a standard deviation, in the units of x.
        resolution: the steps of columns on a grid, below half of which no standard deviation falls; None for none.
        num_steps: of series, if the rows are such, all numbers of a step side by side.
        seed: of the parts and of every k-means.

    Raises:
        ValueError: fewer than ten rows, or infinite values.
    """
    rows = x if isinstance(x, MixedRows) else MixedRows(x)
    if len(rows) < _ROWS_PER_CLUSTER or bool(rows.real.isinf().any()):
        raise ValueError(f"fit_stack got {len(rows)} rows and needs at least 10, all of their entries finite.")
    rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))]
    chosen_on = rows[: _MOST_TO_CHOOSE if rows.is_whole else _MOST_TO_CHOOSE_MIXED]
    of_kind = candidates if rows.is_whole else mixed_candidates
    every = [each for each in of_kind(len(chosen_on), rows.real.shape[1]) if each.can_begin(chosen_on)]
    every += location_candidates(chosen_on)
    if num_steps > 1 and rows.is_whole:
        every += series_candidates(len(chosen_on), rows.real.shape[1], num_steps)
    if chosen_on.others is not None and chosen_on.is_counts:
        every += count_candidates(*chosen_on.others.counts.shape)
    if chosen_on.has_tables:
        every += [replace(candidate, tabled=True) for candidate in every if not candidate.count_factors]
    parts = list(_parts(len(chosen_on)))
    fitted_with: dict[str, Any] = {"min_scale": min_scale, "resolution": resolution, "seed": seed}
    with one_thread(len(rows) <= _FEW_ROWS):
        log_p = torch.stack(
            [torch.cat([_score(candidate, chosen_on, part, fitted_with) for part in parts]) for candidate in every], 1
        )
        weights = stacking_weights(log_p)
        order = [int(i) for i in weights.argsort(descending=True) if weights[i] >= _LEAST_WEIGHT]
        kept = (weights[order] / weights[order].sum()).tolist()
        fits = [every[i].fit_alike(rows[:_MOST_TO_FIT], **fitted_with) for i in order]
    clusters_of = next((n for n, i in enumerate(order) if every[i].num_clusters > 1), 0)
    mixture, others, cluster = joined(fits, kept, clusters_of)
    return Stack(
        mixture=mixture,
        others=others,
        cluster=cluster,
        taken=tuple(every[i] for i in order),
        weights=tuple(kept),
        held_out=(log_p[:, order] + log_p.new_tensor(kept).log()).logsumexp(1),
        single=log_p[:, int(log_p.mean(0).argmax())],
    )


def candidates(num_rows: int, num_columns: int) -> Iterator[Candidate]:
    """The candidates that make sense for this number of rows and columns."""
    n, d = num_rows, num_columns
    for k in (1, 3, 6, 12, 25):
        if _enough(n, k):
            yield Candidate(num_clusters=k, latent_dim=None, levels=_HEAVY, shrinkage=d / 2)
    for k in (3, 8):
        if _enough(n, k):
            yield Candidate(num_clusters=k, latent_dim=None, shrinkage=d / 2, target="variances")
    for k in (1, 2, 4, 8, 16, 30, 60):
        if n >= 3 * d * k:
            yield Candidate(num_clusters=k, latent_dim=None)
    if n >= 9 * d:
        yield Candidate(num_clusters=3, latent_dim=None, levels=_HEAVY)
    for k, rank in (*_SIZES, *(_LARGE if d > _WIDE else ())):
        if _enough(n, k) and rank < d - 1:
            yield Candidate(num_clusters=k, latent_dim=rank, levels=_LIGHT if k == 1 else _HEAVY, shrinkage=1.0)
    for k in (10, 30):
        if _enough(n, k):
            yield Candidate(num_clusters=k, latent_dim=0, shrinkage=1.0)


def series_candidates(num_rows: int, num_columns: int, num_steps: int) -> Iterator[Candidate]:
    """More of them for rows that are series: clusters as near to an autoregression as so many rows of it bring them."""
    d = float(num_columns)
    sizes: dict[Target, tuple[tuple[int, float], ...]] = {
        "autoregression": ((1, _ALL), (1, 10 * d)),
        "autoregressive covariance": ((1, 10 * d), (1, d), (3, d), (3, 10 * d), (8, d)),
    }
    for target, each in sizes.items():
        for k, rows in each:
            if _enough(num_rows, k):
                near = Candidate(num_clusters=k, latent_dim=None, shrinkage=rows, target=target, num_steps=num_steps)
                yield from (near, replace(near, levels=_HEAVY))


def mixed_candidates(num_rows: int, num_columns: int) -> Iterator[Candidate]:
    """The same for rows with gaps, classes or counts, of which so many columns are real."""
    n, d = num_rows, num_columns
    for k in (1, 2, 3, 4, 6, 9, 14, 22, 35) if d < 2 else (1, 2, 5, 12, 30):
        if _enough(n, k):
            yield Candidate(num_clusters=k, latent_dim=0, levels=_HEAVY if d else _LIGHT, shrinkage=1.0, starts=_STARTS)
    if d < 2:
        return
    for k in (1, 3, 6, 12, 25, *((50,) if n > 2000 else ())):
        if _enough(n, k) and d * k <= _WIDE_WITH_GAPS:
            yield Candidate(num_clusters=k, latent_dim=None, levels=_HEAVY, shrinkage=d / 2, starts=_STARTS)
    for k, rank in _SIZES:
        if _enough(n, k) and 0 < rank < d - 1 and 4 * k * (rank + 2) <= max(n, 60):
            yield Candidate(num_clusters=k, latent_dim=rank, levels=_HEAVY, shrinkage=1.0, starts=_STARTS)
    for k, rank in _MANY_CLUSTERS:
        if rank < d - 1 and 4 * k * (rank + 2) <= n and d * k <= _WIDE_WITH_GAPS:
            many = Candidate(num_clusters=k, latent_dim=rank, levels=_FEW_LEVELS, shrinkage=1.0)
            yield from (many, replace(many, start="other columns"))


def location_candidates(rows: MixedRows) -> Iterator[Candidate]:
    """More of them for rows whose real columns are moved by classes."""
    moved_by, d = columns_that_move(rows), rows.real.shape[1]
    if not moved_by or rows.others is None:
        return
    sizes = [rows.others.sizes[j] for j in moved_by]
    num_cells, num_effects = math.prod(sizes), sum(sizes) * d
    for k in _MOVED_CLUSTERS:
        if k > 1 and num_effects > _MOST_EFFECTS:
            return
        if _enough(len(rows), k) and d * k <= _WIDE_WITH_GAPS and k * num_cells * len(_FEW_LEVELS) <= _MOST_COMPONENTS:
            rank, rows_of_prior = (None, d / 2) if d <= _FULL else (4, 1.0)
            yield Candidate(
                num_clusters=k, latent_dim=rank, levels=_FEW_LEVELS, shrinkage=rows_of_prior, moved_by=moved_by
            )


def count_candidates(num_rows: int, num_columns: int) -> Iterator[Candidate]:
    """More of them for rows of counts alone: factors within clusters, as far as a pass of EM takes about a second."""
    for k, factors in _COUNT_SIZES:
        products = num_rows * num_columns * len(CountGrid(k, factors).matrix)
        if _enough(num_rows, k) and products <= _MOST_PRODUCTS:
            yield Candidate(num_clusters=k, latent_dim=0, count_factors=factors)


def _enough(num_rows: int, num_clusters: int) -> bool:
    return num_clusters == 1 or num_rows >= _ROWS_PER_CLUSTER * num_clusters


def _parts(num_rows: int) -> Iterator[Tensor]:
    """Rows to score, in turn."""
    rows = torch.arange(num_rows)
    parts, used = (5, 5) if num_rows <= 1000 else (3, 3) if num_rows < 3000 else (10, 1)
    yield from (rows[i::parts] for i in range(used))


def _score(candidate: Candidate, rows: MixedRows, part: Tensor, fitted_with: Mapping[str, Any]) -> Tensor:
    """log p(x) of a part, fitted to the others."""
    rest = torch.ones(len(rows), dtype=torch.bool)
    rest[part] = False
    scored = candidate.seen(rows[part])
    return candidate.fit(rows[rest], **fitted_with).log_evidence(scored.real, scored.others)


def joined(
    fits: Sequence[ScaledMixture], weights: Sequence[float], clusters_of: int = 0
) -> tuple[FactorAnalysers, OtherParameters | None, Int[Tensor, "component"]]:
    """One mixture of all components, without those of negligible weight.

    Arguments:
        fits: mixtures.
        weights: theirs, which sum to 1.
        clusters_of: the place of the one whose clusters are named.

    Returns:
        The mixture of the real columns, the parameters of the other columns in each of its components, and the cluster
        of each component in the fit that names them, −1 in others. Levels of a cluster are components of one cluster.
    """
    each = [fit.factor_analysers() for fit in fits]
    share = torch.cat([weight * mixture.weights for weight, mixture in zip(weights, each, strict=True)])
    kept = share >= _LEAST_SHARE
    components = [component for mixture in each for component in mixture.components]
    mixture = FactorAnalysers(
        share[kept] / share[kept].sum(), tuple(c for c, keep in zip(components, kept.tolist(), strict=True) if keep)
    )
    of_level = [torch.arange(len(fit.loc)).repeat_interleave(len(fit.levels)) for fit in fits]
    own = [k // fits[i].points if i == clusters_of else torch.full_like(k, -1) for i, k in enumerate(of_level)]
    cluster = torch.cat(own)[kept]
    found = [(fit.others, k) for fit, k in zip(fits, of_level, strict=True) if fit.others is not None]
    if not found:
        return mixture, None, cluster
    columns = [[p.log_p[k], p.mean[k], p.inverse_dispersion[k]] for p, k in found]
    return mixture, OtherParameters(*(torch.cat(column)[kept] for column in zip(*columns, strict=True))), cluster
