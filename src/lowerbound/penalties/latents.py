"""The latents that a penalty compares: one reparameterised draw z_n ~ q(z | x_n) for each row of the batch.

Over the rows they are a sample of the aggregate posterior q(z) = (1/N) Σ_n q(z | x_n).
"""

from __future__ import annotations

import math
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution

from lowerbound.weights import latents_of

__all__ = ["check_weight", "latents_drawn", "require_latents"]


def latents_drawn(posterior: Distribution, owner: str) -> Float[Tensor, "batch *event"]:
    """One latent per row, without the auxiliary variables of q, differentiable.

    Arguments:
        posterior: q(z | x) of the batch.
        owner: the penalty, for the message.

    Raises:
        ValueError: a batch of one row in training; in evaluation the last batch may have one row.
    """
    z = cast(Tensor, latents_of(posterior, posterior.rsample()))
    if len(z) < 2 and torch.is_grad_enabled():
        raise ValueError(f"{owner} compares the latents of a batch with each other and got one; use batch_size ≥ 2.")
    return z


def require_latents(posterior: Distribution, owner: str) -> None:
    """Raise a `ValueError` unless q(z | x) has latents that can be differentiated."""
    if isinstance(latents_of(posterior, posterior.sample()), tuple):
        raise ValueError(f"{owner} compares latents of one layer and the model has several; leave the penalty out.")
    if not posterior.has_rsample:
        raise ValueError(
            f"{owner} differentiates through the latents and {type(posterior).__name__} is not reparameterised; "
            "use DiagonalNormal, or a relaxed posterior for latents that are nearly discrete."
        )


def check_weight(weight: float, owner: str) -> None:
    """Raise a `ValueError` unless the weight of a penalty is a number that is not negative."""
    if not 0 <= weight < math.inf:
        raise ValueError(f"{owner} got weight={weight} and expected a number from 0 up.")
