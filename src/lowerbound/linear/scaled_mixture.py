"""Mixtures of factor analysers with shrunken covariances and heavy tails, with gaps, and beside columns of other kinds.

    p(x, y) = Σ_k p(y | k) Σ_s π_ks N(x; b_k, τ_s Σ_k),      Σ_k = W_k W_kᵀ + diag ψ_k

Each cluster k has one centre and one covariance, at several fixed levels τ_1 < τ_2 < … of its size: a scale mixture
of Gaussians, of which Student's t is the continuous case (Andrews & Mallows 1974; McLachlan, Bean & Peel 2002). Every
pair (k, s) is a Gaussian, so that the whole is a mixture of factor analysers (Ghahramani & Hinton 1996, CRG-TR-96-1)
with tied parameters. y are classes and counts, if there are any (`other_columns`). EM, with r_nks = p(k, s | x_n, y_n),
u_nk = Σ_s r_nks / τ_s, N_k = Σ_ns r_nks, and x̂_nk and C_nk the mean and the covariance of row n given its observed
entries in cluster k (`gaps`; x̂ = x and C = 0 where nothing is missing):

    b_k = (Σ_n u_nk x̂_nk + κ₀ m) / (Σ_n u_nk + κ₀)
    S_k = (Σ_n u_nk (x̂_nk − b_k)(x̂_nk − b_k)ᵀ + Σ_ns r_nks C_nk + κ K^(−2/D) T) / (N_k + κ)

The second is the mode under an inverse Wishart prior with as much weight as κ rows, at a covariance T that is shrunk to
the volume of one of K clusters (Fraley & Raftery 2007); κ = 0 is maximum likelihood. κ₀ is κ where clusters are
shrunk to an autoregression whose mean is m, else 0. Given level s the covariance of missing entries is τ_s C, so that
its level cancels. Σ_k is near S_k as `scaled_covariance` says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound.exact import LinearGaussian
from lowerbound.k_means import k_means
from lowerbound.linear.autoregression import autoregression
from lowerbound.linear.count_factors import CountGrid
from lowerbound.linear.gaps import Block, Filled, add_covariances, blocks_of, fill, filled_at_means
from lowerbound.linear.mixture import FactorAnalysers
from lowerbound.linear.other_columns import OtherColumns, OtherFit, OtherParameters
from lowerbound.linear.resolution import Resolution
from lowerbound.linear.scaled_covariance import structured
from lowerbound.randomness import forked

__all__ = ["Gaussians", "ScaledFit", "ScaledMixture", "Start", "Sums", "Target", "fit_scaled_mixture", "shrunk_to"]

Target: TypeAlias = Literal["covariance", "variances", "autoregression", "autoregressive covariance"]
Start: TypeAlias = Literal["all columns", "other columns"]
_BLOCK, _LEAST, _TRIAL = 2**20, 1e-3, 5


@dataclass(frozen=True, kw_only=True)
class ScaledMixture:
    """Clusters with one centre and one covariance each, at several levels of its size.

    Attributes:
        log_weights: log π.
        loc: b.
        weight: W, in the order of the components of a column of z.
        variance: ψ.
        levels: τ.
        others: parameters of the columns of classes and counts; None where there are none.
        iterations: of EM that it took.
        points: of the grid of factors of counts, each of which is a cluster here; 1 where there are no such factors.
    """

    log_weights: Float[Tensor, "cluster level"]
    loc: Float[Tensor, "cluster data"]
    weight: Float[Tensor, "cluster data latent"]
    variance: Float[Tensor, "cluster data"]
    levels: Float[Tensor, "level"]
    others: OtherParameters | None = None
    iterations: int = 0
    points: int = 1

    @property
    def covariance(self) -> Float[Tensor, "cluster data data"]:
        """Σ."""
        return self.weight @ self.weight.mT + torch.diag_embed(self.variance)

    def log_evidence(
        self, x: Float[Tensor, "batch data"], others: OtherColumns | None = None
    ) -> Float[Tensor, "batch"]:
        """log p of the observed entries of rows (NaN where one is missing), nats."""
        gaussians, log_p = Gaussians(self), x.new_empty(len(x))
        log_others = _log_others(self, x, others)
        for block in blocks_of(x, len(self.loc), _BLOCK):
            log_joint, _ = gaussians.log_joint(block, log_others)
            log_p[block.index] = log_joint.flatten(1).logsumexp(1)
        return log_p

    def factor_analysers(self) -> FactorAnalysers:
        """The same density of x, with a linear-Gaussian model for each cluster and level."""
        components = tuple(
            LinearGaussian(tau.sqrt() * weight, loc, (tau * variance).sqrt())
            for loc, weight, variance in zip(self.loc, self.weight, self.variance, strict=True)
            for tau in self.levels
        )
        return FactorAnalysers(self.log_weights.flatten().exp(), components)


def fit_scaled_mixture(
    x: Float[Tensor, "batch data"],
    num_clusters: int,
    latent_dim: int | None,
    *,
    others: OtherColumns | None = None,
    count_factors: int = 0,
    levels: Sequence[float] = (1.0,),
    shrinkage: float = 0.0,
    target: Target = "covariance",
    num_steps: int = 1,
    min_scale: float = 1e-3,
    resolution: Resolution | None = None,
    max_iterations: int = 100,
    tolerance: float = 1e-3,
    start: Start = "all columns",
    starts: int = 1,
    seed: int = 0,
) -> ScaledMixture:
    """Fit by EM from the clusters of k-means.

    Arguments:
        x: rows, best in double precision; NaN where an entry is missing. It may have no column if there are others.
        num_clusters: K.
        latent_dim: rank of W in each cluster: 0 for independent columns, None for any covariance.
        others: columns of classes and counts of the same rows.
        count_factors: factors of the counts within clusters, for rows of counts alone (`count_factors`).
        levels: τ, at least 1; (1.0,) for Gaussian clusters.
        shrinkage: κ, the weight of T in rows.
        target: T: the covariance of all rows, its diagonal, or, for rows that are series without gaps, that of an
            autoregression with its mean as m (`linear.autoregression`), or of one of deviations from the mean of each
            column, alone.
        num_steps: of the series that rows are, for the last two of these.
        min_scale: the floor of a standard deviation, in the units of x.
        resolution: the steps of columns on a grid, below half of which no standard deviation falls; None for none.
        max_iterations: after which to stop.
        tolerance: stop when the log-likelihood rises by less, nats per row.
        start: of which columns the clusters of k-means are; of all where there are no others.
        starts: runs of k-means; of several that with the greatest likelihood after five iterations goes on.
        seed: of k-means.

    Raises:
        ValueError: fewer rows than clusters, a rank that is not below the number of columns, a level below 1, or
            factors of counts beside other columns.

    >>> x = torch.randn(200, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    >>> fit_scaled_mixture(x, 2, 1, levels=(1.0, 4.0)).log_evidence(x).shape
    torch.Size([200])
    """
    if latent_dim is not None and not 0 <= latent_dim < max(1, x.shape[1]):
        raise ValueError(
            f"latent_dim is {latent_dim} and must be between 0 and {x.shape[1] - 1} for {x.shape[1]} columns, or None."
        )
    if min(levels) < 1:
        raise ValueError(f"levels are {tuple(levels)} and must be at least 1, so that min_scale is a floor for all.")
    if count_factors and (others is None or others.sizes or x.shape[1]):
        raise ValueError(f"count_factors is {count_factors} and rows hold other columns than counts; leave it out.")
    grid = CountGrid(num_clusters, count_factors) if count_factors else None
    towards = shrunk_to(x, target, num_steps)
    of_mean = shrinkage if target == "autoregression" else 0.0
    fit = ScaledFit(
        x, others, grid, num_clusters, latent_dim, levels, shrinkage, of_mean, towards, min_scale, resolution
    )
    parts = [] if others is None else [others.features()]
    if start == "all columns" or others is None:
        parts = [filled_at_means(x), *parts]
    points = torch.cat(parts, 1)
    with forked(torch.device("cpu"), seed):
        found = [k_means(points, num_clusters)[1] for _ in range(starts if num_clusters > 1 else 1)]
        if grid is not None:
            found = [grid.component_of(points, cluster) for cluster in found]
    begun = [fit.begin(cluster, num_clusters if grid is None else len(grid.matrix)) for cluster in found]
    if len(begun) > 1:
        begun = [max((fit.climb(each, _TRIAL, tolerance) for each in begun), key=lambda each: fit.value(each))]
    return fit.climb(begun[0], max_iterations, tolerance)


class Gaussians:
    """N(b_k, τ_s Σ_k) for all k and s."""

    def __init__(self, mixture: ScaledMixture):
        self.loc, self.levels, covariance = mixture.loc, mixture.levels, mixture.covariance
        factor = torch.linalg.cholesky(covariance)
        eye = torch.eye(self.loc.shape[1], dtype=self.loc.dtype, device=self.loc.device)
        self.whiten = torch.linalg.solve_triangular(factor, eye.expand_as(factor), upper=False)
        self.shift = (self.whiten @ self.loc[:, :, None])[:, :, 0]
        log_det = 2 * factor.diagonal(dim1=1, dim2=2).log().sum(-1)[:, None]
        size = log_det + self.loc.shape[1] * (2 * math.pi * self.levels).log()
        self.constant = mixture.log_weights - 0.5 * size

    def log_joint(
        self, block: Block, log_others: Float[Tensor, "row cluster"] | None
    ) -> tuple[Float[Tensor, "batch cluster level"], Filled | None]:
        """log p(k, s, x_o, y) of the rows of a block, nats; and its gaps filled, if it has any."""
        if block.gaps is None:
            distance, filled = (block.x @ self.whiten.mT - self.shift[:, None]).square().sum(-1).mT, None
            log_p = self.constant - 0.5 * distance[:, :, None] / self.levels
        else:
            filled = fill(block, self.loc, self.whiten.mT @ self.whiten)
            distance = (filled.deviation @ self.whiten.mT).square().sum(-1).mT
            left_out = block.gaps.number[:, None] * (2 * math.pi * self.levels).log()
            left_out = left_out[:, None] - filled.log_det[:, :, None]
            log_p = self.constant - 0.5 * (distance[:, :, None] / self.levels - left_out)
        return (log_p if log_others is None else log_p + log_others[block.index][:, :, None]), filled


def _log_others(mixture: ScaledMixture, x: Tensor, others: OtherColumns | None) -> Tensor | None:
    """log p(y | k) of all rows; None where there are no columns of other kinds."""
    if mixture.others is None or others is None:
        if (mixture.others is None) != (others is None):
            raise ValueError("A mixture with columns of other kinds needs those of the rows, and one without has none.")
        return None
    return mixture.others.log_prob(others)


class ScaledFit:
    """EM of one mixture."""

    def __init__(
        self,
        x: Tensor,
        others: OtherColumns | None,
        grid: CountGrid | None,
        num_clusters: int,
        latent_dim: int | None,
        levels: Sequence[float],
        shrinkage: float,
        center_weight: float,
        towards: tuple[Tensor, Tensor],
        min_scale: float,
        resolution: Resolution | None,
    ):
        self.x, self.latent_dim, self.shrinkage = x, latent_dim, shrinkage
        self.min_scale, self.resolution = min_scale, resolution
        self.levels = torch.tensor(levels, dtype=x.dtype, device=x.device)
        self.others, self.of_others, self.grid = others, None if others is None else OtherFit(others, grid), grid
        self.blocks = blocks_of(x, num_clusters, _BLOCK)
        self.center, covariance = towards
        self.center_weight = center_weight
        self.prior = covariance * num_clusters ** (-2 / max(1, x.shape[1]))

    def begin(self, cluster: Tensor, num_clusters: int) -> ScaledMixture:
        """From a cluster for each row."""
        return self.maximise(self.sums_of(cluster, num_clusters, filled_at_means(self.x)), None)

    def sums_of(self, cluster: Tensor, num_clusters: int, x: Tensor) -> Sums:
        """What the M step needs of complete rows x, each of which is of one cluster."""
        member = torch.nn.functional.one_hot(cluster, num_clusters).to(x)
        counts = member.sum(0)[:, None].expand(-1, len(self.levels)) / len(self.levels)
        second = torch.stack([(x * m[:, None]).mT @ x for m in member.mT])
        return Sums(counts, member.sum(0), member.mT @ x, second, member)

    def climb(self, mixture: ScaledMixture, max_iterations: int, tolerance: float) -> ScaledMixture:
        """To a mode, or some way towards it."""
        previous = -math.inf
        for _ in range(max_iterations):
            value, sums = self._expect(mixture)
            if value - previous <= tolerance:
                break
            previous = value
            mixture = replace(self.maximise(sums, mixture), iterations=mixture.iterations + 1)
        return mixture

    def value(self, mixture: ScaledMixture) -> float:
        """The mean of log p(x, y)."""
        return float(mixture.log_evidence(self.x, self.others).mean())

    def _expect(self, mixture: ScaledMixture) -> tuple[float, Sums]:
        """The mean of log p(x, y), and what the M step needs."""
        gaussians, log_others = Gaussians(mixture), _log_others(mixture, self.x, self.others)
        value, sums = 0.0, Sums.zero(mixture, len(self.x) if self.others is not None else 0)
        for block in self.blocks:
            log_joint, filled = gaussians.log_joint(block, log_others)
            log_p = log_joint.flatten(1).logsumexp(1)
            value += float(log_p.sum())
            sums.add(block, filled, (log_joint - log_p[:, None, None]).exp(), mixture)
        return value / len(self.x), sums

    def maximise(self, sums: Sums, old: ScaledMixture | None) -> ScaledMixture:
        """The M step."""
        tiny = torch.finfo(self.x.dtype).tiny
        counts, total = sums.counts, sums.total
        loc = (sums.first + self.center_weight * self.center) / (total + self.center_weight).clamp_min(tiny)[:, None]
        cross = sums.first[:, :, None] * loc[:, None, :]
        about_loc = sums.second - cross - cross.mT + total[:, None, None] * loc[:, :, None] * loc[:, None, :]
        scatter = about_loc + self.shrinkage * self.prior
        covariance = scatter / (counts.sum(1) + self.shrinkage).clamp_min(_LEAST)[:, None, None]
        former = None if old is None else (old.weight, old.variance)
        weight, variance = structured(covariance, self.latent_dim, self._floor(loc), former)
        share = (counts + _LEAST) / (counts + _LEAST).sum()
        former_others = None if old is None else old.others
        return ScaledMixture(
            log_weights=share.log() if self.grid is None else self.grid.log_weights_of(share[:, 0])[:, None],
            loc=loc,
            weight=weight,
            variance=variance,
            levels=self.levels,
            others=None if self.of_others is None else self.of_others.maximise(sums.responsibilities, former_others),
            points=1 if self.grid is None else len(self.grid.points),
        )

    def _floor(self, loc: Tensor) -> Tensor:
        """The floor of variances of clusters at loc (K, D)."""
        if self.resolution is None:
            return torch.full_like(loc, self.min_scale**2)
        return self.resolution.floor(loc, self.min_scale).square()


@dataclass(frozen=True)
class Sums:
    """N_ks, Σ u, Σ u x̂ and Σ u x̂ x̂ᵀ + Σ r C over rows, and Σ_s r of each row where there are columns of other kinds."""

    counts: Tensor
    total: Tensor
    first: Tensor
    second: Tensor
    responsibilities: Tensor

    @classmethod
    def zero(cls, mixture: ScaledMixture, num_rows: int) -> Sums:
        """Of no row yet."""
        clusters, columns = mixture.loc.shape
        zeros = mixture.loc.new_zeros
        return cls(
            torch.zeros_like(mixture.log_weights),
            zeros(clusters),
            zeros(clusters, columns),
            zeros(clusters, columns, columns),
            zeros(num_rows, clusters),
        )

    def add(self, block: Block, filled: Filled | None, r: Tensor, mixture: ScaledMixture) -> None:
        """Add the rows of a block with responsibilities r (row, cluster, level)."""
        u = (r / mixture.levels).sum(-1).mT
        self.counts.add_(r.sum(0))
        self.total.add_(u.sum(1))
        if filled is None:
            self.first.add_(u @ block.x)
            self.second.add_((u[:, None] * block.x.mT) @ block.x)
        else:
            x = filled.deviation + mixture.loc[:, None]
            self.first.add_((u[:, None] @ x)[:, 0])
            self.second.add_((u[:, None] * x.mT) @ x)
            add_covariances(self.second, block, filled, r.sum(-1))
        if len(self.responsibilities):
            self.responsibilities[block.index] = r.sum(-1)


def shrunk_to(x: Tensor, target: Target, num_steps: int) -> tuple[Tensor, Tensor]:
    """m and T, before T is shrunk to the volume of a cluster."""
    if target == "autoregression":
        return autoregression(x.unflatten(1, (num_steps, -1)))
    if target == "autoregressive covariance":
        return autoregression((x - x.mean(0)).unflatten(1, (num_steps, -1)))
    covariance = _covariance(x)
    covariance = covariance if target == "covariance" else torch.diag_embed(covariance.diagonal())
    return x.new_zeros(x.shape[1]), covariance


def _covariance(x: Tensor) -> Tensor:
    """Of rows with gaps at the means of their columns, brought back to the variances of the observed entries."""
    if x.shape[1] == 0:
        return x.new_zeros(0, 0)
    filled = filled_at_means(x)
    covariance = torch.cov(filled.mT, correction=0).reshape(x.shape[1], x.shape[1])
    if filled is x:
        return covariance
    share = (~x.isnan()).to(x).mean(0).clamp_min(1 / len(x)).rsqrt()
    return covariance * share * share[:, None]
