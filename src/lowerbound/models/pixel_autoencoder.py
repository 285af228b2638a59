"""PixelVAE: a variational autoencoder whose pixels see those before them (Gulrajani et al. 2017, arXiv:1611.05013).

    z ~ p(z)        p(x | z) = Π_d p(x_d | x_<d, c(z))        q(z | x)

z says what the image is of and the causal net fills in its detail. That net models detail so well that z tends to stay
unused (rate near 0): look at the rate, not at the bound alone. What keeps z in use: a warm-up of the rate, which the
recipe has; `position_dropout`; a causal net that sees little (`layers`); the loss `auxiliary`.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from lowerbound.model import LatentVariableModel
from lowerbound.models.parts import Activation
from lowerbound.models.recipe import Recipe
from lowerbound.models.variational_autoencoder import Network, vae
from lowerbound.nets.site_net import CausalNetwork
from lowerbound.spelling import outer, spelled

__all__ = ["RECIPE", "pixel_vae"]


def pixel_vae(
    event_shape: Sequence[int],
    *,
    latent_dim: int = 16,
    likelihood: str = "bernoulli",
    prior: str | nn.Module = "standard-normal",
    posterior: str | nn.Module = "diagonal-normal",
    causal: CausalNetwork = "convolution",
    channels: int = 16,
    layers: int = 4,
    kernel: int = 3,
    position_dropout: float = 0.0,
    context_channels: int = 8,
    network: Network = "mlp",
    hidden: Sequence[int] = (128,),
    activation: Activation = "relu",
) -> LatentVariableModel:
    """A model of images with an autoregressive likelihood.

    Arguments:
        event_shape: (height, width) or (channels, height, width).
        latent_dim: length of z.
        likelihood: of one pixel given those before it and z; name of a class of `likelihoods`, with options.
        prior: as for `vae`.
        posterior: as for `vae`.
        causal: the net that reads x: "convolution" or "transformer".
        channels: width of its layers.
        layers: how many.
        kernel: of a convolution.
        position_dropout: the probability that a pixel is hidden from later ones while training.
        context_channels: channels of the map c(z).
        network: of the nets from x to q(z | x) and from z to c, as for `vae`.
        hidden: their widths, from the data to z.
        activation: their nonlinearity.

    Raises:
        ValueError: data that are no images, an unknown name or option, or sizes that do not fit.

    >>> pixel_vae((8, 8), latent_dim=2, channels=4, layers=2, hidden=[16]).sample(5).shape
    torch.Size([5, 8, 8])
    """
    options = {
        "site": outer(likelihood),
        "network": causal,
        "channels": channels,
        "layers": layers,
        "kernel": kernel,
        "position_dropout": position_dropout,
        "context_channels": context_channels,
    }
    return vae(
        event_shape,
        latent_dim=latent_dim,
        prior=prior,
        likelihood=spelled("autoregressive", options),
        posterior=posterior,
        network=network,
        hidden=hidden,
        activation=activation,
    )


RECIPE = Recipe(
    name="pixel-vae",
    cites=("gulrajani2017pixelvae",),
    make=pixel_vae,
    defaults={
        "objective": "beta-elbo:beta=1.0,rate=kl,warmup=1000",
        "compile": False,  # a graph takes minutes to make and saves a few hundredths of a step
    },
)
