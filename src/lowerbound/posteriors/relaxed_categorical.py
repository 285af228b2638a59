"""One-hot latents relaxed to the simplex, the Concrete, with logits a(x) (Maddison et al. 2017, arXiv:1611.00712).

Also called Gumbel-softmax (Jang et al. 2017, arXiv:1611.01144). The density and its two spaces are in
`lowerbound.distributions.relaxed`. On the simplex the decoder reads z as a soft choice, which float32 can represent
while (logit range + 20) / τ is below about 87. In log space every y is exact; the prior is then a density of y, and the
decoder starts with exp. The prior is `priors.RelaxedCategorical` in the same space, at a temperature of its own.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Independent

from lowerbound.distributions.relaxed import RelaxedCategoricalDistribution, SimplexSpace
from lowerbound.nets.parameters import parameters_of
from lowerbound.nets.shapes import Shape, as_shape
from lowerbound.posteriors.parameters import latent_shape_of, require_at_least
from lowerbound.protocols import Context

__all__ = ["RelaxedCategorical"]


class RelaxedCategorical(nn.Module):
    """Independent Concrete latents whose logits are computed by a net.

    Arguments:
        net: from a context (..., *event) to logits (..., *latent_shape, categories).
        categories: K.
        temperature: τ > 0; a buffer, so that a schedule may change it and a checkpoint keeps it.
        space: "simplex" for z on the simplex, "log" for y = log z.
        latent_shape: D, the number of latents, or a shape of them; read from `net.out_shape` if the net states it.

    Returns (when called with a context of B rows):
        A reparameterised distribution with batch shape (B,) and event shape (*latent_shape, categories).

    Raises:
        ValueError: a temperature that is not positive, fewer than two categories, an unknown space, or a net of the
            wrong output shape.
    """

    cites: ClassVar[tuple[str, ...]] = ("maddison2017concrete", "jang2017categorical")
    goes_with: ClassVar[dict[str, Any]] = {"prior": "relaxed-categorical"}

    temperature: Tensor

    def __init__(
        self,
        net: nn.Module,
        categories: int = 10,
        temperature: float = 0.5,
        space: SimplexSpace = "simplex",
        latent_shape: Shape | None = None,
    ):
        super().__init__()
        require_at_least(2, owner="RelaxedCategorical", categories=categories)
        if not 0 < temperature < float("inf"):
            raise ValueError(f"RelaxedCategorical got temperature={temperature} and needs a positive number.")
        if space not in ("simplex", "log"):
            raise ValueError(f"RelaxedCategorical got space={space!r} and expected 'simplex' or 'log'.")
        self.net, self.categories = net, categories
        self.space: SimplexSpace = space
        self.latent_shape = latent_shape_of(net, latent_shape, owner="RelaxedCategorical", after=(categories,))
        self.event_shape = (*self.latent_shape, categories)
        self.register_buffer("temperature", torch.tensor(float(temperature)))

    @staticmethod
    def parameter_shape(latent_shape: Shape, categories: int = 10) -> tuple[int, ...]:
        """What its net must output per datum."""
        return (*as_shape(latent_shape), categories)

    def forward(self, context: Context) -> Independent:
        """q(z | context)."""
        logits = parameters_of(self.net, context)
        q = RelaxedCategoricalDistribution(logits, self.temperature.to(logits.dtype), self.space)
        return Independent(q, len(self.latent_shape), validate_args=False)
