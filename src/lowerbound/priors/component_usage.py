"""Which components of a mixture prior are used by any latent.

    usage_k = (1/N) Σ_n r_k(z_n),      r_k(z) = π_k p_k(z) / Σ_j π_j p_j(z)

The usages sum to one. The exponential of their entropy is the effective number of components in use.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.distributions import Distribution, MixtureSameFamily

from lowerbound.priors.mixture_distribution import NormalMixture
from lowerbound.protocols import Conditional

__all__ = ["ComponentUsage", "is_mixture", "unused_components"]


@dataclass(frozen=True, kw_only=True)
class ComponentUsage:
    """How a mixture prior is used.

    Attributes:
        usage: (component,) share of the latents that each component explains.
        unused: (unused,) indices of those below the threshold, in increasing order.
        effective: exp(entropy of the usage), between 1 and the number of components.
    """

    usage: Float[Tensor, "component"]
    unused: Int[Tensor, "unused"]
    effective: float


def is_mixture(p: Distribution) -> bool:
    """Whether `unused_components` can read the components of this distribution."""
    return isinstance(p, NormalMixture | MixtureSameFamily)


@torch.no_grad()
def unused_components(prior: Conditional, latents: Tensor | Distribution, threshold: float = 0.1) -> ComponentUsage:
    """Report components whose share of the latents is below threshold / K.

    Arguments:
        prior: a prior that returns a mixture, such as `MixtureNormal` or `VampPrior`.
        latents: z (..., *event), or a distribution q(z | x) from which one latent per datum is
            drawn.
        threshold: fraction of the equal share 1 / K.

    Raises:
        ValueError: a prior that is no mixture.
    """
    z = latents.sample() if isinstance(latents, Distribution) else latents
    log_joint = _log_joint(prior(), z)
    usage = torch.softmax(log_joint, -1).flatten(0, -2).mean(0)
    unused = (usage < threshold / len(usage)).nonzero()[:, 0]
    entropy = torch.special.entr(usage).sum()
    return ComponentUsage(usage=usage, unused=unused, effective=float(entropy.exp()))


def _log_joint(p: Distribution, z: Tensor) -> Tensor:
    if isinstance(p, NormalMixture):
        return p.log_joint(z)
    if isinstance(p, MixtureSameFamily):
        components = p.component_distribution
        log_weights = torch.log_softmax(p.mixture_distribution.logits, -1)
        return components.log_prob(z.unsqueeze(-1 - len(components.event_shape))) + log_weights
    raise ValueError(
        f"unused_components got a prior that returns {type(p).__name__} and expected a mixture; "
        "use it on MixtureNormal or VampPrior."
    )
