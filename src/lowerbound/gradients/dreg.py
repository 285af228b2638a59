"""Doubly reparameterised gradients: Tucker, Lawson, Gu & Maddison (2019, arXiv:1810.04152, eq. 8).

    ∇_φ L_K = E[Σ_k w̃_k² (∂ log w_k / ∂z_k) (∂z_k / ∂φ)],      w̃ = w / Σ w

where log q is differentiated through z alone. The derivative of L_K gives each log w_k the factor w̃_k. A hook on z_k
multiplies the gradient by the second factor, so that θ gets w̃ and φ gets w̃².
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch.distributions import Distribution

from lowerbound.factors import has_layers
from lowerbound.gradients.path_only import path_only_log_prob
from lowerbound.gradients.pathwise import require_reparameterised
from lowerbound.objectives import IWAE
from lowerbound.protocols import Estimate, JointDensity, Kind, Objective
from lowerbound.weights import weigh

__all__ = ["DReG"]

_CHAIN = "DReG got a chain of latents, on which its factor would apply twice; use Pathwise()."


@dataclass(frozen=True)
class DReG:
    """The gradient of IWAE whose signal-to-noise ratio does not fall as K grows.

    Gradient: unbiased for θ and φ on IWAE; refused elsewhere (on the ELBO use StickTheLanding) and for latents that are
    chains, where the factor would be applied more than once.
    """

    cites: ClassVar[tuple[str, ...]] = ("tucker2019doubly",)

    kind: Kind = field(default="unbiased", init=False, repr=False)

    def estimate(
        self, objective: Objective, posterior: Distribution, joint: JointDensity, num_samples: int
    ) -> Estimate:
        """See `protocols.Gradient`."""
        z = posterior.rsample(torch.Size((num_samples,)))
        if isinstance(z, tuple):
            raise ValueError(_CHAIN)
        z = z.view_as(z)  # a new graph node: a hook on the draw itself would also scale gradients inside log q(z | x)
        w = weigh(posterior, joint, z, log_q=path_only_log_prob(posterior, z))
        if z.requires_grad:
            factor = torch.softmax(w.log_w.detach(), 0)
            z.register_hook(lambda g: g * factor.reshape(factor.shape + (1,) * (g.ndim - 2)))
        return Estimate(surrogate=objective.reduce(objective.signal(w)), weights=w)

    def check(self, objective: Objective, posterior: Distribution, num_samples: int) -> None:
        """Refuse everything but IWAE with a reparameterised posterior of one latent."""
        require_reparameterised(posterior, "DReG")
        if has_layers(posterior):
            raise ValueError(_CHAIN)
        if not isinstance(objective, IWAE):
            raise ValueError(
                f"DReG is derived for IWAE and biased on {type(objective).__name__}; use StickTheLanding()."
            )
