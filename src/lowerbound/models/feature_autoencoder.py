"""The VAE/GAN (Larsen et al. 2016, arXiv:1512.09300): a VAE whose reconstructions are compared in learned features."""

from __future__ import annotations

from collections.abc import Sequence

from lowerbound.model import LatentVariableModel
from lowerbound.models.recipe import Recipe
from lowerbound.models.variational_autoencoder import Activation, Network, vae

__all__ = ["RECIPE", "vae_gan"]


def vae_gan(
    event_shape: Sequence[int],
    *,
    latent_dim: int = 16,
    likelihood: str = "bernoulli",
    network: Network = "mlp",
    hidden: Sequence[int] | None = None,
    activation: Activation = "relu",
) -> LatentVariableModel:
    """The encoder and the decoder; the discriminator belongs to the loss (`losses.VAEGAN`).

    Arguments:
        event_shape: shape of one datum; (height, width) or (channels, height, width) for a convolutional network.
        latent_dim: length of z.
        likelihood: of `likelihoods`, by name; its mean is what is compared, and what it gives besides does not learn.
        network: "mlp", "convolution" or "skip", as for `vae`.
        hidden: widths of the hidden layers, or channels of a convolutional net, from the data to z; None as for `vae`.
        activation: nonlinearity.

    Raises:
        ValueError: an unknown name or option, or a network that does not fit the data.

    >>> vae_gan((8, 8), latent_dim=2, hidden=[16]).sample(5).shape
    torch.Size([5, 8, 8])
    """
    return vae(
        event_shape,
        latent_dim=latent_dim,
        likelihood=likelihood,
        network=network,
        hidden=hidden,
        activation=activation,
    )


RECIPE = Recipe(
    name="vae-gan",
    cites=("larsen2016autoencoding",),
    make=vae_gan,
    defaults={
        "likelihood": "normal:scale=0.1",  # the mean is compared with x: grey values, not 0 and 1 drawn from them
        "loss": "vaegan",
        "objective": "elbo",
        "gradient": "pathwise",
        "num_samples": 1,
        "lr": 5e-4,
    },
)
