"""Whether a posterior is over real vectors of one length, as the Gaussian prior of some models is."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from lowerbound.protocols import Conditional
from lowerbound.randomness import forked
from lowerbound.weights import latents_of

__all__ = ["require_real_vectors"]


@torch.no_grad()
def require_real_vectors(
    q: Conditional, shape: tuple[int, ...], given: tuple[int, ...], latent_dim: int, posterior: str
) -> None:
    """Refuse other latents.

    Arguments:
        q: from (x, condition) to q(z | x, condition).
        shape: of one datum.
        given: shape of its condition.
        latent_dim: length of z.
        posterior: what the user calls it.

    Raises:
        ValueError: z is no vector of that length, or its support is not the whole space.
    """
    with forked(torch.device("cpu"), 0):
        distribution = q((torch.ones(1, *shape), torch.zeros(1, *given)))  # 1 is in the support of every likelihood
        z = cast(Tensor, latents_of(distribution, distribution.sample()))
    if z.shape[1:] != (latent_dim,) or not _is_real(distribution):
        raise ValueError(
            f"posterior is {posterior!r}, whose latents are not real vectors as those of the prior are; choose a "
            "posterior over real vectors, such as 'diagonal-normal'."
        )


def _is_real(distribution: Distribution) -> bool:
    """Whether its support is the whole space; this is assumed for flows and mixtures, which do not state it."""
    try:
        support = distribution.support
    except NotImplementedError:
        return True
    return support is None or isinstance(getattr(support, "base_constraint", support), type(constraints.real))
