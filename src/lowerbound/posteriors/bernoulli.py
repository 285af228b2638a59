"""q(z | x) = Π_d π_d(x)^z_d (1 − π_d(x))^(1 − z_d), z in {0, 1}^D: the factorised posterior of sigmoid belief nets.

Source: Mnih & Gregor (2014, arXiv:1402.0030, §2). It is not reparameterised: use the score function, enumeration,
or an estimator made for binary latents.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import nn
from torch.distributions import Bernoulli as BernoulliDistribution
from torch.distributions import Independent

from lowerbound.nets.parameters import parameters_of
from lowerbound.nets.shapes import Shape, as_shape
from lowerbound.posteriors.parameters import latent_shape_of
from lowerbound.protocols import Context

__all__ = ["Bernoulli"]


class Bernoulli(nn.Module):
    """Independent binary latents whose logits are computed by a net.

    Arguments:
        net: from a context (..., *event) to logits (..., *latent_shape).
        latent_shape: length or shape of z; read from `net.out_shape` if the net states it.

    Returns (when called with a context of B rows):
        A distribution over float tensors in {0, 1} with batch shape (B,), event shape `latent_shape` and a closed-form
        entropy; `has_rsample` is False.

    Raises:
        ValueError: the output shape of the net is not latent_shape.

    >>> import torch
    >>> Bernoulli(nn.Linear(5, 3), latent_shape=3)(torch.zeros(4, 5)).sample((2,)).shape
    torch.Size([2, 4, 3])
    """

    cites: ClassVar[tuple[str, ...]] = ("mnih2014neural",)
    goes_with: ClassVar[dict[str, Any]] = {
        "prior": "bernoulli",
        "objective": "elbo",
        "gradient": "score-function",
        "num_samples": 4,
    }

    def __init__(self, net: nn.Module, latent_shape: Shape | None = None):
        super().__init__()
        self.net = net
        self.latent_shape = self.event_shape = latent_shape_of(net, latent_shape, owner="Bernoulli")

    @staticmethod
    def parameter_shape(latent_shape: Shape) -> tuple[int, ...]:
        """What its net must output per datum."""
        return as_shape(latent_shape)

    def forward(self, context: Context) -> Independent:
        """q(z | context)."""
        logits = parameters_of(self.net, context)
        return Independent(
            BernoulliDistribution(logits=logits, validate_args=False), len(self.latent_shape), validate_args=False
        )
