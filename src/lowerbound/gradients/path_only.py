"""log q(z | x) that differentiates only through z, for any posterior, without copying a distribution.

    s = log q_φ(sg(z)),      log q_φ(z) − (s − sg(s))

has the value of log q_φ(z); its derivative along φ at fixed z, the score, is cancelled by that of s.
"""

from __future__ import annotations

from typing import cast

from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution

from lowerbound.weights import Latents

__all__ = ["detach", "path_only_log_prob"]


def path_only_log_prob(posterior: Distribution, z: Latents) -> Float[Tensor, "sample batch"]:
    """log q(z | x), nats, with the score term removed from its gradient."""
    score = posterior.log_prob(cast(Tensor, detach(z)))
    return posterior.log_prob(cast(Tensor, z)) - (score - score.detach())


def detach(z: Latents) -> Latents:
    """The latents, as constants."""
    return tuple(part.detach() for part in z) if isinstance(z, tuple) else z.detach()
