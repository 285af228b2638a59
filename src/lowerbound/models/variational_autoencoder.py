"""The variational autoencoder: one stochastic layer between two nets (Kingma & Welling 2013, arXiv:1312.6114).

A short function that picks a point on the axes. Its arguments are plain values, so that a run folder can hold them
and call it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias, cast

import torch
from torch import Tensor, nn

from lowerbound import likelihoods, posteriors, priors
from lowerbound.model import LatentVariableModel
from lowerbound.models.parts import Activation, nonlinearity, outputs_of
from lowerbound.models.recipe import Recipe
from lowerbound.nets import MLP, Convolution, TransposedConvolution
from lowerbound.protocols import Conditional
from lowerbound.randomness import forked
from lowerbound.spelling import construct
from lowerbound.weights import latents_of

__all__ = ["RECIPE", "Activation", "Network", "vae"]

Network: TypeAlias = Literal["mlp", "convolution"]


def vae(
    event_shape: Sequence[int],
    *,
    latent_dim: int = 16,
    prior: str = "standard-normal",
    likelihood: str = "bernoulli",
    posterior: str = "diagonal-normal",
    network: Network = "mlp",
    hidden: Sequence[int] = (256, 256),
    activation: Activation = "relu",
) -> LatentVariableModel:
    """A model of data of one shape, with the same widths in both nets, mirrored.

    Arguments:
        event_shape: shape of one datum; (height, width) or (channels, height, width) for a convolutional network.
        latent_dim: length of z.
        prior: name of a class of `priors`, with options (see `spelling`).
        likelihood: of `likelihoods`.
        posterior: of `posteriors`.
        network: "mlp" or "convolution".
        hidden: widths of the hidden layers of a perceptron, or channels of a convolutional net, from the data to z.
        activation: nonlinearity.

    Raises:
        ValueError: an unknown name or option, or a network that does not fit the data.

    >>> vae((8, 8), latent_dim=2, hidden=[32]).sample(5).shape
    torch.Size([5, 8, 8])
    """
    shape = tuple(event_shape)
    if latent_dim < 1:
        raise ValueError(f"latent_dim is {latent_dim} and must be at least 1.")
    hidden, nonlinear = tuple(hidden), nonlinearity(activation)
    outputs = outputs_of(posteriors, posterior, latent_dim)
    encoder = _encoder(network, shape, hidden, outputs, nonlinear)
    q = construct(posteriors, posterior, net=encoder, latent_dim=latent_dim)
    p = construct(priors, prior, latent_dim=latent_dim, event_shape=shape, posterior=q)
    outputs = outputs_of(likelihoods, likelihood, shape)
    decoder = _decoder(network, _latent_shape(q, shape), hidden[::-1], outputs, nonlinear)
    x_given_z = construct(likelihoods, likelihood, net=decoder, event_shape=shape)
    return LatentVariableModel(prior=p, likelihood=x_given_z, posterior=q)


@torch.no_grad()
def _latent_shape(q: Conditional, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The event shape of z: (latent_dim,), or (latent_dim, K) for categorical latents."""
    with forked(torch.device("cpu"), 0):
        posterior = q(torch.zeros(1, *shape))
        return tuple(cast(Tensor, latents_of(posterior, posterior.sample())).shape[1:])


def _encoder(
    network: Network, shape: tuple[int, ...], hidden: tuple[int, ...], outputs: tuple[int, ...], a: type[nn.Module]
) -> nn.Module:
    if network == "mlp":
        return MLP(shape, hidden, outputs, a)
    if network == "convolution":
        return Convolution(shape, hidden, outputs, activation=a)
    raise ValueError(f"network is {network!r}; choose mlp or convolution.")


def _decoder(
    network: Network, latent: tuple[int, ...], hidden: tuple[int, ...], outputs: tuple[int, ...], a: type[nn.Module]
) -> nn.Module:
    if network == "mlp":
        return MLP(latent, hidden, outputs, a)
    if len(latent) != 1:
        raise ValueError(f"A convolutional decoder takes vectors and this z has shape {latent}; use network='mlp'.")
    return TransposedConvolution(latent[0], hidden, outputs, activation=a)


RECIPE = Recipe(name="vae", make=vae)
