"""The three parts of a mixture of factor analysers over z = (ζ, c): prior, likelihood and exact posterior.

    c ~ π,      ζ ~ N(0, I),      x | ζ, c ~ N(b_c + W_c ζ, diag ψ_c)                   c one-hot

With m_d = 1 where x_d is observed, else 0, and r_c = m (x − b_c), the posterior is known (Ghahramani & Hinton 1996,
CRG-TR-96-1):

    M_c = I + W_cᵀ diag(m / ψ_c) W_c         μ_c = M_c⁻¹ W_cᵀ (r_c / ψ_c)         p(ζ | c, x_obs) = N(μ_c, M_c⁻¹)
    log p(c, x_obs) = log π_c − ½ [Σ_d m_d (log 2π ψ_cd + (r_cd − w_cdᵀ μ_c)² / ψ_cd) + ‖μ_c‖² + log |M_c|]

Missing entries are NaN, in the likelihood and in the posterior. Each pattern of missing entries has its own M.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal, OneHotCategorical, constraints
from torch.types import _size

from lowerbound.chain import Chain
from lowerbound.linear.observed import patterns_of
from lowerbound.protocols import Context
from lowerbound.support import LikelihoodFacts, Support, reals, with_missing

__all__ = ["ClusterAndFactors", "ExactPosterior", "FactorsGivenCluster", "GivenClusterAndFactors", "matrix_of_each"]

_LOG_2PI = math.log(2 * math.pi)


class _SizedByFit(nn.Module):
    """Parameters that take the sizes of the values that they are given, by a fit or from a file of weights."""

    def take(self, values: Mapping[str, Tensor]) -> None:
        """Give parameters new values of any size; the precision of the parameters stays."""
        for name, value in values.items():
            setattr(self, name, nn.Parameter(value.to(getattr(self, name)).clone()))

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *rest: Any) -> None:
        names = [name for name, _ in self.named_parameters(recurse=False) if f"{prefix}{name}" in state_dict]
        self.take({name: state_dict[f"{prefix}{name}"] for name in names})
        super()._load_from_state_dict(state_dict, prefix, *rest)


class ClusterAndFactors(_SizedByFit):
    """p(ζ, c) = π_c N(ζ; 0, I).

    Arguments:
        components: K.
        latent_dim: L.

    Returns (when called, with any context):
        A `Chain` over (ζ, c), batch shape ().
    """

    logits: Tensor
    length: Tensor

    def __init__(self, components: int, latent_dim: int):
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(components))
        self.register_buffer("length", torch.tensor(latent_dim))

    @property
    def latent_dim(self) -> int:
        """L."""
        return int(self.length)

    @latent_dim.setter
    def latent_dim(self, value: int) -> None:
        self.length.fill_(value)

    def forward(self, context: Context | None = None) -> Chain:
        """p(z); the context is ignored."""
        shapes = [(self.latent_dim,), (len(self.logits),)]
        first = OneHotCategorical(logits=self.logits, validate_args=False)
        return Chain(first, [self._factors], downward=True, layer_shapes=shapes)

    def _factors(self, c: Tensor) -> Distribution:
        zero = c.new_zeros(*c.shape[:-1], self.latent_dim)
        return Independent(Normal(zero, torch.ones_like(zero), validate_args=False), 1, validate_args=False)


class GivenClusterAndFactors(_SizedByFit):
    """p(x | ζ, c) = N(b_c + W_c ζ, diag ψ_c), where NaN in x is an entry that is not observed.

    Arguments:
        components: K.
        latent_dim: L.
        columns: D.
        left_open: whether the start chooses K and L.

    Returns (when called with (ζ, c), each (..., ·)):
        A distribution over rows (D,), nats per row, summed over its observed entries.
    """

    facts: ClassVar[LikelihoodFacts] = LikelihoodFacts(
        domain="reals", discrete=False, standardized=True, baselines=("gaussian", "gaussian_mixture")
    )

    loc: Tensor
    weight: Tensor
    log_scale: Tensor

    def __init__(self, components: int, latent_dim: int, columns: int, left_open: bool = False):
        super().__init__()
        self.left_open = left_open
        self.loc = nn.Parameter(torch.zeros(components, columns))
        self.weight = nn.Parameter(torch.zeros(components, columns, latent_dim))
        self.log_scale = nn.Parameter(torch.zeros(components, columns))

    @property
    def support(self) -> Support:
        """Finite numbers, or NaN for unknown entries."""
        return with_missing(reals)

    def forward(self, context: Context) -> Distribution:
        """p(x | ζ, c)."""
        zeta, c = context[0], context[1]
        k = c.argmax(-1)
        loc = self.loc[k] + matrix_of_each(self.weight, k, zeta)
        return Independent(_Observed(loc, self.log_scale[k].exp(), validate_args=False), 1, validate_args=False)


class _Observed(Normal):
    """A Gaussian in which NaN marks an unobserved entry, of log-probability 0."""

    def log_prob(self, value: Tensor) -> Tensor:
        missing = value.isnan()
        return torch.where(missing, 0.0, super().log_prob(torch.where(missing, 0.0, value)))

    def expand(self, batch_shape: _size, _instance: Distribution | None = None) -> _Observed:
        return _Observed(self.loc.expand(batch_shape), self.scale.expand(batch_shape), validate_args=False)


class ExactPosterior(_SizedByFit):
    """q(ζ, c | x_obs) = p(c | x_obs) p(ζ | c, x_obs), with its own π, b, W and ψ.

    Arguments:
        components: K.
        latent_dim: L.
        columns: D.

    Returns (when called with x (B, D)):
        A `Chain` over (ζ, c), batch shape (B,).
    """

    logits: Tensor
    loc: Tensor
    weight: Tensor
    log_scale: Tensor

    def __init__(self, components: int, latent_dim: int, columns: int):
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(components))
        self.loc = nn.Parameter(torch.zeros(components, columns))
        self.weight = nn.Parameter(torch.zeros(components, columns, latent_dim))
        self.log_scale = nn.Parameter(torch.zeros(components, columns))

    def forward(self, context: Context | None = None) -> Chain:
        """q(z | context)."""
        assert isinstance(context, Tensor)
        patterns, pattern = patterns_of(~context.isnan())
        solutions = [self._solve(observed.to(context.dtype)) for observed in patterns]
        log_joint = context.new_empty(len(context), len(self.loc))
        mean = context.new_empty(len(context), *self.weight.shape[::2])
        for i, solution in enumerate(solutions):
            rows = pattern == i
            log_joint[rows], mean[rows] = self._infer(context[rows].nan_to_num(), solution)
        root, whiten, log_det = (torch.cat([getattr(s, name) for s in solutions]) for name in _Solution.pieces)
        first = pattern * len(self.loc)

        def factors(c: Tensor) -> FactorsGivenCluster:
            k = c.argmax(-1)
            of_row = mean[torch.arange(len(context), device=k.device).expand_as(k), k]
            return FactorsGivenCluster(of_row, root, whiten, log_det, first + k)

        return Chain(OneHotCategorical(logits=log_joint, validate_args=False), [factors], downward=True)

    def _solve(self, observed: Tensor) -> _Solution:
        scaled = (self.weight * (observed * (-2 * self.log_scale).exp())[:, :, None]).mT
        eye = torch.eye(self.weight.shape[2], dtype=scaled.dtype, device=scaled.device)
        factor = torch.linalg.cholesky(eye + scaled @ self.weight)
        root = torch.linalg.solve_triangular(factor.mT, eye.expand_as(factor), upper=True)
        return _Solution(observed, root @ (root.mT @ scaled), root, factor.mT, factor)

    def _infer(self, x: Tensor, solution: _Solution) -> tuple[Tensor, Tensor]:
        """log p(c, x_obs) (n, K) and μ (n, K, L)."""
        mean = x @ solution.gain.mT - (solution.gain @ self.loc[:, :, None]).mT  # (K, n, L)
        misfit = (x - self.loc[:, None] - mean @ self.weight.mT) * (-self.log_scale).exp()[:, None]
        constant = ((_LOG_2PI + 2 * self.log_scale) * solution.observed).sum(-1) - solution.log_det
        distance = (misfit.square() * solution.observed).sum(-1) + mean.square().sum(-1)
        return (self.logits.log_softmax(0)[:, None] - 0.5 * (distance + constant[:, None])).mT, mean.transpose(0, 1)


class _Solution:
    """M of one pattern of missing entries, for every component."""

    pieces = ("root", "whiten", "log_det")

    def __init__(self, observed: Tensor, gain: Tensor, root: Tensor, whiten: Tensor, factor: Tensor):
        self.observed, self.gain, self.root, self.whiten = observed, gain, root, whiten
        self.log_det = -2 * factor.diagonal(dim1=1, dim2=2).log().sum(-1)  # of M⁻¹


class FactorsGivenCluster(Distribution):
    """N(μ, R_j R_jᵀ) with one of few matrices R for each element.

    Arguments:
        mean: μ (..., L).
        root: every R (J, L, L).
        whiten: their inverses.
        log_det: log |R Rᵀ| (J,).
        which: j (...), which R an element has.
    """

    arg_constraints = {}  # noqa: RUF012  # pyright: ignore[reportAssignmentType]
    has_rsample = True

    def __init__(self, mean: Tensor, root: Tensor, whiten: Tensor, log_det: Tensor, which: Int[Tensor, "*batch"]):
        self.loc, self.root, self.whiten, self.log_det, self.which = mean, root, whiten, log_det, which
        super().__init__(mean.shape[:-1], mean.shape[-1:], validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        """Real vectors."""
        return constraints.real_vector

    @property
    def mean(self) -> Tensor:
        """μ."""
        return self.loc

    def rsample(self, sample_shape: _size = ()) -> Tensor:
        """Draw (*sample_shape, ..., L)."""
        loc = self.loc.expand(self._extended_shape(sample_shape))
        return loc + matrix_of_each(self.root, self.which.expand(loc.shape[:-1]), torch.randn_like(loc))

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density of value (..., L): (...), nats."""
        noise = matrix_of_each(self.whiten, self.which.expand(value.shape[:-1]), value - self.loc)
        size = value.shape[-1] * _LOG_2PI + self.log_det[self.which]
        return -0.5 * (noise.square().sum(-1) + size)


def matrix_of_each(
    matrices: Float[Tensor, "matrix out in"], which: Int[Tensor, "*batch"], vectors: Float[Tensor, "*batch in"]
) -> Float[Tensor, "*batch out"]:
    """A_j v for each vector v and its j: one product for each matrix, and no copy of a matrix for each vector."""
    if len(matrices) == 1:
        return vectors @ matrices[0].mT
    j, order = which.flatten().sort()
    counts = torch.bincount(j, minlength=len(matrices)).tolist()
    parts = vectors.flatten(0, -2)[order].split(counts)
    products = [part @ matrix.mT for part, matrix in zip(parts, matrices, strict=True) if len(part)]
    result = torch.cat(products) if products else vectors.new_empty(0, matrices.shape[1])
    return result[order.argsort()].unflatten(0, which.shape)
