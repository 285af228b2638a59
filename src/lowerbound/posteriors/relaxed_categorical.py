"""The Concrete (Gumbel-softmax): one-hot latents relaxed to the simplex (Maddison et al. 2017, arXiv:1611.00712).

Section 3 of that paper, and its appendix C in log space:

    y = log_softmax((a + g) / τ),  g_k ~ Gumbel(0, 1),      z = exp(y)

with a the logits of K categories and τ the temperature. P(argmax z = k) = softmax(a)_k for every τ, and z is
one-hot in the limit τ → 0. With v = a − τ y the densities, on the simplex by its first K − 1 coordinates, are

    log q(y) = log Γ(K) + (K − 1) log τ + Σ_k (v_k − logsumexp v)          log q(z) = log q(y) − Σ_k log z_k

A bound needs a prior that is a density on the same space: the *probability* of a category next to a Concrete
*density* bounds nothing. On the simplex the decoder reads z as a soft choice, and float32 holds it as long as
(logit range + 20) / τ stays below about 87; in log space every y is exact, its prior is a density of y, and its
decoder starts with exp. Both give the same log w where both are exact, because the Jacobian of q cancels that of
the prior.
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent

from lowerbound.posteriors.parameters import SampleShape, latent_dim_of, parameters_of, require_at_least
from lowerbound.protocols import Context

__all__ = ["RelaxedCategorical", "RelaxedCategoricalDistribution", "SimplexSpace"]

SimplexSpace: TypeAlias = Literal["simplex", "log"]
"""Where a relaxed category lives: z on the simplex, or y = log z."""


class RelaxedCategorical(nn.Module):
    """Independent Concrete latents whose logits are computed by a net.

    Arguments:
        net: from a context (..., *event) to logits (..., latent_dim, categories).
        categories: K.
        temperature: τ > 0; a buffer, so that a schedule may change it and a checkpoint keeps it.
        space: "simplex" for z on the simplex, "log" for y = log z.
        latent_dim: D, the number of latents; read from `net.out_shape` if the net states it.

    Returns (when called with a context of B rows):
        A reparameterised distribution with batch shape (B,) and event shape (latent_dim, categories).

    Raises:
        ValueError: a temperature that is not positive, fewer than two categories, an unknown space, or a net of the
            wrong output shape.
    """

    temperature: Tensor

    def __init__(
        self,
        net: nn.Module,
        categories: int = 10,
        temperature: float = 0.5,
        space: SimplexSpace = "simplex",
        latent_dim: int | None = None,
    ):
        super().__init__()
        require_at_least(2, owner="RelaxedCategorical", categories=categories)
        if not 0 < temperature < float("inf"):
            raise ValueError(f"RelaxedCategorical got temperature={temperature} and needs a positive number.")
        if space not in ("simplex", "log"):
            raise ValueError(f"RelaxedCategorical got space={space!r} and expected 'simplex' or 'log'.")
        self.net, self.categories = net, categories
        self.space: SimplexSpace = space
        self.latent_dim = latent_dim_of(
            net, latent_dim, lambda d: self.parameter_shape(d, categories), owner="RelaxedCategorical"
        )
        self.register_buffer("temperature", torch.tensor(float(temperature)))

    @staticmethod
    def parameter_shape(latent_dim: int, categories: int = 10) -> tuple[int, ...]:
        """What its net must output per datum."""
        return (latent_dim, categories)

    def forward(self, context: Context) -> Independent:
        """q(z | context)."""
        logits = parameters_of(self.net, context)
        q = RelaxedCategoricalDistribution(logits, self.temperature.to(logits.dtype), self.space)
        return Independent(q, 1, validate_args=False)


class RelaxedCategoricalDistribution(Distribution):
    """The Concrete over K categories.

    Arguments:
        logits: a (..., K), up to a constant.
        temperature: τ, a scalar.
        space: "simplex" for z on the simplex, "log" for y = log z.
    """

    arg_constraints = {}  # noqa: RUF012  # pyright: ignore[reportAssignmentType]
    has_rsample = True

    def __init__(self, logits: Tensor, temperature: Tensor, space: SimplexSpace = "simplex"):
        self.logits, self.temperature, self.space = logits, temperature, space
        super().__init__(logits.shape[:-1], logits.shape[-1:], validate_args=False)

    def rsample(self, sample_shape: SampleShape = ()) -> Tensor:
        """Draw (*sample_shape, ..., K)."""
        info = torch.finfo(self.logits.dtype)
        u = torch.rand(self._extended_shape(sample_shape), dtype=self.logits.dtype, device=self.logits.device).clamp(
            info.tiny, 1 - info.eps
        )
        y = torch.log_softmax((self.logits - (-u.log()).log()) / self.temperature, -1)
        return y if self.space == "log" else y.exp().clamp_min(info.tiny)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density of value (..., K): (...), nats."""
        if self.space == "log":
            return self._log_prob_of_log(value)
        y = value.log()
        return self._log_prob_of_log(y) - y.sum(-1)

    def _log_prob_of_log(self, y: Tensor) -> Tensor:
        k = y.shape[-1]
        v = self.logits - self.temperature * y
        constant = math.lgamma(k) + (k - 1) * self.temperature.log()
        return constant + torch.log_softmax(v, -1).sum(-1)
