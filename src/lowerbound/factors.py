"""Distributions that are products over the coordinates of z, taken apart: p(z) = Π_d p(z_d).

Objectives that charge every latent by itself (free bits) and estimators that use only the terms that a factor can
change (Rao-Blackwellisation) need log p(z_d) and KL(q(z_d | x) ‖ p(z_d)), which sum over d to the whole.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution, Independent, kl_divergence

__all__ = ["factor_of", "kl_per_factor", "log_prob_per_factor"]


def factor_of(distribution: Distribution) -> Distribution:
    """The factors of a product: batch shape (*batch, *factor). A factor is a number, or a one-hot vector.

    Raises:
        ValueError: the distribution is not a product (`torch.distributions.Independent`).
    """
    if not isinstance(distribution, Independent):
        raise ValueError(
            f"{type(distribution).__name__} is not a product over the coordinates of z; choose a factorised prior and "
            "posterior (StandardNormal and DiagonalNormal, or both Bernoulli, or both Categorical)."
        )
    return distribution.base_dist


def log_prob_per_factor(distribution: Distribution, z: Tensor) -> Float[Tensor, "sample batch factor"]:
    """log p(z_d) of each factor of z (S, B, *event), nats.

    Raises:
        ValueError: the distribution is not a product.
    """
    return factor_of(distribution).log_prob(z).flatten(2)


def kl_per_factor(q: Distribution, p: Distribution) -> Float[Tensor, "batch factor"]:
    """KL(q(z_d | x) ‖ p(z_d)) in closed form, nats.

    Raises:
        ValueError: one is not a product, or there is no closed form.
    """
    one, other = factor_of(q), factor_of(p)
    try:
        return kl_divergence(one, other.expand(one.batch_shape)).flatten(1)
    except NotImplementedError:
        raise ValueError(
            f"There is no closed form of KL({type(one).__name__} ‖ {type(other).__name__}); "
            "choose a prior and a posterior of one kind."
        ) from None
