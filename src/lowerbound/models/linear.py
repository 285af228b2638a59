"""Linear latent variable models x = W z + b + σ ε as instances of `LatentVariableModel`; data of any shape are
flattened.

=================  ======================  ======================  ====================================
recipe             p(z)                    σ                       q(z | x)
=================  ======================  ======================  ====================================
factor_analysis    N(0, I)                 one for each element    the exact posterior, N(A x + c, S)
probabilistic_pca  N(0, I)                 one for all             the exact posterior
linear_ica         Laplace, variance 1     one for all             a Gaussian computed by a net
=================  ======================  ======================  ====================================

They are those of Jöreskog (1967; Rubin & Thayer 1982), Tipping & Bishop (1999), and Lewicki & Sejnowski (2000). The
first two are fitted exactly by `start_factor_analysis` and `start_probabilistic_pca`, which write the maximum of
the likelihood and its posterior into the model: no training is needed. `start_linear_ica` starts at the directions of
noiseless ICA; variational training follows, because the posterior has no closed form (Girolami 2001). The posterior has
its own tensors of fixed shapes, so that it is exact after saving and loading.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from lowerbound import likelihoods, posteriors
from lowerbound.exact import AffineNormal, LinearGaussian
from lowerbound.likelihoods.location_scale import Scale
from lowerbound.linear import Iteration, fit_factor_analysis, fit_independent_components, fit_probabilistic_pca
from lowerbound.losses import Loss
from lowerbound.model import LatentVariableModel
from lowerbound.models.recipe import Recipe
from lowerbound.nets import MLP, raw_of
from lowerbound.priors import StandardNormal
from lowerbound.priors.laplace import Laplace
from lowerbound.protocols import Context

__all__ = [
    "RECIPES",
    "FlatAffineNormal",
    "factor_analysis",
    "linear_ica",
    "probabilistic_pca",
    "set_linear_gaussian",
    "start_factor_analysis",
    "start_linear_ica",
    "start_probabilistic_pca",
]

_ROUNDING = 1e-5  # nats
_MIN_SCALE, _SMALLEST_FIT = 5e-4, 1e-3  # a fit keeps above the floor of the likelihood; both in the units of x


class FlatAffineNormal(AffineNormal):
    """`AffineNormal` for data of any shape, which are flattened.

    Arguments:
        event_shape: shape of one datum.
        latent_dim: length of z. It starts at the prior.
    """

    def __init__(self, event_shape: Sequence[int], latent_dim: int):
        weight = torch.zeros(latent_dim, math.prod(event_shape))
        super().__init__(weight, torch.zeros(latent_dim), scale_tril=torch.eye(latent_dim))
        self.event_ndim = len(tuple(event_shape))

    def forward(self, context: Context | None = None) -> Distribution:
        """q(z | context)."""
        assert isinstance(context, Tensor)
        return super().forward(context.flatten(-self.event_ndim))

    @torch.no_grad()
    def is_exact_for(self, model: LatentVariableModel) -> bool:
        """Whether it is p(z | x) of a linear Gaussian model up to rounding: KL(q ‖ p) of rows that the model draws is
        below 10⁻⁵ nats on average.
        """
        if self.scale_tril is None or not isinstance(model.prior, StandardNormal):
            return False
        try:
            of = LinearGaussian.of(cast(nn.Module, model.likelihood))
        except ValueError:
            return False
        exact = LinearGaussian(of.weight.double(), of.offset.double(), of.scale.double())
        return _mean_divergence(self, self.scale_tril.tril().double(), exact) < _ROUNDING


def factor_analysis(event_shape: Sequence[int], *, latent_dim: int = 2) -> LatentVariableModel:
    """Factor analysis: a separate noise for each element.

    Arguments:
        event_shape: shape of one datum.
        latent_dim: L, at most the number of elements.

    Raises:
        ValueError: a latent_dim out of range.

    >>> factor_analysis((8, 8), latent_dim=3).sample(5).shape
    torch.Size([5, 8, 8])
    """
    return _linear_gaussian(tuple(event_shape), latent_dim, "per-dimension")


def probabilistic_pca(event_shape: Sequence[int], *, latent_dim: int = 2) -> LatentVariableModel:
    """Probabilistic PCA: one noise for all elements. Arguments as `factor_analysis`, L less than the elements."""
    return _linear_gaussian(tuple(event_shape), latent_dim, "shared")


def linear_ica(
    event_shape: Sequence[int], *, latent_dim: int = 2, hidden: Sequence[int] = (64,)
) -> LatentVariableModel:
    """Noisy ICA: Laplace sources, a linear likelihood with one noise, and q(z | x) a full Gaussian.

    Arguments:
        event_shape: shape of one datum.
        latent_dim: L, at most the number of elements.
        hidden: widths of the hidden layers of the net of q.

    >>> linear_ica((6,), latent_dim=3).sample(5).shape
    torch.Size([5, 6])
    """
    shape = tuple(event_shape)
    _check(latent_dim, math.prod(shape))
    outputs = posteriors.FullNormal.parameter_shape(latent_dim)
    return LatentVariableModel(
        prior=Laplace(latent_dim),
        likelihood=_likelihood(shape, latent_dim, "shared"),
        posterior=posteriors.FullNormal(MLP(shape, tuple(hidden), outputs, nn.Tanh), latent_dim),
    )


def start_factor_analysis(loss: Loss, x: Tensor, *, seed: int) -> None:
    """Fit the model of a loss to rows x (N, *event) by maximum likelihood; missing entries (NaN) are integrated out."""
    _fit(loss, x, fit_factor_analysis)


def start_probabilistic_pca(loss: Loss, x: Tensor, *, seed: int) -> None:
    """The same for probabilistic PCA, in closed form."""
    _fit(loss, x, fit_probabilistic_pca)


def start_linear_ica(loss: Loss, x: Tensor, *, seed: int) -> None:
    """Start at the directions of noiseless ICA of rows x (N, *event), and at the residual noise."""
    model = loss.model
    layer, likelihood = _parts(model)
    rows = x.flatten(1).double()
    *_, fit = fit_independent_components(rows, layer.in_features, max_iterations=100, tolerance=1e-3, seed=seed)
    sources = fit.components.sources(rows)
    scale = fit.components.noise_scale if layer.in_features < layer.out_features else rows.std(0).mean() * 0.1
    with torch.no_grad():
        layer.weight.copy_(fit.components.mixing * sources.std(0))
        layer.bias.copy_(fit.components.offset)
        likelihood.raw_scale.copy_(raw_of(scale.clamp_min(_SMALLEST_FIT), _MIN_SCALE))


@torch.no_grad()
def set_linear_gaussian(model: LatentVariableModel, exact: LinearGaussian) -> None:
    """Write W, b, σ and the exact posterior into a model made by `factor_analysis` or `probabilistic_pca`."""
    layer, likelihood = _parts(model)
    q, posterior = model.posterior, exact.posterior_module()
    assert isinstance(q, AffineNormal)
    assert q.scale_tril is not None
    assert posterior.scale_tril is not None
    layer.weight.copy_(exact.weight)
    layer.bias.copy_(exact.offset)
    likelihood.raw_scale.copy_(raw_of(exact.scale, _MIN_SCALE).reshape(likelihood.raw_scale.shape))
    for mine, theirs in ((q.weight, posterior.weight), (q.offset, posterior.offset)):
        mine.copy_(theirs)
    q.scale_tril.copy_(posterior.scale_tril)


def _mean_divergence(q: AffineNormal, root: Tensor, exact: LinearGaussian) -> float:
    """E[KL(N(A x + c, C Cᵀ) ‖ p(z | x))] of rows x of the linear Gaussian model, nats.

    With M the precision of p(z | x) and Δ the difference of both means, a linear function of x = b + W z + σ ε, it is
    ½ [tr(M C Cᵀ) − L − log|M C Cᵀ| + E[Δᵀ M Δ]].
    """
    theirs, precision = exact.posterior_module(), exact.posterior_precision
    slope, at = q.weight.double() - theirs.weight, q.offset.double() - theirs.offset
    moved = torch.cat([(slope @ exact.offset + at)[:, None], slope @ exact.weight, slope * exact.scale], 1)
    spread = precision @ root @ root.mT
    width = spread.diagonal().sum() - len(spread) - torch.logdet(spread)
    return 0.5 * (width + (moved * (precision @ moved)).sum()).item()


def _fit(loss: Loss, x: Tensor, fit: Callable[..., Iterator[Iteration]]) -> None:
    layer, _ = _parts(loss.model)
    *_, last = fit(x.flatten(1).double(), layer.in_features, min_scale=_SMALLEST_FIT)
    set_linear_gaussian(loss.model, last.exact)


def _linear_gaussian(shape: tuple[int, ...], latent_dim: int, scale: Scale) -> LatentVariableModel:
    _check(latent_dim, math.prod(shape) - (scale == "shared"))
    return LatentVariableModel(
        prior=StandardNormal(latent_dim),
        likelihood=_likelihood(shape, latent_dim, scale),
        posterior=FlatAffineNormal(shape, latent_dim),
    )


def _likelihood(shape: tuple[int, ...], latent_dim: int, scale: Scale) -> likelihoods.Normal:
    return likelihoods.Normal(MLP(latent_dim, [], shape), scale=scale, min_scale=_MIN_SCALE)


def _parts(model: LatentVariableModel) -> tuple[nn.Linear, likelihoods.Normal]:
    likelihood = model.likelihood
    assert isinstance(likelihood, likelihoods.Normal)
    assert isinstance(likelihood.net, MLP)
    layer = likelihood.net.layers[0]
    assert isinstance(layer, nn.Linear)
    return layer, likelihood


def _check(latent_dim: int, most: int) -> None:
    if not 1 <= latent_dim <= most:
        raise ValueError(f"latent_dim is {latent_dim} and must be between 1 and {most} for data of this shape.")


_EXACT = {"objective": "elbo", "steps": 0}

RECIPES = (
    Recipe(
        name="factor-analysis",
        cites=("joreskog1967some", "rubin1982em"),
        make=factor_analysis,
        defaults=_EXACT,
        start=start_factor_analysis,
        likelihood="normal:scale=per-dimension",
    ),
    Recipe(
        name="probabilistic-pca",
        cites=("tipping1999probabilistic",),
        make=probabilistic_pca,
        defaults=_EXACT,
        start=start_probabilistic_pca,
        likelihood="normal",
    ),
    Recipe(
        name="linear-ica",
        cites=("lewicki2000learning",),
        make=linear_ica,
        defaults={"objective": "elbo"},
        start=start_linear_ica,
        likelihood="normal",
    ),
)
