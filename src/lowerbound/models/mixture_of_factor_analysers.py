"""A mixture of factor analysers as a latent variable model whose q(z | x) is exact, missing entries included.

    c ~ π,      ζ ~ N(0, I),      x | ζ, c ~ N(b_c + W_c ζ, diag ψ_c)                   z = (ζ, c), c one-hot

(Ghahramani & Hinton 1996, CRG-TR-96-1). A Gaussian, a mixture of Gaussians with any covariances, factor analysis and
probabilistic PCA are special cases. `exact_mixture` gives p(ζ, c | x_obs) in closed form, so that log w = log p(x_obs)
for every draw: the ELBO, every importance-weighted bound and log p(x) are one number. Missing entries are NaN, in the
likelihood and in the posterior. The model is filled by `set_factor_analysers` from a fit by EM
(`linear.fit_mixture_of_factor_analysers`, `linear.fit_stack`), and needs no training.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal
from torch.types import _size

from lowerbound.chain import Chain
from lowerbound.data.transform import Standardize, Transform
from lowerbound.distributions.long_categorical import number_of
from lowerbound.exact import LinearGaussian
from lowerbound.linear import FactorAnalysers, Resolution, fit_mixture_of_factor_analysers, fit_stack
from lowerbound.losses import Loss
from lowerbound.model import LatentVariableModel
from lowerbound.models.exact_mixture import ClustersAndFactors, Components, SizedByFit, matrix_of_each, posterior_of
from lowerbound.models.recipe import Recipe
from lowerbound.protocols import Context
from lowerbound.support import LikelihoodFacts, Support, reals, with_missing

__all__ = [
    "RECIPE",
    "ExactPosterior",
    "GivenClusterAndFactors",
    "factor_analysers_of",
    "mixture_of_factor_analysers",
    "model_of",
    "set_factor_analysers",
    "start_mixture_of_factor_analysers",
]


def mixture_of_factor_analysers(
    event_shape: Sequence[int], *, components: int | None = None, latent_dim: int | None = None
) -> LatentVariableModel:
    """A model with all components at the origin; `set_factor_analysers` gives it the parameters of a fit.

    Arguments:
        event_shape: (columns,) of a table; other arrays are taken as one row of numbers, (steps, channels) as a series.
        components: K, how many values c takes; None leaves it to the start, which chooses by held-out rows.
        latent_dim: L, the length of ζ; None leaves it to the start.

    Raises:
        ValueError: no component, or no factor.

    >>> zeta, c = mixture_of_factor_analysers((3,), components=4, latent_dim=2).infer(torch.zeros(5, 3)).sample((7,))
    >>> zeta.shape, c.shape
    (torch.Size([7, 5, 2]), torch.Size([7, 5, 4]))
    """
    shape = tuple(event_shape)
    left_open = components is None and latent_dim is None
    components, latent_dim = 1 if components is None else components, 1 if latent_dim is None else latent_dim
    if components < 1 or latent_dim < 1:
        raise ValueError(f"components is {components} and latent_dim is {latent_dim}; each must be at least 1.")
    return LatentVariableModel(
        prior=ClustersAndFactors(components, latent_dim),
        likelihood=GivenClusterAndFactors(components, latent_dim, shape, left_open),
        posterior=ExactPosterior(components, latent_dim, math.prod(shape)),
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


def start_mixture_of_factor_analysers(
    loss: Loss | LatentVariableModel, x: Tensor, *, seed: int = 0, transform: Transform | None = None
) -> str | None:
    """Fit the model of a loss to rows x, and say what was chosen.

    If the sizes are left open, candidates of many sizes are weighed by rows that are held out in turn
    (`linear.fit_stack`), and no component is narrower than the steps of its columns (`linear.Resolution`). If they are
    given, the fit is by EM, and missing entries (NaN) are integrated out. Each channel of a series is fitted in units
    of its own spread.
    """
    model = loss.model if isinstance(loss, Loss) else loss
    _, likelihood, _ = _parts(model)
    shape, rows = likelihood.event_shape, x.double().flatten(1)
    center, scale = (rows.new_zeros(1), rows.new_ones(1)) if len(shape) == 1 else _of_channels(x.double())
    rows = (rows - center) / scale
    if not likelihood.left_open:
        *_, last = fit_mixture_of_factor_analysers(rows, len(likelihood.loc), likelihood.weight.shape[-1], seed=seed)
        set_factor_analysers(model, _in_units(last.mixture, center, scale))
        return None
    rate = None
    if isinstance(transform, Standardize) and len(shape) == 1:
        rate = transform.log_rates.expand(rows.shape[1])
    resolution = Resolution.of(rows, rate)
    stack = fit_stack(rows, resolution=resolution, num_steps=shape[0] if len(shape) == 2 else 1, seed=seed)
    set_factor_analysers(model, _in_units(stack.mixture, center, scale))
    return stack.sentence


def _of_channels(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of what is known (not NaN) of each number of the last axis over all rows and steps,
    repeated for each step.
    """
    channels = x.flatten(0, -2)
    mean = channels.nanmean(0)
    scale = (channels - mean).square().nanmean(0).sqrt()
    scale = torch.where(scale > 0, scale, x[~x.isnan()].std().clamp_min(torch.finfo(x.dtype).tiny))
    return mean.expand(x.shape[1:]).flatten(), scale.expand(x.shape[1:]).flatten()


def _in_units(mixture: FactorAnalysers, center: Tensor, scale: Tensor) -> FactorAnalysers:
    """The mixture of s x + m for that of x."""
    return FactorAnalysers(
        mixture.weights,
        tuple(
            LinearGaussian(scale[:, None] * c.weight, center + scale * c.offset, scale * c.scale)
            for c in mixture.components
        ),
    )


def factor_analysers_of(model: LatentVariableModel) -> FactorAnalysers:
    """π, b, W and ψ of a model, in double precision: for imputation and for log p(x) in closed form."""
    p, likelihood, _ = _parts(model)
    loc, weight, log_scale = (t.detach().double() for t in (likelihood.loc, likelihood.weight, likelihood.log_scale))
    components = tuple(LinearGaussian(w, b, s.exp()) for w, b, s in zip(weight, loc, log_scale, strict=True))
    return FactorAnalysers(p.logits.detach().double().softmax(0), components)


class GivenClusterAndFactors(SizedByFit):
    """p(x | ζ, c) = N(b_c + W_c ζ, diag ψ_c), where NaN in x is an entry that is not observed.

    Arguments:
        components: K.
        latent_dim: L.
        event_shape: of x, of D numbers in all.
        left_open: whether K and L are for the start to choose.

    Returns (when called with (ζ, c), each (..., ·)):
        A distribution over x, nats per row, summed over its observed entries.
    """

    facts: ClassVar[LikelihoodFacts] = LikelihoodFacts(
        domain="reals", discrete=False, standardized=True, baselines=("gaussian", "gaussian_mixture")
    )

    loc: Tensor
    weight: Tensor
    log_scale: Tensor

    def __init__(self, components: int, latent_dim: int, event_shape: tuple[int, ...], left_open: bool = False):
        super().__init__()
        self.event_shape, self.left_open = event_shape, left_open
        columns = math.prod(event_shape)
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
        k = number_of(c, len(self.loc))
        loc = self.loc[k] + matrix_of_each(self.weight, k, zeta)
        loc, scale = (t.unflatten(-1, self.event_shape) for t in (loc, self.log_scale[k].exp()))
        of_each = _Observed(loc, scale, validate_args=False)
        return Independent(of_each, len(self.event_shape), validate_args=False)


class _Observed(Normal):
    """A Gaussian in which NaN is an entry that is not observed, of log-probability 0."""

    def log_prob(self, value: Tensor) -> Tensor:
        missing = value.isnan()
        return torch.where(missing, 0.0, super().log_prob(torch.where(missing, 0.0, value)))

    def expand(self, batch_shape: _size, _instance: Distribution | None = None) -> _Observed:
        return _Observed(self.loc.expand(batch_shape), self.scale.expand(batch_shape), validate_args=False)


class ExactPosterior(SizedByFit):
    """q(ζ, c | x_obs) = p(c | x_obs) p(ζ | c, x_obs), from π, b, W and ψ of its own.

    Arguments:
        components: K.
        latent_dim: L.
        columns: D.

    Returns (when called with x (B, *event), of D numbers):
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
        return posterior_of(context.flatten(1), Components(self.logits, self.loc, self.weight, self.log_scale))


def _parts(model: LatentVariableModel) -> tuple[ClustersAndFactors, GivenClusterAndFactors, ExactPosterior]:
    p, likelihood, q = model.prior, model.likelihood, model.posterior
    if not (
        isinstance(p, ClustersAndFactors)
        and isinstance(likelihood, GivenClusterAndFactors)
        and isinstance(q, ExactPosterior)
    ):
        raise ValueError(
            f"A mixture of factor analysers was expected and got the likelihood {type(likelihood).__name__}; build "
            "the model with mixture_of_factor_analysers()."
        )
    return p, likelihood, q


RECIPE = Recipe(
    name="mixture-of-factor-analysers",
    cites=("ghahramani1996em",),
    make=mixture_of_factor_analysers,
    defaults={"objective": "elbo", "gradient": "score-function", "num_samples": 2, "steps": 0, "log_columns": "auto"},
    start=start_mixture_of_factor_analysers,
    likelihood="normal:scale=per-dimension",
)
