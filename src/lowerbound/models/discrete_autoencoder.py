"""The discrete VAE: bits with a Boltzmann machine as their prior (Rolfe 2017, arXiv:1609.02200; Vahdat et al. 2018,
arXiv:1802.04920).

    z ~ RBM        ζ_i ~ r(ζ_i | z_i)        x ~ p(x | ζ)        q(z | x) = Π_i Bernoulli(π_i(x))

The decoder reads the smoothed bits ζ, so that the likelihood has a pathwise gradient; KL(q(z | x) ‖ p(z)) is in closed
form (`smoothed`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import nn

from lowerbound import likelihoods
from lowerbound.distributions.smoothed import Smoothing
from lowerbound.model import LatentVariableModel
from lowerbound.models.parts import Activation, nonlinearity, outputs_of, seen_by, view_of
from lowerbound.models.recipe import Recipe
from lowerbound.nets import MLP
from lowerbound.posteriors import SmoothedBernoulli
from lowerbound.priors import RBM, Bernoulli, Smoothed
from lowerbound.spelling import construct

__all__ = ["RECIPE", "dvae"]


def dvae(
    event_shape: Sequence[int],
    *,
    latent_dim: int = 32,
    bits: Literal["rbm", "bernoulli"] = "rbm",
    smoothing: Smoothing = "overlapping",
    beta: float = 5.0,
    likelihood: str = "bernoulli",
    hidden: Sequence[int] = (200, 200),
    activation: Activation = "tanh",
) -> LatentVariableModel:
    """A model with binary latents that are trained by pathwise gradients.

    Arguments:
        event_shape: shape of one datum.
        latent_dim: how many bits; two or more for an RBM.
        bits: their prior: "rbm", or "bernoulli" for independent ones.
        smoothing: "spike" or "overlapping".
        beta: its sharpness.
        likelihood: of `likelihoods`, by name.
        hidden: widths of the hidden layers, from the data to z.
        activation: nonlinearity.

    Raises:
        ValueError: an unknown name or option, or sizes that are too small.

    >>> dvae((8, 8), latent_dim=4, hidden=[16]).sample(5).shape
    torch.Size([5, 8, 8])
    """
    shape, widths, nonlinear = tuple(event_shape), tuple(hidden), nonlinearity(activation)
    least = 2 if bits == "rbm" else 1
    if latent_dim < least:
        raise ValueError(f"latent_dim is {latent_dim} and must be at least {least}.")

    def encoder(seen: tuple[int, ...]) -> nn.Module:
        return MLP(seen, widths, latent_dim, nonlinear)

    decoder = MLP(latent_dim, widths[::-1], outputs_of(likelihoods, likelihood, shape), nonlinear)
    return LatentVariableModel(
        prior=Smoothed(RBM(latent_dim) if bits == "rbm" else Bernoulli(latent_dim), smoothing, beta),
        likelihood=construct(likelihoods, likelihood, net=decoder, event_shape=shape),
        posterior=SmoothedBernoulli(seen_by(view_of(likelihood, shape), encoder, shape), smoothing, beta),
    )


RECIPE = Recipe(
    name="dvae",
    cites=("rolfe2017discrete", "vahdat2018dvae"),
    make=dvae,
    defaults={"objective": "beta-elbo:beta=1.0,rate=kl,warmup=1000", "gradient": "pathwise", "num_samples": 1},
)
