"""An autoencoder of counts that starts at independent negative binomials, so that training only adds dependence.

    z ~ N(0, I),      x_d | z ~ NB(mean m_d exp(f_d(z)), inverse dispersion r_d)

The autoencoder is that of Kingma & Welling (2013, arXiv:1312.6114). The encoder sees log(1 + x) in standard units and
the decoder has a log link (`nets.log_link`), so that both nets see a count of ten thousand as a number of about ten.
`start_at_columns` sets m_d to the means, r_d to their maximum-likelihood values, and f to nearly 0: the bound is then
about that of independent columns.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lowerbound.likelihoods import NegativeBinomial
from lowerbound.likelihoods.negative_binomial import best_dispersion
from lowerbound.losses import Loss
from lowerbound.model import LatentVariableModel
from lowerbound.models.recipe import Recipe
from lowerbound.nets import MLP, raw_of
from lowerbound.nets.log_link import LogLink, StandardizedLog1p
from lowerbound.posteriors import DiagonalNormal
from lowerbound.priors import StandardNormal

__all__ = ["RECIPE", "count_autoencoder", "start_at_columns"]

_ROWS, _SMALL = 5000, 0.1


def count_autoencoder(
    event_shape: Sequence[int], *, latent_dim: int = 10, hidden: Sequence[int] = (128,), dropout: float = 0.0
) -> LatentVariableModel:
    """A model of rows of counts; run `start_at_columns` before training it.

    Arguments:
        event_shape: (columns,).
        latent_dim: length of z.
        hidden: widths of the hidden layers from the data to z, mirrored back.
        dropout: the fraction of the inputs of the encoder that are dropped in training.

    Raises:
        ValueError: rows that are not vectors, no latent, or a dropout that is no fraction.

    >>> count_autoencoder((12,), latent_dim=3, hidden=[16]).sample(5).shape
    torch.Size([5, 12])
    """
    shape = tuple(event_shape)
    if len(shape) != 1 or latent_dim < 1:
        raise ValueError(f"count_autoencoder got rows of shape {shape} and latent_dim={latent_dim}; it takes vectors.")
    if not 0 <= dropout < 1:
        raise ValueError(f"count_autoencoder got dropout={dropout:g}, a fraction from 0 to below 1; leave it out.")
    encoder = MLP(shape, tuple(hidden), (2, latent_dim))
    if dropout:
        encoder.layers.insert(0, nn.Dropout(dropout))
    decoder = MLP(latent_dim, tuple(hidden)[::-1], shape)
    return LatentVariableModel(
        prior=StandardNormal(latent_dim),
        likelihood=NegativeBinomial(LogLink(decoder), event_shape=shape),
        posterior=DiagonalNormal(StandardizedLog1p(encoder, shape), latent_dim),
    )


@torch.no_grad()
def start_at_columns(loss: Loss | LatentVariableModel, x: Float[Tensor, "row column"], *, seed: int = 0) -> None:
    """Start the model of a loss, made by `count_autoencoder`, at independent columns fitted to counts x."""
    model = loss.model if isinstance(loss, Loss) else loss
    likelihood, posterior = model.likelihood, model.posterior
    assert isinstance(likelihood, NegativeBinomial)
    assert isinstance(posterior, DiagonalNormal)
    assert isinstance(likelihood.net, LogLink)
    assert isinstance(posterior.net, StandardizedLog1p)
    likelihood.net.initialize(x)
    posterior.net.initialize(x)
    r = best_dispersion(x[:_ROWS].to(likelihood.net.mean), likelihood.net.mean)
    likelihood.raw_inverse_dispersion.copy_(raw_of(r, likelihood.min_rate))
    last = likelihood.net.net.layers[-1]  # type: ignore[union-attr]
    assert isinstance(last, nn.Linear)
    last.weight.mul_(_SMALL)
    last.bias.zero_()


RECIPE = Recipe(
    name="counts",
    cites=("kingma2014auto",),
    make=count_autoencoder,
    defaults={"objective": "elbo:rate=kl", "clip_norm": 50.0, "steps": 1500},
    start=start_at_columns,
    likelihood="negative-binomial",
)
