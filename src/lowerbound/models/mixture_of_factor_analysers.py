"""A mixture of factor analysers as a latent variable model whose q(z | x) is exact, missing entries included.

    c ~ π,      ζ ~ N(0, I),      x | ζ, c ~ N(b_c + W_c ζ, diag ψ_c)                   z = (ζ, c), c one-hot

(Ghahramani & Hinton 1996, CRG-TR-96-1). A Gaussian, a mixture of Gaussians with any covariances, factor analysis and
probabilistic PCA are special cases. With m_d = 1 where x_d is observed, else 0, and r_c = m (x − b_c),

    M_c = I + W_cᵀ diag(m / ψ_c) W_c         μ_c = M_c⁻¹ W_cᵀ (r_c / ψ_c)         p(ζ | c, x_obs) = N(μ_c, M_c⁻¹)
    log p(c, x_obs) = log π_c − ½ [Σ_d m_d (log 2π ψ_cd + (r_cd − w_cdᵀ μ_c)² / ψ_cd) + ‖μ_c‖² + log |M_c|]

so that log w = log p(x_obs) for every draw: the ELBO, every importance-weighted bound and log p(x) are one number.
Missing entries are NaN, in the likelihood and in the posterior. The model is filled by `set_factor_analysers` from a
fit by EM (`linear.fit_mixture_of_factor_analysers`, `linear.fit_stack`), and needs no training.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal, OneHotCategorical, constraints
from torch.types import _size

from lowerbound.chain import Chain
from lowerbound.exact import LinearGaussian
from lowerbound.linear import FactorAnalysers, fit_mixture_of_factor_analysers, fit_stack
from lowerbound.linear.observed import patterns_of
from lowerbound.losses import Loss
from lowerbound.model import LatentVariableModel
from lowerbound.models.recipe import Recipe
from lowerbound.protocols import Context
from lowerbound.support import LikelihoodFacts, Support, reals, with_missing

__all__ = [
    "RECIPE",
    "ExactPosterior",
    "FactorsGivenCluster",
    "GivenClusterAndFactors",
    "factor_analysers_of",
    "mixture_of_factor_analysers",
    "model_of",
    "set_factor_analysers",
    "start_mixture_of_factor_analysers",
]

_LOG_2PI = math.log(2 * math.pi)


def mixture_of_factor_analysers(
    event_shape: Sequence[int], *, components: int | None = None, latent_dim: int | None = None
) -> LatentVariableModel:
    """A model of tables with all components at the origin: fill it by `set_factor_analysers`.

    Arguments:
        event_shape: (columns,).
        components: K, how many values c takes; None leaves it to the start, which chooses by rows held out.
        latent_dim: L, the length of ζ; None leaves it to the start.

    Raises:
        ValueError: data that are not a table, no component, or no factor.

    >>> zeta, c = mixture_of_factor_analysers((3,), components=4, latent_dim=2).infer(torch.zeros(5, 3)).sample((7,))
    >>> zeta.shape, c.shape
    (torch.Size([7, 5, 2]), torch.Size([7, 5, 4]))
    """
    shape = tuple(event_shape)
    if len(shape) != 1:
        raise ValueError(f"A mixture of factor analysers takes tables and got rows of shape {shape}; flatten them.")
    left_open = components is None and latent_dim is None
    components, latent_dim = 1 if components is None else components, 1 if latent_dim is None else latent_dim
    if components < 1 or latent_dim < 1:
        raise ValueError(f"components is {components} and latent_dim is {latent_dim}; each must be at least 1.")
    return LatentVariableModel(
        prior=_Prior(components, latent_dim),
        likelihood=GivenClusterAndFactors(components, latent_dim, shape[0], left_open),
        posterior=ExactPosterior(components, latent_dim, shape[0]),
    )


def model_of(mixture: FactorAnalysers) -> LatentVariableModel:
    """The model of a fit, in its precision."""
    latent_dim = max(1, *(component.weight.shape[1] for component in mixture.components))
    columns = mixture.components[0].offset.shape[0]
    model = mixture_of_factor_analysers((columns,), components=len(mixture.components), latent_dim=latent_dim)
    set_factor_analysers(model.to(mixture.weights), mixture)
    return model


@torch.no_grad()
def set_factor_analysers(model: LatentVariableModel, mixture: FactorAnalysers) -> None:
    """Write π, b, W and ψ into a model made by `mixture_of_factor_analysers`, which takes their sizes."""
    p, likelihood, q = _parts(model)
    latent_dim = max(1, *(component.weight.shape[1] for component in mixture.components))
    weight = torch.stack([nn.functional.pad(c.weight, (0, latent_dim - c.weight.shape[1])) for c in mixture.components])
    scale = torch.stack([c.scale.expand_as(c.offset) for c in mixture.components])
    values = {
        "logits": mixture.weights.log(),
        "loc": torch.stack([component.offset for component in mixture.components]),
        "weight": weight,
        "log_scale": scale.log(),
    }
    for part in (p, likelihood, q):
        part.take({name: value for name, value in values.items() if hasattr(part, name)})
    p.latent_dim = latent_dim


def start_mixture_of_factor_analysers(loss: Loss | LatentVariableModel, x: Tensor, *, seed: int = 0) -> None:
    """Fit the model of a loss to rows x.

    With the sizes left open, rows that are held out in turn choose and weigh candidates of many sizes
    (`linear.fit_stack`). With sizes given it is EM, and missing entries (NaN) are integrated out.
    """
    model = loss.model if isinstance(loss, Loss) else loss
    _, likelihood, _ = _parts(model)
    if likelihood.left_open:
        set_factor_analysers(model, fit_stack(x.double(), seed=seed).mixture)
        return
    *_, last = fit_mixture_of_factor_analysers(x.double(), len(likelihood.loc), likelihood.weight.shape[-1], seed=seed)
    set_factor_analysers(model, last.mixture)


def factor_analysers_of(model: LatentVariableModel) -> FactorAnalysers:
    """π, b, W and ψ of a model, in double precision: for imputation and for log p(x) in closed form."""
    p, likelihood, _ = _parts(model)
    loc, weight, log_scale = (t.detach().double() for t in (likelihood.loc, likelihood.weight, likelihood.log_scale))
    components = tuple(LinearGaussian(w, b, s.exp()) for w, b, s in zip(weight, loc, log_scale, strict=True))
    return FactorAnalysers(p.logits.detach().double().softmax(0), components)


class _SizedByFit(nn.Module):
    """Parameters whose sizes are those of what they are given: of a fit, or of a file of weights."""

    def take(self, values: Mapping[str, Tensor]) -> None:
        """Give parameters new values, of any size, in their own precision."""
        for name, value in values.items():
            setattr(self, name, nn.Parameter(value.to(getattr(self, name)).clone()))

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *rest: Any) -> None:
        names = [name for name, _ in self.named_parameters(recurse=False) if f"{prefix}{name}" in state_dict]
        self.take({name: state_dict[f"{prefix}{name}"] for name in names})
        super()._load_from_state_dict(state_dict, prefix, *rest)


class _Prior(_SizedByFit):
    """p(ζ, c) = π_c N(ζ; 0, I)."""

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

    def forward(self, context: Context | None = None) -> Chain:
        """p(z), whatever the context."""
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
        left_open: whether K and L are for the start to choose.

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
        """Finite numbers, or NaN for entries that are not known."""
        return with_missing(reals)

    def forward(self, context: Context) -> Distribution:
        """p(x | ζ, c)."""
        zeta, c = context[0], context[1]
        k = c.argmax(-1)
        loc = self.loc[k] + matrix_of_each(self.weight, k, zeta)
        return Independent(_Observed(loc, self.log_scale[k].exp(), validate_args=False), 1, validate_args=False)


class _Observed(Normal):
    """A Gaussian in which NaN is an entry that is not observed, of log-probability 0."""

    def log_prob(self, value: Tensor) -> Tensor:
        missing = value.isnan()
        return torch.where(missing, 0.0, super().log_prob(torch.where(missing, 0.0, value)))

    def expand(self, batch_shape: _size, _instance: Distribution | None = None) -> _Observed:
        return _Observed(self.loc.expand(batch_shape), self.scale.expand(batch_shape), validate_args=False)


class ExactPosterior(_SizedByFit):
    """q(ζ, c | x_obs) = p(c | x_obs) p(ζ | c, x_obs), from π, b, W and ψ of its own.

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


def _parts(model: LatentVariableModel) -> tuple[_Prior, GivenClusterAndFactors, ExactPosterior]:
    p, likelihood, q = model.prior, model.likelihood, model.posterior
    if not (isinstance(p, _Prior) and isinstance(likelihood, GivenClusterAndFactors) and isinstance(q, ExactPosterior)):
        raise ValueError(
            f"A mixture of factor analysers was expected and got the likelihood {type(likelihood).__name__}; build "
            "the model with mixture_of_factor_analysers()."
        )
    return p, likelihood, q


RECIPE = Recipe(
    name="mixture-of-factor-analysers",
    make=mixture_of_factor_analysers,
    defaults={"objective": "elbo", "gradient": "score-function", "num_samples": 2, "steps": 0},
    start=start_mixture_of_factor_analysers,
    likelihood="normal:scale=per-dimension",
)
