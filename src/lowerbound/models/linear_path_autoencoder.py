"""An autoencoder of tables that starts at factor analysis, with a linear path beside the net in encoder and decoder.

    z ~ N(0, I),      x | z ~ N(W z + b + f(z), diag σ(z)²),      q(z | x) = N(A x + c + g(x), diag s(x)²)

The autoencoder is that of Kingma & Welling (2013, arXiv:1312.6114), the start that of Jöreskog (1967).
`start_at_factor_analysis` fits W, b and σ by maximum likelihood, sets A, c and s to the best factorised posterior, and
f and g to nearly 0 (`nets.linear_path`).
"""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from lowerbound.exact import LinearGaussian
from lowerbound.likelihoods import Normal
from lowerbound.linear import fit_factor_analysis
from lowerbound.losses import Loss
from lowerbound.model import LatentVariableModel
from lowerbound.models.recipe import Recipe
from lowerbound.nets import MLP, raw_of
from lowerbound.nets.linear_path import LinearPath
from lowerbound.posteriors import DiagonalNormal
from lowerbound.priors import StandardNormal

__all__ = ["RECIPE", "linear_path_autoencoder", "start_at_factor_analysis"]

_SMALLEST = 1e-2


def linear_path_autoencoder(
    event_shape: Sequence[int], *, latent_dim: int = 2, hidden: Sequence[int] = (64, 64)
) -> LatentVariableModel:
    """A model of tables; run `start_at_factor_analysis` before training it.

    Arguments:
        event_shape: (columns,).
        latent_dim: length of z, less than the number of columns.
        hidden: widths of the hidden layers from the data to z, mirrored back.

    Raises:
        ValueError: rows that are not vectors, or a latent_dim out of range.

    >>> linear_path_autoencoder((6,), latent_dim=2, hidden=[8]).sample(5).shape
    torch.Size([5, 6])
    """
    shape = tuple(event_shape)
    if len(shape) != 1 or not 1 <= latent_dim < shape[0]:
        raise ValueError(
            f"linear_path_autoencoder got rows of shape {shape} and latent_dim={latent_dim}; it takes vectors that are "
            "longer than latent_dim."
        )
    decoder = MLP(latent_dim, tuple(hidden)[::-1], (2, shape[0]), nn.SiLU)
    encoder = MLP(shape, tuple(hidden), (2, latent_dim), nn.SiLU)
    return LatentVariableModel(
        prior=StandardNormal(latent_dim),
        likelihood=Normal(LinearPath(decoder), scale="heteroscedastic"),
        posterior=DiagonalNormal(LinearPath(encoder)),
    )


def start_at_factor_analysis(
    loss: Loss | LatentVariableModel, x: Float[Tensor, "row column"], *, seed: int = 0
) -> LinearGaussian:
    """Start the model of a loss, made by `linear_path_autoencoder`, at factor analysis of x, and return that fit."""
    model = loss.model if isinstance(loss, Loss) else loss
    likelihood, posterior = model.likelihood, model.posterior
    assert isinstance(likelihood, Normal)
    assert isinstance(posterior, DiagonalNormal)
    decoder, encoder = likelihood.net, posterior.net
    assert isinstance(decoder, LinearPath)
    assert isinstance(encoder, LinearPath)
    *_, last = fit_factor_analysis(x.double(), encoder.out_shape[1], min_scale=_SMALLEST)
    exact, q = last.exact, last.exact.posterior_module(diagonal=True)
    assert q.log_scale is not None
    decoder.start_at(exact.weight, exact.offset, raw_of(exact.scale, likelihood.min_scale))
    encoder.start_at(q.weight.detach(), q.offset.detach(), raw_of(q.log_scale.detach().exp(), posterior.min_scale))
    return exact


RECIPE = Recipe(
    name="linear-path",
    cites=("kingma2014auto", "joreskog1967some"),
    make=linear_path_autoencoder,
    defaults={"clip_norm": 20.0},
    start=start_at_factor_analysis,
    likelihood="normal:scale=heteroscedastic",
)
