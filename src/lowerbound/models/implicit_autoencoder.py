"""Autoencoders whose posterior need have no density: adversarial variational Bayes and the adversarial autoencoder.

    z = g(x, ε), ε ~ N(0, I)        x ~ p(x | z)        z ~ N(0, I)

`avb` (Mescheder, Nowozin & Geiger 2017, arXiv:1701.04722) estimates the ELBO: a discriminator of pairs (x, z) learns
how q(z | x) differs from a Gaussian with its moments (`gradients.DensityRatio`). `aae` (Makhzani et al. 2015,
arXiv:1511.05644) matches the latents of all data to the prior by a discriminator of latents alone
(`gradients.AggregateRatio`).

Both train by an estimate that is no bound: the weights of the last step are kept, and `evaluate --annealed` gives the
bound of log p(x) to compare models by.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lowerbound.model import LatentVariableModel
from lowerbound.models.recipe import Recipe
from lowerbound.models.variational_autoencoder import Activation, Network, vae

__all__ = ["RECIPES", "aae", "avb"]


def avb(
    event_shape: Sequence[int],
    *,
    latent_dim: int = 16,
    noise_dim: int = 16,
    likelihood: str = "bernoulli",
    network: Network = "mlp",
    hidden: Sequence[int] | None = None,
    activation: Activation = "relu",
) -> LatentVariableModel:
    """A variational autoencoder with a posterior that is given by draws.

    Arguments:
        event_shape: shape of one datum; (height, width) or (channels, height, width) for a convolutional network.
        latent_dim: length of z.
        noise_dim: length of the noise that the encoder reads besides x, at least 1.
        likelihood: of `likelihoods`, by name.
        network: "mlp", "convolution" or "skip", as for `vae`.
        hidden: widths of the hidden layers, or channels of a convolutional net, from the data to z; None as for `vae`.
        activation: nonlinearity.

    Raises:
        ValueError: no noise, an unknown name or option, or a network that does not fit the data.

    >>> avb((8, 8), latent_dim=2, noise_dim=3, hidden=[16]).sample(5).shape
    torch.Size([5, 8, 8])
    """
    if noise_dim < 1:
        raise ValueError(
            f"avb got noise_dim={noise_dim} and needs at least 1, for a posterior without noise has an infinite rate; "
            "the recipe aae takes 0."
        )
    return vae(
        event_shape,
        latent_dim=latent_dim,
        likelihood=likelihood,
        posterior=f"implicit:noise_dim={noise_dim}",
        network=network,
        hidden=hidden,
        activation=activation,
    )


def aae(
    event_shape: Sequence[int],
    *,
    latent_dim: int = 8,
    noise_dim: int = 0,
    posterior: str = "implicit",
    likelihood: str = "bernoulli",
    network: Network = "mlp",
    hidden: Sequence[int] | None = None,
    activation: Activation = "relu",
) -> LatentVariableModel:
    """An autoencoder whose latents, over all data, are distributed like the prior.

    Arguments:
        event_shape: shape of one datum; (height, width) or (channels, height, width) for a convolutional network.
        latent_dim: length of z.
        noise_dim: length of the noise that the encoder reads besides x; 0 for a deterministic encoder.
        posterior: "implicit", or another of `posteriors`: with one that has a density, such as diagonal-normal, the
            fitted model has a bound (`evaluate`), although training has none; noise_dim is then unused and must be 0.
        likelihood: of `likelihoods`, by name.
        network: "mlp", "convolution" or "skip", as for `vae`.
        hidden: widths of the hidden layers, or channels of a convolutional net, from the data to z; None as for `vae`.
        activation: nonlinearity.

    Raises:
        ValueError: noise_dim with another posterior, an unknown name or option, or a network that does not fit.

    >>> aae((8, 8), latent_dim=2, hidden=[16]).sample(5).shape
    torch.Size([5, 8, 8])
    """
    if posterior != "implicit" and noise_dim:
        raise ValueError(f"aae got noise_dim={noise_dim} with the posterior {posterior!r}; it is for 'implicit' alone.")
    return vae(
        event_shape,
        latent_dim=latent_dim,
        likelihood=likelihood,
        posterior=f"implicit:noise_dim={noise_dim}" if posterior == "implicit" else posterior,
        network=network,
        hidden=hidden,
        activation=activation,
    )


_DEFAULTS: dict[str, Any] = {"objective": "elbo", "num_samples": 1}
RECIPES = (
    Recipe(
        name="avb", cites=("mescheder2017adversarial",), make=avb, defaults={**_DEFAULTS, "gradient": "density-ratio"}
    ),
    Recipe(
        name="aae", cites=("makhzani2015adversarial",), make=aae, defaults={**_DEFAULTS, "gradient": "aggregate-ratio"}
    ),
)
