"""The factors of distributions that are products over the coordinates of z, p(z) = Π_d p(z_d), and the layers of
hierarchies.

Objectives with a cost for every latent (free bits) and estimators that use only the terms of a factor
(Rao-Blackwellisation) need log p(z_d) and KL(q(z_d | x) ‖ p(z_d)), whose sums over d are the whole.

For hierarchies (`hooks.Layered`) whose q and p draw their layers in the same order,

    KL(q ‖ p) = Σ_l E_q[KL(q(z_l | a_l, x) ‖ p(z_l | a_l))],      a_l the layers drawn before z_l

so that each term is known in closed form given a draw of the earlier layers; only these must be sampled.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution, Independent, kl_divergence

from lowerbound.called import name_of
from lowerbound.has_hook import has
from lowerbound.hooks import Layered

__all__ = [
    "factor_of",
    "has_layers",
    "is_product",
    "kl_per_factor",
    "kl_per_layer",
    "log_prob_per_factor",
    "rate_per_layer",
]


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


def kl_per_factor(q: Distribution, p: Distribution) -> Float[Tensor, "*batch factor"]:
    """KL(q(z_d | x) ‖ p(z_d)) in closed form, nats, (*batch shape of q, factor).

    Raises:
        ValueError: one is not a product, or there is no closed form.
    """
    one, other = factor_of(q), factor_of(p)
    try:
        return kl_divergence(one, other.expand(one.batch_shape)).flatten(len(q.batch_shape))
    except NotImplementedError:
        raise ValueError(
            f"There is no closed form of KL({type(one).__name__} ‖ {type(other).__name__}); "
            "choose a prior and a posterior of one kind."
        ) from None


def is_product(distribution: Distribution) -> bool:
    """Whether `factor_of` can take it apart."""
    return isinstance(distribution, Independent) and distribution.reinterpreted_batch_ndims > 0


def has_layers(distribution: Distribution) -> bool:
    """Whether it is over a tuple of latents and has layers (`chain.Chain`)."""
    return has(distribution, Layered)


def rate_per_layer(q: Any, p: Any, z: tuple[Tensor, ...]) -> Float[Tensor, "sample batch layer"]:
    """log q(z_l | ·) − log p(z_l | ·) at latents z, each layer (S, B, *event), nats; the sum is log q(z) − log p(z).

    If both chains draw in the same order, the expectation of each term is a divergence. If they draw in opposite orders
    (a bottom-up posterior), only that of the sum is; single terms may be negative.
    """
    pairs = zip(q.layers_at(z), p.layers_at(z), z, strict=True)
    return torch.stack([one.log_prob(layer) - other.log_prob(layer) for one, other, layer in pairs], -1)


def kl_per_layer(q: Any, p: Any, z: tuple[Tensor, ...]) -> list[Float[Tensor, "*batch factor"]]:
    """KL(q(z_l | a_l, x) ‖ p(z_l | a_l)) of each layer, given the layers a_l of z that are drawn before it, nats.

    Each is (S, B, factor), or (B, factor) where nothing is drawn before, with the factors of that layer; a single
    factor if it is not a product.

    Raises:
        ValueError: q and p draw in opposite orders or have other numbers of layers, or a layer has no closed form.
    """
    if not (isinstance(q, Layered) and isinstance(p, Layered) and q.drawing_order() == p.drawing_order()):
        raise ValueError(
            "rate='kl' of a hierarchy needs q and p with the same layers, drawn in the same order, and these are not; "
            "use rate='sampled', or a top-down posterior (posteriors.TopDown)."
        )
    return [_kl(one, other) for one, other in zip(q.layers_at(z), p.layers_at(z), strict=True)]


def _kl(q: Distribution, p: Distribution) -> Float[Tensor, "*batch factor"]:
    if is_product(q) and is_product(p):
        return kl_per_factor(q, p)
    try:
        return kl_divergence(q, p if p.batch_shape == q.batch_shape else p.expand(q.batch_shape))[..., None]
    except NotImplementedError:
        raise ValueError(f"There is no closed form of KL({name_of(q)} ‖ {name_of(p)}); use rate='sampled'.") from None
