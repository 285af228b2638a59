"""p(z) = Π_d Concrete(z_d; a_d, τ) on the simplex: the density that goes with a `RelaxedCategorical` posterior.

Maddison et al. (2017, arXiv:1611.00712) relax the prior together with the posterior, so that the model
is one of continuous latents and the ELBO bounds *its* evidence; with the probability of a category in place of this
density it would not bound anything. The temperature belongs to the model and may differ from that of q. The formula is
in `lowerbound.distributions.relaxed`.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Independent

from lowerbound.distributions.relaxed import RelaxedCategoricalDistribution, SimplexSpace
from lowerbound.nets.shapes import Shape, as_shape
from lowerbound.protocols import Context

__all__ = ["RelaxedCategorical"]


class RelaxedCategorical(nn.Module):
    """Independent Concrete latents.

    Arguments:
        latent_shape: D, how many, or a shape of them.
        categories: K, how many values each takes.
        temperature: τ > 0; a buffer, so that a checkpoint keeps it.
        space: "simplex" for z on the simplex, "log" for y = log z: that of the posterior.
        learned: whether the logits are trained; they start at 0 (symmetric) and stay there if not.

    Returns (when called):
        A distribution with batch shape () and event shape (*latent_shape, categories). A context is ignored.

    Raises:
        ValueError: a temperature that is not positive, fewer than two categories, or an unknown space.
    """

    cites: ClassVar[tuple[str, ...]] = ("maddison2017concrete",)
    goes_with: ClassVar[dict[str, Any]] = {"posterior": "relaxed-categorical"}

    logits: Tensor
    temperature: Tensor

    def __init__(
        self,
        latent_shape: Shape,
        categories: int = 10,
        temperature: float = 0.5,
        space: SimplexSpace = "simplex",
        learned: bool = True,
    ):
        super().__init__()
        if categories < 2:
            raise ValueError(f"RelaxedCategorical got categories={categories} and needs at least 2.")
        if not 0 < temperature < float("inf"):
            raise ValueError(f"RelaxedCategorical got temperature={temperature} and needs a positive number.")
        if space not in ("simplex", "log"):
            raise ValueError(f"RelaxedCategorical got space={space!r} and expected 'simplex' or 'log'.")
        self.space: SimplexSpace = space
        self.latent_shape = as_shape(latent_shape)
        self.event_shape = (*self.latent_shape, categories)
        self.logits = nn.Parameter(torch.zeros(self.event_shape), requires_grad=learned)
        self.register_buffer("temperature", torch.tensor(float(temperature)))

    def forward(self, context: Context | None = None) -> Independent:
        """p(z); the context is ignored."""
        p = RelaxedCategoricalDistribution(self.logits, self.temperature.to(self.logits.dtype), self.space)
        return Independent(p, len(self.latent_shape), validate_args=False)
