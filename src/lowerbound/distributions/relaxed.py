"""The Concrete distributions: discrete latents relaxed to a density (Maddison et al. 2017, arXiv:1611.00712).

Bits (appendix B of that paper), with logit a and temperature τ:

    y = (a + log u − log(1 − u)) / τ,  u ~ U(0, 1),      z = sigmoid(y)

P(z > ½) = sigmoid(a) for every τ, and z is Bernoulli in the limit τ → 0. With v = a − τ y the densities are

    log q(y) = log τ + v − 2 softplus(v)           log q(z) = log q(y) − log z − log(1 − z)

One of K categories (section 3, and appendix C in log space), with logits a:

    y = log_softmax((a + g) / τ),  g_k ~ Gumbel(0, 1),      z = exp(y)

P(argmax z = k) = softmax(a)_k for every τ, and z is one-hot in the limit τ → 0. With v = a − τ y the densities, on
the simplex by its first K − 1 coordinates, are

    log q(y) = log Γ(K) + (K − 1) log τ + Σ_k (v_k − logsumexp v)          log q(z) = log q(y) − Σ_k log z_k

Their `support` is continuous. A bound needs two densities on the same space: with a Bernoulli *probability* or the
probability of a category as prior there is no bound. Both spaces give the same log w where both are exact, because the
Jacobian of q cancels that of the prior.
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints
from torch.nn.functional import logsigmoid, softplus

__all__ = ["RelaxedBernoulliDistribution", "RelaxedCategoricalDistribution", "SimplexSpace", "UnitSpace"]

UnitSpace: TypeAlias = Literal["unit", "logit"]
"""The space of a relaxed bit: z in (0, 1), or y = logit z in R."""

SimplexSpace: TypeAlias = Literal["simplex", "log"]
"""The space of a relaxed category: z on the simplex, or y = log z."""

_SampleShape: TypeAlias = torch.Size | list[int] | tuple[int, ...]


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

    @property
    def support(self) -> constraints.Constraint:
        """The interval (0, 1), or the real line."""
        return constraints.real if self.space == "logit" else constraints.unit_interval

    def rsample(self, sample_shape: _SampleShape = ()) -> Tensor:
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

    @property
    def support(self) -> constraints.Constraint:
        """The simplex, or the vectors y with Σ exp(y) = 1 in R^K."""
        return constraints.real_vector if self.space == "log" else constraints.simplex

    def rsample(self, sample_shape: _SampleShape = ()) -> Tensor:
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
