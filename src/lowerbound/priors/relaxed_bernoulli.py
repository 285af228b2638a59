"""p(z) = Π_d Concrete(z_d; a_d, τ): the density that goes with a `RelaxedBernoulli` posterior.

Maddison et al. (2017, arXiv:1611.00712) relax the prior together with the posterior, so that the model
is one of continuous latents and the ELBO bounds *its* evidence; with a Bernoulli probability in place of this density
it would not bound anything. The temperature belongs to the model and may differ from that of q: the paper takes ½ here
and ⅔ in q. The formula is in `lowerbound.distributions.relaxed`.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Independent

from lowerbound.distributions.relaxed import RelaxedBernoulliDistribution, UnitSpace
from lowerbound.nets.shapes import Shape, as_shape
from lowerbound.protocols import Context

__all__ = ["RelaxedBernoulli"]


class RelaxedBernoulli(nn.Module):
    """Independent binary Concrete latents.

    Arguments:
        latent_shape: how many, or a shape of them.
        temperature: τ > 0; a buffer, so that a checkpoint keeps it.
        space: "unit" for z in (0, 1), "logit" for y = logit z: that of the posterior.
        learned: whether the logits are trained; they start at 0 (symmetric) and stay there if not.

    Returns (when called):
        A distribution with batch shape () and event shape `latent_shape`. A context is ignored.

    Raises:
        ValueError: a temperature that is not positive, or an unknown space.

    >>> RelaxedBernoulli(3, temperature=1.0)().log_prob(torch.full((3,), 0.2)).item()
    0.0
    """

    cites: ClassVar[tuple[str, ...]] = ("maddison2017concrete",)
    goes_with: ClassVar[dict[str, Any]] = {"posterior": "relaxed-bernoulli"}

    logits: Tensor
    temperature: Tensor

    def __init__(self, latent_shape: Shape, temperature: float = 0.5, space: UnitSpace = "unit", learned: bool = True):
        super().__init__()
        if not 0 < temperature < float("inf"):
            raise ValueError(f"RelaxedBernoulli got temperature={temperature} and needs a positive number.")
        if space not in ("unit", "logit"):
            raise ValueError(f"RelaxedBernoulli got space={space!r} and expected 'unit' or 'logit'.")
        self.space: UnitSpace = space
        self.latent_shape = self.event_shape = as_shape(latent_shape)
        self.logits = nn.Parameter(torch.zeros(self.latent_shape), requires_grad=learned)
        self.register_buffer("temperature", torch.tensor(float(temperature)))

    def forward(self, context: Context | None = None) -> Independent:
        """p(z); the context is ignored."""
        p = RelaxedBernoulliDistribution(self.logits, self.temperature.to(self.logits.dtype), self.space)
        return Independent(p, len(self.latent_shape), validate_args=False)
