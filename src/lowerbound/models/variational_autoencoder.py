"""The variational autoencoder: one stochastic layer between two nets (Kingma & Welling 2013, arXiv:1312.6114).

A short function that chooses one part for each axis. Its arguments are plain values, so that a run folder can hold them
and the function can be called again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias, cast

import torch
from torch import Tensor, nn

from lowerbound import likelihoods, posteriors, priors
from lowerbound import missingness as missingness_models
from lowerbound.model import LatentVariableModel, require_distribution
from lowerbound.models.parts import Activation, nonlinearity, outputs_of, seen_by, view_of, widths_of
from lowerbound.models.recipe import Recipe
from lowerbound.nets import MLP, Convolution, SkipMLP, TransposedConvolution
from lowerbound.protocols import Conditional
from lowerbound.randomness import forked
from lowerbound.spelling import construct
from lowerbound.weights import latents_of

__all__ = ["RECIPE", "Activation", "Network", "vae"]

Network: TypeAlias = Literal["mlp", "convolution", "skip"]


def vae(
    event_shape: Sequence[int],
    *,
    latent_dim: int = 16,
    prior: str | nn.Module = "standard-normal",
    likelihood: str | nn.Module = "bernoulli",
    posterior: str | nn.Module = "diagonal-normal",
    network: Network | nn.ModuleDict = "mlp",
    hidden: Sequence[int] | None = None,
    activation: Activation = "relu",
    missingness: str | None = None,
) -> LatentVariableModel:
    """A model of data of one shape, with the same widths in both nets, mirrored.

    Arguments:
        event_shape: shape of one datum; (height, width) or (channels, height, width) for a convolutional network.
        latent_dim: length of z.
        prior: name of a class of `priors`, with options (see `spelling`), or a module.
        likelihood: of `likelihoods`, or a module from z to p(x | z).
        posterior: of `posteriors`, or a module from x to q(z | x).
        network: "mlp", "convolution", or "skip" for a perceptron whose decoder reads z in every layer; or nets of one's
            own, `nn.ModuleDict({"encoder": …, "decoder": …})`, which end in the shapes that posterior and likelihood
            take, such as (rows, 2, latent_dim) and (rows, *event_shape); they set `hidden` and `activation` aside.
        hidden: widths of the hidden layers of a perceptron, or channels of a convolutional net, from the data to z;
            None for 256 and 256, or 32, 64, … channels, see `parts.widths_of`.
        activation: nonlinearity.
        missingness: name of a class of `missingness`, p(s | x) of which entries of a table are missing; None where gaps
            do not depend on the values that they hide. It is for the likelihood `mixed`.

    Raises:
        ValueError: an unknown name or option, or a network that does not fit the data.

    >>> vae((8, 8), latent_dim=2, hidden=[32]).sample(5).shape
    torch.Size([5, 8, 8])
    """
    shape, nonlinear = tuple(event_shape), nonlinearity(activation)
    sizes = tuple(widths_of(network, shape) if hidden is None else hidden)
    if latent_dim < 1:
        raise ValueError(f"latent_dim is {latent_dim} and must be at least 1.")
    q = posterior
    if isinstance(q, str):
        outputs = outputs_of(posteriors, q, latent_dim)
        view = view_of(likelihood, shape)
        encoder = seen_by(view, lambda seen: _encoder(network, seen, sizes, outputs, nonlinear), shape)
        q = construct(posteriors, q, net=encoder, latent_dim=latent_dim, latent_shape=latent_dim)
    p = prior
    if isinstance(p, str):
        p = construct(priors, p, latent_dim=latent_dim, latent_shape=latent_dim, event_shape=shape, posterior=q)
    x_given_z = likelihood
    if isinstance(x_given_z, str):
        outputs = outputs_of(likelihoods, x_given_z, shape)
        decoder = _decoder(network, _latent_shape(q, shape), sizes[::-1], outputs, nonlinear)
        x_given_z = construct(likelihoods, x_given_z, net=decoder, event_shape=shape)
    if missingness is not None:
        _model_gaps(x_given_z, missingness)
    return LatentVariableModel(prior=p, likelihood=x_given_z, posterior=q)


def _model_gaps(likelihood: object, words: str) -> None:
    """Give a likelihood of columns the missingness that the words describe."""
    if not isinstance(likelihood, likelihoods.Mixed):
        raise ValueError(
            f"missingness is {words[:40]!r} and the likelihood {type(likelihood).__name__}, which takes no gaps; "
            "missingness is for tables with gaps under the likelihood mixed: leave it out, or leave the likelihood out."
        )
    likelihood.take_missingness(construct(missingness_models, words, likelihood=likelihood))


@torch.no_grad()
def _latent_shape(q: Conditional, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The event shape of z: (latent_dim,), or (latent_dim, K) for categorical latents."""
    with forked(torch.device("cpu"), 0):
        posterior = q(torch.ones(1, *shape))  # which every likelihood takes: 0 has no logarithm
        require_distribution(posterior, "posterior")
        return tuple(cast(Tensor, latents_of(posterior, posterior.sample())).shape[1:])


def _encoder(
    network: Network | nn.ModuleDict,
    shape: tuple[int, ...],
    hidden: tuple[int, ...],
    outputs: tuple[int, ...],
    a: type[nn.Module],
) -> nn.Module:
    if isinstance(network, nn.ModuleDict):
        return _own(network, "encoder")
    if network in ("mlp", "skip"):
        return MLP(shape, hidden, outputs, a)
    if network == "convolution":
        return Convolution(shape, hidden, outputs, activation=a)
    raise ValueError(f"network is {network!r}; choose mlp, convolution or skip.")


def _decoder(
    network: Network | nn.ModuleDict,
    latent: tuple[int, ...],
    hidden: tuple[int, ...],
    outputs: tuple[int, ...],
    a: type[nn.Module],
) -> nn.Module:
    if isinstance(network, nn.ModuleDict):
        return _own(network, "decoder")
    if network == "mlp":
        return MLP(latent, hidden, outputs, a)
    if network == "skip":
        return SkipMLP(latent, hidden, outputs, a)
    if len(latent) != 1:
        raise ValueError(f"A convolutional decoder takes vectors and this z has shape {latent}; use network='mlp'.")
    return TransposedConvolution(latent[0], hidden, outputs, activation=a)


def _own(nets: nn.ModuleDict, part: str) -> nn.Module:
    if set(nets) != {"encoder", "decoder"}:
        raise ValueError(f"network holds {', '.join(nets) or 'no net'}; give the two nets 'encoder' and 'decoder'.")
    return nets[part]


RECIPE = Recipe(name="vae", cites=("kingma2014auto",), make=vae)
