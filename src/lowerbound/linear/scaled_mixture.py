"""Mixtures of factor analysers with shrunken covariances and heavy tails, fast for complete rows.

    p(x) = Σ_k Σ_s π_ks N(x; b_k, τ_s Σ_k),      Σ_k = W_k W_kᵀ + diag ψ_k

Each cluster k has one centre and one covariance, at several fixed levels τ_1 < τ_2 < … of its size: a scale mixture
of Gaussians, of which Student's t is the continuous case (Andrews & Mallows 1974; McLachlan, Bean & Peel 2002). Every
pair (k, s) is a Gaussian, so that the whole is a mixture of factor analysers (Ghahramani & Hinton 1996, CRG-TR-96-1)
with tied parameters. EM, with r_nks = p(k, s | x_n), u_nk = Σ_s r_nks / τ_s and N_k = Σ_ns r_nks:

    b_k = Σ_n u_nk x_n / Σ_n u_nk
    S_k = (Σ_n u_nk (x_n − b_k)(x_n − b_k)ᵀ + κ K^(−2/D) T) / (N_k + κ)

The second is the mode under an inverse Wishart prior with as much weight as κ rows, at a covariance T that is shrunk to
the volume of one of K clusters (Fraley & Raftery 2007); κ = 0 is maximum likelihood. Σ_k is S_k itself at full rank and
its diagonal at rank 0; otherwise some steps of EM for factor analysis of S_k.
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
from lowerbound.linear.mixture import FactorAnalysers
from lowerbound.priors.k_means import k_means
from lowerbound.randomness import forked

__all__ = ["ScaledMixture", "Target", "fit_scaled_mixture"]

Target: TypeAlias = Literal["covariance", "variances"]
_BLOCK, _INNER, _LEAST = 2**20, 3, 1e-3


@dataclass(frozen=True, kw_only=True)
class ScaledMixture:
    """Clusters with one centre and one covariance each, at several levels of its size.

    Attributes:
        log_weights: log π.
        loc: b.
        weight: W, in the order of the components of a column of z.
        variance: ψ.
        levels: τ.
        iterations: of EM that it took.
    """

    log_weights: Float[Tensor, "cluster level"]
    loc: Float[Tensor, "cluster data"]
    weight: Float[Tensor, "cluster data latent"]
    variance: Float[Tensor, "cluster data"]
    levels: Float[Tensor, "level"]
    iterations: int = 0

    @property
    def covariance(self) -> Float[Tensor, "cluster data data"]:
        """Σ."""
        return self.weight @ self.weight.mT + torch.diag_embed(self.variance)

    def log_evidence(self, x: Float[Tensor, "batch data"]) -> Float[Tensor, "batch"]:
        """log p(x) of complete rows, nats."""
        gaussians = _Gaussians(self.loc, self.covariance, self.log_weights, self.levels)
        return torch.cat([gaussians.log_joint(rows).flatten(1).logsumexp(1) for rows in gaussians.blocks(x)])

    def factor_analysers(self) -> FactorAnalysers:
        """The same density, with a linear-Gaussian model for each cluster and level."""
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
    levels: Sequence[float] = (1.0,),
    shrinkage: float = 0.0,
    target: Target = "covariance",
    min_scale: float = 1e-3,
    max_iterations: int = 100,
    tolerance: float = 1e-3,
    seed: int = 0,
) -> ScaledMixture:
    """Fit by EM from the clusters of k-means.

    Arguments:
        x: complete rows, best in double precision.
        num_clusters: K.
        latent_dim: rank of W in each cluster: 0 for independent columns, None for any covariance.
        levels: τ, at least 1; (1.0,) for Gaussian clusters.
        shrinkage: κ, the weight of T in rows.
        target: T: the covariance of all rows, or its diagonal.
        min_scale: the floor of a standard deviation, in the units of x.
        max_iterations: after which to stop.
        tolerance: stop when the log-likelihood rises by less, nats per row.
        seed: of k-means.

    Raises:
        ValueError: fewer rows than clusters, a rank that is not below the number of columns, or a level below 1.

    >>> x = torch.randn(200, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    >>> fit_scaled_mixture(x, 2, 1, levels=(1.0, 4.0)).log_evidence(x).shape
    torch.Size([200])
    """
    if latent_dim is not None and not 0 <= latent_dim < x.shape[1]:
        raise ValueError(
            f"latent_dim is {latent_dim} and must be between 0 and {x.shape[1] - 1} for {x.shape[1]} columns, or None."
        )
    if min(levels) < 1:
        raise ValueError(f"levels are {tuple(levels)} and must be at least 1, so that min_scale is a floor for all.")
    fit = _Fit(x, num_clusters, latent_dim, levels, shrinkage, target, min_scale)
    with forked(torch.device("cpu"), seed):
        _, cluster = k_means(x, num_clusters)
    return fit.run(torch.nn.functional.one_hot(cluster, num_clusters).to(x), max_iterations, tolerance)


class _Gaussians:
    """N(b_k, τ_s Σ_k) for all k and s."""

    def __init__(self, loc: Tensor, covariance: Tensor, log_weights: Tensor, levels: Tensor):
        factor = torch.linalg.cholesky(covariance)
        eye = torch.eye(loc.shape[1], dtype=loc.dtype, device=loc.device)
        self.whiten = torch.linalg.solve_triangular(factor, eye.expand_as(factor), upper=False)
        self.shift = (self.whiten @ loc[:, :, None])[:, :, 0]
        size = 2 * factor.diagonal(dim1=1, dim2=2).log().sum(-1)[:, None] + loc.shape[1] * (2 * math.pi * levels).log()
        self.constant, self.levels = log_weights - 0.5 * size, levels

    def log_joint(self, x: Tensor) -> Float[Tensor, "batch cluster level"]:
        """log π_ks + log N(x; b_k, τ_s Σ_k), nats."""
        distance = (x @ self.whiten.mT - self.shift[:, None]).square().sum(-1).mT
        return self.constant - 0.5 * distance[:, :, None] / self.levels

    def blocks(self, x: Tensor) -> Sequence[Tensor]:
        """Rows, few enough at a time."""
        return x.split(max(1, _BLOCK // self.shift.numel()))


class _Fit:
    """EM of one mixture."""

    def __init__(
        self,
        x: Tensor,
        num_clusters: int,
        latent_dim: int | None,
        levels: Sequence[float],
        shrinkage: float,
        target: Target,
        min_scale: float,
    ):
        self.x, self.latent_dim, self.shrinkage, self.floor = x, latent_dim, shrinkage, min_scale**2
        self.levels = torch.tensor(levels, dtype=x.dtype, device=x.device)
        covariance = torch.cov(x.mT, correction=0).reshape(x.shape[1], x.shape[1])
        prior = covariance if target == "covariance" else torch.diag_embed(covariance.diagonal())
        self.prior = prior * num_clusters ** (-2 / x.shape[1])

    def run(self, member: Tensor, max_iterations: int, tolerance: float) -> ScaledMixture:
        """From the clusters of k-means to a mode."""
        counts = member.sum(0)[:, None].expand(-1, len(self.levels)) / len(self.levels)
        sums = (member.sum(0), member.mT @ self.x, torch.stack([(self.x * m[:, None]).mT @ self.x for m in member.mT]))
        mixture, previous = self._maximise(counts, *sums, None), -math.inf
        for iteration in range(max_iterations):
            value, counts, *sums = self._expect(mixture)
            if value - previous <= tolerance:
                break
            previous = value
            mixture = replace(self._maximise(counts, *sums, mixture), iterations=iteration + 1)
        return mixture

    def _expect(self, mixture: ScaledMixture) -> tuple[float, Tensor, Tensor, Tensor, Tensor]:
        """The mean of log p(x), N_ks, Σ u, Σ u x and Σ u x xᵀ."""
        gaussians = _Gaussians(mixture.loc, mixture.covariance, mixture.log_weights, self.levels)
        value, totals = 0.0, [torch.zeros_like(t) for t in (mixture.log_weights, mixture.loc[:, 0])]
        first, second = torch.zeros_like(mixture.loc), torch.zeros_like(self.prior).repeat(len(mixture.loc), 1, 1)
        for rows in gaussians.blocks(self.x):
            log_joint = gaussians.log_joint(rows)
            log_p = log_joint.flatten(1).logsumexp(1)
            r = (log_joint - log_p[:, None, None]).exp()
            u = (r / self.levels).sum(-1).mT
            value += float(log_p.sum())
            totals[0] += r.sum(0)
            totals[1] += u.sum(1)
            first += u @ rows
            second += (u[:, None] * rows.mT) @ rows
        return value / len(self.x), totals[0], totals[1], first, second

    def _maximise(
        self, counts: Tensor, total: Tensor, first: Tensor, second: Tensor, old: ScaledMixture | None
    ) -> ScaledMixture:
        tiny = torch.finfo(total.dtype).tiny
        loc = first / total.clamp_min(tiny)[:, None]
        scatter = second - total[:, None, None] * loc[:, :, None] * loc[:, None, :] + self.shrinkage * self.prior
        covariance = scatter / (counts.sum(1) + self.shrinkage).clamp_min(_LEAST)[:, None, None]
        weight, variance = self._structured(covariance, old)
        log_weights = ((counts + _LEAST) / (counts + _LEAST).sum()).log()
        return ScaledMixture(log_weights=log_weights, loc=loc, weight=weight, variance=variance, levels=self.levels)

    def _structured(self, covariance: Tensor, old: ScaledMixture | None) -> tuple[Tensor, Tensor]:
        """W and ψ near a covariance of each cluster."""
        variances = covariance.diagonal(dim1=1, dim2=2)
        if self.latent_dim == 0:
            return covariance[:, :, :0], variances.clamp_min(self.floor)
        if self.latent_dim is None:
            values, u = torch.linalg.eigh(covariance)
            return u * values.clamp_min(0).sqrt()[:, None], torch.full_like(variances, self.floor)
        if old is None:
            return _principal(covariance, self.latent_dim, self.floor)
        weight, variance = old.weight, old.variance
        for _ in range(_INNER):
            weight, variance = _step(covariance, weight, variance, self.floor)
        return weight, variance


def _principal(covariance: Tensor, latent_dim: int, floor: float) -> tuple[Tensor, Tensor]:
    """Leading principal components, and the remaining variance, at least a twentieth."""
    values, u = torch.linalg.eigh(covariance)
    rest = values[:, :-latent_dim].mean(1, keepdim=True).clamp_min(floor)
    weight = u[:, :, -latent_dim:] * (values[:, -latent_dim:] - rest).clamp_min(0).sqrt()[:, None]
    variances = covariance.diagonal(dim1=1, dim2=2)
    left = variances - weight.square().sum(-1)
    return weight, torch.maximum(left, 0.05 * variances).clamp_min(floor)


def _step(covariance: Tensor, weight: Tensor, variance: Tensor, floor: float) -> tuple[Tensor, Tensor]:
    """One step of EM of factor analysis from S = `covariance`: β = (I + Wᵀψ⁻¹W)⁻¹Wᵀψ⁻¹, R = I − βW + βSβᵀ."""
    scaled = (weight / variance[:, :, None]).mT
    eye = torch.eye(weight.shape[2], dtype=weight.dtype, device=weight.device)
    beta = torch.linalg.solve(eye + scaled @ weight, scaled)
    cross = covariance @ beta.mT
    moment = eye - beta @ weight + beta @ cross
    weight = torch.linalg.solve(moment, cross.mT).mT
    left = covariance.diagonal(dim1=1, dim2=2) - (weight * cross).sum(-1)
    return weight, left.clamp_min(floor)
