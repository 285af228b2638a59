"""Bernoulli latents relaxed to (0, 1), the binary Concrete, with logits a(x) (Maddison et al. 2017, arXiv:1611.00712).

The density and its two spaces are in `lowerbound.distributions.relaxed`. On (0, 1) a decoder can read z as a soft bit,
but float32 cannot represent z for y = logit z above 16, and then q and the prior score another value than the one drawn
(|a| / τ up to about 10 is safe). In logit space every y is exact; the prior is then a density of y, and the decoder
starts with a sigmoid. The prior is `priors.RelaxedBernoulli` in the same space, at a temperature of its own.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Independent

from lowerbound.distributions.relaxed import RelaxedBernoulliDistribution, UnitSpace
from lowerbound.nets.parameters import parameters_of
from lowerbound.nets.shapes import Shape, as_shape
from lowerbound.posteriors.parameters import latent_shape_of
from lowerbound.protocols import Context

__all__ = ["RelaxedBernoulli"]


class RelaxedBernoulli(nn.Module):
    """Independent binary Concrete latents whose logits are computed by a net.

    Arguments:
        net: from a context (..., *event) to logits (..., *latent_shape).
        temperature: τ > 0; a buffer, so that a schedule may change it and a checkpoint keeps it.
        space: "unit" for z in (0, 1), "logit" for y = logit z.
        latent_shape: length or shape of z; read from `net.out_shape` if the net states it.

    Returns (when called with a context of B rows):
        A reparameterised distribution with batch shape (B,) and event shape `latent_shape`.

    Raises:
        ValueError: a temperature that is not positive, an unknown space, or a net of the wrong output shape.
    """

    cites: ClassVar[tuple[str, ...]] = ("maddison2017concrete",)
    goes_with: ClassVar[dict[str, Any]] = {"prior": "relaxed-bernoulli"}

    temperature: Tensor

    def __init__(
        self,
        net: nn.Module,
        temperature: float = 0.5,
        space: UnitSpace = "unit",
        latent_shape: Shape | None = None,
    ):
        super().__init__()
        if not 0 < temperature < float("inf"):
            raise ValueError(f"RelaxedBernoulli got temperature={temperature} and needs a positive number.")
        if space not in ("unit", "logit"):
            raise ValueError(f"RelaxedBernoulli got space={space!r} and expected 'unit' or 'logit'.")
        self.net = net
        self.space: UnitSpace = space
        self.latent_shape = self.event_shape = latent_shape_of(net, latent_shape, owner="RelaxedBernoulli")
        self.register_buffer("temperature", torch.tensor(float(temperature)))

    @staticmethod
    def parameter_shape(latent_shape: Shape) -> tuple[int, ...]:
        """What its net must output per datum."""
        return as_shape(latent_shape)

    def forward(self, context: Context) -> Independent:
        """q(z | context)."""
        logits = parameters_of(self.net, context)
        q = RelaxedBernoulliDistribution(logits, self.temperature.to(logits.dtype), self.space)
        return Independent(q, len(self.latent_shape), validate_args=False)
