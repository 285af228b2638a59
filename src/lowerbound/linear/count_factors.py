"""Counts of clusters and factors: negative binomials whose means are log-linear in factors that lie on a grid.

    k ~ π,    g ~ w,    x_j | k, g ~ NB(mean m_kgj, inverse dispersion r_j),    log m_kgj = b_kj + a_jᵀ z_g = (A B)_kgj

z_g are the points of a grid and w ∝ N(z_g; 0, I), so that the integral over L standard normal factors is a sum (Bock &
Aitkin 1981, marginal maximum likelihood by EM; Wedel, Böckenholt & Kamakura 2003 for factors of counts). Every pair
(k, g) is one component of a finite mixture, and its posterior is exact. With the sums of a component T = Σ_n ρ_n x_n
and N = Σ_n ρ_n over rows where the count is known, the M step of B is a regression, climbed by Fisher scoring:

    gradient  Aᵀ [(T − N m) r / (r + m)]          information  Aᵀ diag[N m r / (r + m)] A           for each column
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["CountGrid"]

_POINTS = {1: (9, 2.4), 2: (7, 2.4), 3: (5, 2.2)}
"""For a number of factors: points along each, and where the outermost lie."""
_FARTHEST, _SPARE = 2.5, 3
_RIDGE, _LONGEST, _LARGEST_LOG_MEAN = 1e-6, 1.0, 14.0


@dataclass(frozen=True)
class CountGrid:
    """The components of K clusters and L factors: component k G + g is point g in cluster k.

    Arguments:
        num_clusters: K.
        num_factors: L, 1 to 3.

    Raises:
        ValueError: no cluster, or another number of factors.

    >>> CountGrid(2, 1).matrix.shape
    torch.Size([18, 3])
    """

    num_clusters: int
    num_factors: int

    def __post_init__(self) -> None:
        if self.num_clusters < 1 or self.num_factors not in _POINTS:
            raise ValueError(
                f"A grid got {self.num_clusters} clusters and {self.num_factors} factors; it takes 1 to 3 factors."
            )

    @cached_property
    def points(self) -> Float[Tensor, "point factor"]:
        """z, in double precision."""
        number, last = _POINTS[self.num_factors]
        axis = torch.linspace(-last, last, number, dtype=torch.float64)
        every = torch.cartesian_prod(*[axis] * self.num_factors).reshape(-1, self.num_factors)
        return every[every.norm(dim=1) <= _FARTHEST]  # corners have next to no weight

    @cached_property
    def log_weights(self) -> Float[Tensor, "point"]:
        """log w."""
        return (-0.5 * self.points.square().sum(1)).log_softmax(0)

    @cached_property
    def matrix(self) -> Float[Tensor, "component coefficient"]:
        """A: the cluster as indicators, then z."""
        clusters = torch.eye(self.num_clusters, dtype=torch.float64).repeat_interleave(len(self.points), 0)
        return torch.cat([clusters, self.points.repeat(self.num_clusters, 1)], 1)

    def component_of(self, features: Float[Tensor, "row feature"], cluster: Int[Tensor, "row"]) -> Int[Tensor, "row"]:
        """Where EM begins: the point nearest to the principal components of the features within their clusters, which a
        randomised decomposition finds.
        """
        member = torch.nn.functional.one_hot(cluster, self.num_clusters).to(features)
        centres = (member.mT @ features) / member.sum(0).clamp_min(1)[:, None]
        within = features - centres[cluster]
        wanted = min(self.num_factors + _SPARE, *within.shape)
        principal = torch.svd_lowrank(within, wanted, niter=4)[0][:, : self.num_factors] * len(features) ** 0.5
        if principal.shape[1] < self.num_factors:  # fewer rows or columns than factors
            principal = torch.nn.functional.pad(principal, (0, self.num_factors - principal.shape[1]))
        return cluster * len(self.points) + torch.cdist(principal, self.points.to(features)).argmin(1)

    def log_weights_of(self, counts: Float[Tensor, "component"]) -> Float[Tensor, "component"]:
        """log π_k w_g, from the rows of each component."""
        of_cluster = counts.reshape(self.num_clusters, -1).sum(1)
        return ((of_cluster / of_cluster.sum()).log()[:, None] + self.log_weights.to(counts)).flatten()

    def coefficients_of(self, total: Tensor, weight: Tensor) -> Float[Tensor, "coefficient column"]:
        """B of independent columns in each cluster, from T and N."""
        t, n = (sums.reshape(self.num_clusters, -1, sums.shape[1]).sum(1) for sums in (total, weight))
        return torch.cat([(t / n).log(), t.new_zeros(self.num_factors, t.shape[1])])

    def coefficients_at(self, mean: Float[Tensor, "component column"]) -> Float[Tensor, "coefficient column"]:
        """B of means that are log-linear."""
        return self._inverse.to(mean) @ mean.log()

    @cached_property
    def _inverse(self) -> Tensor:
        return torch.linalg.pinv(self.matrix)

    def mean(self, coefficients: Float[Tensor, "coefficient column"]) -> Float[Tensor, "component column"]:
        """m."""
        return (self.matrix.to(coefficients) @ coefficients).clamp(-_LARGEST_LOG_MEAN, _LARGEST_LOG_MEAN).exp()

    def step(
        self,
        coefficients: Float[Tensor, "coefficient column"],
        total: Float[Tensor, "component column"],
        weight: Float[Tensor, "component column"],
        r: Float[Tensor, "column"],
    ) -> Float[Tensor, "coefficient column"]:
        """One step of Fisher scoring, no coefficient of which moves by more than 1.

        Arguments:
            coefficients: B.
            total: T.
            weight: N.
            r: the inverse dispersion of each column.
        """
        a, m = self.matrix.to(total), self.mean(coefficients)
        ratio = r / (r + m)
        gradient = a.mT @ ((total - weight * m) * ratio)
        size = a.shape[1]
        products = (a[:, :, None] * a[:, None, :]).flatten(1)
        information = (products.mT @ (weight * m * ratio)).mT.unflatten(1, (size, size))
        information = information + _RIDGE * torch.eye(size, dtype=a.dtype, device=a.device)
        moved = torch.linalg.solve(information, gradient.mT[:, :, None])[:, :, 0].mT
        return coefficients + moved.clamp(-_LONGEST, _LONGEST)
