"""p(z) = Π_d π_d^z_d (1 − π_d)^(1 − z_d), z in {0, 1}^D, with learned π (Mnih & Gregor 2014, arXiv:1402.0030)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli as BernoulliDistribution
from torch.distributions import Independent

from lowerbound.nets.shapes import Shape, as_shape
from lowerbound.protocols import Context

__all__ = ["Bernoulli"]


class Bernoulli(nn.Module):
    """Independent binary latents; log p(z) is linear in z, so that relaxed latents have a
    derivative too.

    Arguments:
        latent_shape: how many, or a shape of them.
        learned: whether the logits are trained; they start at 0 (probability ½) and stay there if not.

    Returns (when called):
        A distribution with batch shape () and event shape `latent_shape`. A context is ignored.

    >>> Bernoulli(3, learned=False)().log_prob(torch.tensor([0.0, 1.0, 1.0]))
    tensor(-2.0794)
    """

    cites: ClassVar[tuple[str, ...]] = ("mnih2014neural",)
    goes_with: ClassVar[dict[str, Any]] = {"posterior": "bernoulli"}

    logits: Tensor

    def __init__(self, latent_shape: Shape, learned: bool = True):
        super().__init__()
        self.latent_shape = self.event_shape = as_shape(latent_shape)
        self.logits = nn.Parameter(torch.zeros(self.latent_shape), requires_grad=learned)

    def forward(self, context: Context | None = None) -> Independent:
        """p(z); the context is ignored."""
        distribution = BernoulliDistribution(logits=self.logits, validate_args=False)
        return Independent(distribution, len(self.latent_shape), validate_args=False)
