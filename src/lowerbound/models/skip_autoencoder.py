"""Skip-VAE: an autoencoder in which z enters every layer of the decoder (Dieng et al. 2019, arXiv:1807.04863).

A remedy for latents that stay unused: the mutual information of x and z that the best model of this kind has is at
least that of the best one without skips (ibid., §3).
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from lowerbound.model import LatentVariableModel
from lowerbound.models.parts import Activation
from lowerbound.models.recipe import Recipe
from lowerbound.models.variational_autoencoder import vae

__all__ = ["RECIPE", "skip_vae"]


def skip_vae(
    event_shape: Sequence[int],
    *,
    latent_dim: int = 16,
    prior: str | nn.Module = "standard-normal",
    likelihood: str | nn.Module = "bernoulli",
    posterior: str | nn.Module = "diagonal-normal",
    hidden: Sequence[int] = (256, 256),
    activation: Activation = "relu",
) -> LatentVariableModel:
    """The model of `vae` with a `nets.SkipMLP` for its decoder.

    Arguments:
        event_shape: shape of one datum.
        latent_dim: length of z.
        prior: as for `vae`.
        likelihood: as for `vae`.
        posterior: as for `vae`.
        hidden: widths of the hidden layers from the data to z, mirrored back, one or more.
        activation: nonlinearity.

    Raises:
        ValueError: an unknown name or option, or no hidden layer.

    >>> skip_vae((8, 8), latent_dim=2, hidden=[32]).sample(5).shape
    torch.Size([5, 8, 8])
    """
    return vae(
        event_shape,
        latent_dim=latent_dim,
        prior=prior,
        likelihood=likelihood,
        posterior=posterior,
        network="skip",
        hidden=hidden,
        activation=activation,
    )


RECIPE = Recipe(name="skip-vae", cites=("dieng2019avoiding",), make=skip_vae)
