"""Autoencoders with discrete codes and a prior of the codes: FSQ (Mentzer et al. 2023,
arXiv:2309.15505) and VQ-VAE (van den Oord et al. 2017, arXiv:1711.00937).

    first stage     x → vectors f_n(x) → codes k_n → p(x | k),  with p(k) uniform
    second stage    p(k) autoregressive over the positions n, fitted to the codes of the training rows

Of an image the codes are a map, half as high and wide for every entry of `hidden`. Of other rows they are `latent_dim`
codes of nets of full layers. log p(x, k*) is a bound of log p(x) in both stages, and the second raises it by what the
codes have to do with each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias, cast

import torch
from torch import Tensor, nn

from lowerbound import likelihoods, posteriors
from lowerbound.losses import Loss, PriorAlone
from lowerbound.model import LatentVariableModel
from lowerbound.models.parts import Activation, nonlinearity, outputs_of, seen_by, view_of
from lowerbound.models.recipe import Finish, Recipe, Stage, check_passes
from lowerbound.nets import MLP, Embedded, FromMap, ToMap
from lowerbound.nets.maps import map_shape
from lowerbound.nets.site_net import CausalNetwork
from lowerbound.priors import AfterTraining, AutoregressiveMap
from lowerbound.spelling import construct, spelled

__all__ = ["RECIPES", "Network", "fsq", "vq"]

Network: TypeAlias = Literal["convolution", "mlp"]
_ROWS_TO_START_FROM = 1000


def fsq(
    event_shape: Sequence[int],
    *,
    levels: Sequence[int] = (8, 6, 5),
    latent_dim: int = 4,
    likelihood: str = "bernoulli",
    network: Network = "convolution",
    hidden: Sequence[int] = (64, 64),
    activation: Activation = "relu",
    whitened: bool = False,
    prior_channels: int = 64,
    prior_layers: int = 4,
    prior_epochs: int = 100,
    prior_patience: int = 5,
) -> LatentVariableModel:
    """A model with codes on a fixed grid, which has no codebook to learn.

    Arguments:
        event_shape: (height, width) or (channels, height, width) for a convolutional network; any for "mlp".
        levels: of each number of a code; there are Π levels codes.
        latent_dim: how many codes a row has, for "mlp"; of an image they are a map.
        likelihood: of `likelihoods`, by name.
        network: "convolution" or "mlp".
        hidden: channels of the stages, each of which halves the image; or widths of full layers.
        activation: nonlinearity.
        whitened: whether what the encoder gives is whitened over the data (`nets.Whitening`), which keeps most of the
            grid in use; the recipe does.
        prior_channels: width of the net of the prior of codes.
        prior_layers: its layers.
        prior_epochs: passes of the second stage, at most; 0 leaves it out.
        prior_patience: evaluations, one an epoch, without a better held-out bound before it stops.

    Raises:
        ValueError: a level below two, an unknown name or option, or data that are no images for a convolution.

    >>> fsq((8, 8), levels=[3, 3], hidden=[8], prior_channels=4).posterior(torch.ones(5, 8, 8)).sample().shape
    torch.Size([5, 4, 4, 9])
    """
    words = spelled("finite-scalar", {"levels": list(levels), "whitened": whitened})
    return _coded(
        event_shape,
        words,
        latent_dim=latent_dim,
        likelihood=likelihood,
        network=network,
        hidden=hidden,
        activation=activation,
        prior_channels=prior_channels,
        prior_layers=prior_layers,
        prior_epochs=prior_epochs,
        prior_patience=prior_patience,
    )


def vq(
    event_shape: Sequence[int],
    *,
    num_codes: int = 256,
    features: int = 16,
    stages: int = 1,
    codebook: Literal["ema", "gradient"] = "ema",
    normalized: bool = False,
    latent_dim: int = 4,
    likelihood: str = "bernoulli",
    network: Network = "convolution",
    hidden: Sequence[int] = (64, 64),
    activation: Activation = "relu",
    prior_channels: int = 64,
    prior_layers: int = 4,
    prior_epochs: int = 100,
    prior_patience: int = 5,
) -> LatentVariableModel:
    """A model with codes of a learned list.

    Arguments:
        event_shape: (height, width) or (channels, height, width) for a convolutional network; any for "mlp".
        num_codes: how many codes, in each stage.
        features: the length of a code.
        stages: more than one quantises residuals, a code for each stage (`posteriors.ResidualQuantized`).
        codebook: how codes learn: "ema" or "gradient".
        normalized: whether codes have length 1; in one stage.
        latent_dim: how many codes a row has, for "mlp"; of an image they are a map.
        likelihood: of `likelihoods`, by name.
        network: "convolution" or "mlp".
        hidden: channels of the stages, each of which halves the image; or widths of full layers.
        activation: nonlinearity.
        prior_channels: width of the net of the prior of codes.
        prior_layers: its layers.
        prior_epochs: passes of the second stage, at most; 0 leaves it out.
        prior_patience: evaluations, one an epoch, without a better held-out bound before it stops.

    Raises:
        ValueError: sizes that do not go together, an unknown name or option, or data that are no images for a
            convolution.

    >>> vq((8, 8), num_codes=9, features=4, hidden=[8], prior_channels=4).posterior(torch.ones(5, 8, 8)).sample().shape
    torch.Size([5, 4, 4, 9])
    """
    options: dict[str, Any] = {"num_codes": num_codes, "features": features, "update": codebook}
    if stages == 1:
        words = spelled("vector-quantized", {**options, "normalized": normalized})
    elif normalized:
        raise ValueError(f"vq got stages={stages} and normalized=True; residuals have no length of 1: leave one out.")
    else:
        words = spelled("residual-quantized", {**options, "stages": stages})
    return _coded(
        event_shape,
        words,
        latent_dim=latent_dim,
        likelihood=likelihood,
        network=network,
        hidden=hidden,
        activation=activation,
        prior_channels=prior_channels,
        prior_layers=prior_layers,
        prior_epochs=prior_epochs,
        prior_patience=prior_patience,
    )


def _coded(
    event_shape: Sequence[int],
    posterior: str,
    *,
    latent_dim: int,
    likelihood: str,
    network: Network,
    hidden: Sequence[int],
    activation: Activation,
    prior_channels: int,
    prior_layers: int,
    prior_epochs: int,
    prior_patience: int,
) -> LatentVariableModel:
    """The model with a posterior over codes, in words."""
    check_passes(prior_epochs, prior_patience)
    shape, widths, nonlinear = tuple(event_shape), tuple(hidden), nonlinearity(activation)
    if latent_dim < 1:
        raise ValueError(f"latent_dim is {latent_dim} and must be at least 1.")
    by_map = network == "convolution"
    positions = map_shape(shape, len(widths)) if by_map else (latent_dim,)
    of_code = outputs_of(posteriors, posterior, positions)

    def encoder(seen: tuple[int, ...]) -> nn.Module:
        if by_map:
            return ToMap(seen, widths, of_code[:1], nonlinear)
        return MLP(seen, widths, of_code, nonlinear)

    q = construct(posteriors, posterior, net=seen_by(view_of(likelihood, shape), encoder, shape))
    outputs = outputs_of(likelihoods, likelihood, shape)
    back = widths[::-1]
    net = FromMap(of_code[0], back, outputs, nonlinear) if by_map else MLP(of_code, back, outputs, nonlinear)
    return LatentVariableModel(
        prior=AfterTraining(_prior(q.event_shape, prior_channels, prior_layers)),
        likelihood=construct(likelihoods, likelihood, net=Embedded(q, net), event_shape=shape),
        posterior=q,
    )


def _prior(codes: tuple[int, ...], channels: int, layers: int) -> AutoregressiveMap:
    """An autoregressive prior over sites of K codes; stages or bits of a row lie one after another."""
    sites, categories = codes[:-1], codes[-1]
    network: CausalNetwork = "convolution" if len(sites) > 1 and min(sites[-2:]) > 1 else "transformer"
    return AutoregressiveMap(sites, categories, network=network, channels=channels, layers=layers)


def _finish(loss: Loss, x: Tensor, options: Mapping[str, Any]) -> Stage:
    """The second stage: the prior starts at the frequencies of the codes of some rows, or as another fit left it."""
    prior = cast(AfterTraining, loss.model.prior)
    if not prior.is_fitted:
        with torch.no_grad():
            codes = loss.model.infer(x[:_ROWS_TO_START_FROM]).sample()
        cast(AutoregressiveMap, prior.prior).initialize_from_latents(codes)
    return Stage(
        loss=PriorAlone(loss.model, x[:_ROWS_TO_START_FROM]),
        patience=options["prior_patience"],
        conclude=prior.conclude,
    )


_FINISH = Finish(make=_finish, epochs="prior_epochs", part="prior")
_DEFAULTS = {"objective": "elbo", "gradient": "quantized", "num_samples": 1}
RECIPES = (
    Recipe(
        name="fsq",
        cites=("mentzer2023finite",),
        make=fsq,
        defaults={**_DEFAULTS, "whitened": True},
        finish=_FINISH,
    ),
    Recipe(name="vq", cites=("vandenoord2017neural",), make=vq, defaults=_DEFAULTS, finish=_FINISH),
)
