"""The binary Concrete: Bernoulli latents relaxed to (0, 1) (Maddison et al. 2017, arXiv:1611.00712, appendix B).

    y = (a + log u − log(1 − u)) / τ,  u ~ U(0, 1),      z = sigmoid(y)

with a the logits and τ the temperature. P(z > ½) = sigmoid(a) for every τ, and z is Bernoulli in the limit τ → 0.
With v = a − τ y the densities are

    log q(y) = log τ + v − 2 softplus(v)           log q(z) = log q(y) − log z − log(1 − z)

A bound needs a prior that is a density on the same space: a Bernoulli *probability* next to a Concrete *density*
bounds nothing. Which space: on (0, 1) a decoder can read z as a soft bit, but float32 cannot tell y from 16
upwards, and then neither q nor the prior has the density of what was drawn (|a| / τ up to about 10 is safe). In
logit space every y is exact; its prior is a density of y, and its decoder starts with a sigmoid. The two spaces
give the same log w where both are exact, because the Jacobian of q cancels that of the prior.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent
from torch.nn.functional import logsigmoid, softplus

from lowerbound.posteriors.parameters import SampleShape, latent_dim_of, parameters_of
from lowerbound.protocols import Context

__all__ = ["RelaxedBernoulli", "RelaxedBernoulliDistribution", "UnitSpace"]

UnitSpace: TypeAlias = Literal["unit", "logit"]
"""Where a relaxed bit lives: z in (0, 1), or y = logit z in R."""


class RelaxedBernoulli(nn.Module):
    """Independent binary Concrete latents whose logits are computed by a net.

    Arguments:
        net: from a context (..., *event) to logits (..., latent_dim).
        temperature: τ > 0; a buffer, so that a schedule may change it and a checkpoint keeps it.
        space: "unit" for z in (0, 1), "logit" for y = logit z.
        latent_dim: length of z; read from `net.out_shape` if the net states it.

    Returns (when called with a context of B rows):
        A reparameterised distribution with batch shape (B,) and event shape (latent_dim,).

    Raises:
        ValueError: a temperature that is not positive, an unknown space, or a net of the wrong output shape.
    """

    temperature: Tensor

    def __init__(
        self,
        net: nn.Module,
        temperature: float = 0.5,
        space: UnitSpace = "unit",
        latent_dim: int | None = None,
    ):
        super().__init__()
        if not 0 < temperature < float("inf"):
            raise ValueError(f"RelaxedBernoulli got temperature={temperature} and needs a positive number.")
        if space not in ("unit", "logit"):
            raise ValueError(f"RelaxedBernoulli got space={space!r} and expected 'unit' or 'logit'.")
        self.net = net
        self.space: UnitSpace = space
        self.latent_dim = latent_dim_of(net, latent_dim, self.parameter_shape, owner="RelaxedBernoulli")
        self.register_buffer("temperature", torch.tensor(float(temperature)))

    @staticmethod
    def parameter_shape(latent_dim: int) -> tuple[int, ...]:
        """What its net must output per datum."""
        return (latent_dim,)

    def forward(self, context: Context) -> Independent:
        """q(z | context)."""
        logits = parameters_of(self.net, context)
        q = RelaxedBernoulliDistribution(logits, self.temperature.to(logits.dtype), self.space)
        return Independent(q, 1, validate_args=False)


class RelaxedBernoulliDistribution(Distribution):
    """The binary Concrete, elementwise.

    Arguments:
        logits: a (...).
        temperature: τ, broadcast against the logits.
        space: "unit" for z in (0, 1), "logit" for y = logit z.
    """

    arg_constraints = {}  # noqa: RUF012  # pyright: ignore[reportAssignmentType]
    has_rsample = True

    def __init__(self, logits: Tensor, temperature: Tensor, space: UnitSpace = "unit"):
        self.logits, self.temperature, self.space = logits, temperature, space
        super().__init__(logits.shape, validate_args=False)

    def rsample(self, sample_shape: SampleShape = ()) -> Tensor:
        """Draw (*sample_shape, ...)."""
        info = torch.finfo(self.logits.dtype)
        u = torch.rand(self._extended_shape(sample_shape), dtype=self.logits.dtype, device=self.logits.device).clamp(
            info.tiny, 1 - info.eps
        )
        y = (self.logits + u.log() - torch.log1p(-u)) / self.temperature
        if self.space == "logit":
            return y
        return y.sigmoid().clamp(info.eps, 1 - info.eps)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density of value (...): (...), nats per unit of the space."""
        if self.space == "logit":
            return self._log_prob_of_logit(value)
        log_z, log_not_z = value.log(), torch.log1p(-value)
        return self._log_prob_of_logit(log_z - log_not_z) - log_z - log_not_z

    def _log_prob_of_logit(self, y: Tensor) -> Tensor:
        v = self.logits - self.temperature * y
        return self.temperature.log() + logsigmoid(v) - softplus(v)
