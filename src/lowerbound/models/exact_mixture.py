"""p(ζ, c) and p(ζ, c | x_obs) of a mixture of linear-Gaussian models, and parameters whose sizes a fit decides.

    M_c = I + W_cᵀ diag(m / ψ_c) W_c         μ_c = M_c⁻¹ W_cᵀ (r_c / ψ_c)         p(ζ | c, x_obs) = N(μ_c, M_c⁻¹)
    log p(c, x_obs) = log π_c − ½ [Σ_d m_d (log 2π ψ_cd + (r_cd − w_cdᵀ μ_c)² / ψ_cd) + ‖μ_c‖² + log |M_c|]

with m_d = 1 where x_d is observed, else 0, and r_c = m (x − b_c). Columns of other kinds that are independent of these
given c add their log p(y | c) to the second line and leave the first as it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping
from typing import Any, NamedTuple, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal, constraints
from torch.types import _size

from lowerbound.chain import Chain
from lowerbound.distributions.in_turn import gaussian_in_turn
from lowerbound.distributions.long_categorical import categorical_over, code_shape, number_of
from lowerbound.hooks import Turn
from lowerbound.linear.observed import patterns_of
from lowerbound.protocols import Context

__all__ = [
    "ClustersAndFactors",
    "Components",
    "FactorsAt",
    "FactorsGivenCluster",
    "SizedByFit",
    "chain_of",
    "inferred",
    "matrix_of_each",
    "posterior_of",
]

FactorsAt: TypeAlias = "Callable[[Tensor], FactorsGivenCluster]"
_LOG_2PI = math.log(2 * math.pi)
_BLOCK = 2**24  # numbers of rows, components and columns at a time
_FEW = 16  # vectors for each matrix


class Components(NamedTuple):
    """π, b, W and ψ."""

    logits: Float[Tensor, "component"]
    loc: Float[Tensor, "component data"]
    weight: Float[Tensor, "component data latent"]
    log_scale: Float[Tensor, "component data"]


def posterior_of(
    x: Float[Tensor, "batch data"], components: Components, log_others: Float[Tensor, "batch component"] | None = None
) -> Chain:
    """p(ζ, c | x_obs), batch shape (B,).

    Arguments:
        x: rows, NaN where an entry is missing.
        components: of the model.
        log_others: log p of the columns of other kinds given each component, up to a constant for each row, nats.
    """
    logits, factors = inferred(x, components, log_others)
    return chain_of(logits, factors)


def chain_of(logits: Float[Tensor, "batch component"], factors: FactorsAt) -> Chain:
    """q(c) q(ζ | c)."""
    return Chain(categorical_over(logits), [lambda c: factors(number_of(c, logits.shape[-1]))], downward=True)


def inferred(
    x: Float[Tensor, "batch data"], components: Components, log_others: Float[Tensor, "batch component"] | None = None
) -> tuple[Float[Tensor, "batch component"], FactorsAt]:
    """log p(c, x_obs), up to a constant for each row, and p(ζ | c, x_obs) for the numbers of components (..., B).

    Arguments: see `posterior_of`.
    """
    patterns, pattern = patterns_of(~x.isnan())
    known, observed = x.nan_to_num(), patterns.to(x.dtype)
    log_joint = x.new_empty(len(x), len(components.loc))
    few = max(1, _BLOCK // max(1, components.loc.numel()))
    for i, entries in enumerate(observed):
        given = _Given(entries, components)
        for rows in (pattern == i).nonzero()[:, 0].split(few):
            log_joint[rows] = given.log_joint(known[rows])

    def factors(k: Tensor) -> FactorsGivenCluster:
        size = len(components.loc)
        pair, which = (pattern * size + k).unique(return_inverse=True)  # few of all patterns and components
        scaled, factor = _precision(observed[pair // size], components, pair % size)
        mean = matrix_of_each(torch.cholesky_solve(scaled, factor), which, known - components.loc[k])
        return FactorsGivenCluster(mean, _inverse_root(factor), factor.mT, -_log_det(factor), which)

    return log_joint if log_others is None else log_joint + log_others, factors


def _precision(observed: Tensor, components: Components, k: Tensor | slice) -> tuple[Tensor, Tensor]:
    """W_kᵀ diag(m / ψ_k) (J, L, D) and the Cholesky factor of M_k (J, L, L), for some components and their m."""
    weight, log_scale = components.weight[k], components.log_scale[k]
    scaled = (weight * (observed * (-2 * log_scale).exp())[:, :, None]).mT
    eye = torch.eye(weight.shape[2], dtype=scaled.dtype, device=scaled.device)
    return scaled, torch.linalg.cholesky(eye + scaled @ weight)


def _inverse_root(factor: Tensor) -> Tensor:
    """R of M⁻¹ = R Rᵀ."""
    eye = torch.eye(factor.shape[1], dtype=factor.dtype, device=factor.device)
    return torch.linalg.solve_triangular(factor.mT, eye.expand_as(factor), upper=True)


def _log_det(factor: Tensor) -> Tensor:
    return 2 * factor.diagonal(dim1=1, dim2=2).log().sum(-1)


class _Given:
    """Of rows that lack the same entries."""

    def __init__(self, observed: Tensor, components: Components):
        logits, self.loc, self.weight, log_scale = components
        scaled, factor = _precision(observed, components, slice(None))
        self.gain = torch.cholesky_solve(scaled, factor)
        self.shift = (self.gain @ self.loc[:, :, None]).mT
        self.observed, self.precision = observed, (-log_scale).exp()[:, None]
        constant = ((_LOG_2PI + 2 * log_scale) * observed).sum(-1) + _log_det(factor)
        self.constant = logits.log_softmax(0) - 0.5 * constant

    def log_joint(self, x: Tensor) -> Tensor:
        """log p(c, x_obs) (n, K)."""
        mean = x @ self.gain.mT - self.shift  # (K, n, L)
        misfit = (x - self.loc[:, None] - mean @ self.weight.mT) * self.precision
        distance = (misfit.square() * self.observed).sum(-1) + mean.square().sum(-1)
        return self.constant - 0.5 * distance.mT


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

    def in_turn(self, rows: int) -> Generator[Turn, Tensor, None]:
        """See `hooks.ComesInTurn`."""
        return gaussian_in_turn(self.loc, torch.linalg.cholesky(self.root @ self.root.mT)[self.which])


def matrix_of_each(
    matrices: Float[Tensor, "matrix out in"], which: Int[Tensor, "*batch"], vectors: Float[Tensor, "*batch in"]
) -> Float[Tensor, "*batch out"]:
    """A_j v for each vector v and its j: one product for each matrix, or a copy of one for each of few vectors."""
    if len(matrices) == 1:
        return vectors @ matrices[0].mT
    if which.numel() < _FEW * len(matrices) and which.numel() * matrices[0].numel() <= _BLOCK:
        return (matrices[which] @ vectors[..., None])[..., 0]
    j, order = which.flatten().sort()
    counts = torch.bincount(j, minlength=len(matrices)).tolist()
    parts = vectors.flatten(0, -2)[order].split(counts)
    products = [part @ matrix.mT for part, matrix in zip(parts, matrices, strict=True) if len(part)]
    result = torch.cat(products) if products else vectors.new_empty(0, matrices.shape[1])
    return result[order.argsort()].unflatten(0, which.shape)


class SizedByFit(nn.Module):
    """Parameters whose sizes are those of what they are given: of a fit, or of a file of weights."""

    def take(self, values: Mapping[str, Tensor]) -> None:
        """Give parameters and buffers new values, of any size, in their own precision."""
        for name, value in values.items():
            old = getattr(self, name)
            new = value.to(old).clone()
            setattr(self, name, nn.Parameter(new) if isinstance(old, nn.Parameter) else new)

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *rest: Any) -> None:
        own = [*self.named_parameters(recurse=False), *self.named_buffers(recurse=False)]
        names = [name for name, _ in own if f"{prefix}{name}" in state_dict]
        self.take({name: state_dict[f"{prefix}{name}"] for name in names})
        super()._load_from_state_dict(state_dict, prefix, *rest)


class ClustersAndFactors(SizedByFit):
    """p(ζ, c) = π_c N(ζ; 0, I); p(c) = π_c alone if the length of ζ is 0.

    Arguments:
        components: how many values c takes.
        latent_dim: L, the length of ζ.
    """

    logits: Tensor

    def __init__(self, components: int, latent_dim: int):
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(components))
        self.register_buffer("length", torch.tensor(latent_dim))

    length: Tensor

    @property
    def latent_dim(self) -> int:
        """L."""
        return int(self.length)

    @latent_dim.setter
    def latent_dim(self, value: int) -> None:
        self.length.fill_(value)

    def forward(self, context: Context | None = None) -> Distribution:
        """p(z), whatever the context."""
        first = categorical_over(self.logits)
        if self.latent_dim == 0:
            return first
        shapes = [(self.latent_dim,), tuple(first.event_shape)]
        return Chain(first, [self._factors], downward=True, layer_shapes=shapes)

    def _factors(self, c: Tensor) -> Distribution:
        zero = c.new_zeros(*c.shape[: c.ndim - len(code_shape(len(self.logits)))], self.latent_dim)
        return Independent(Normal(zero, torch.ones_like(zero), validate_args=False), 1, validate_args=False)
