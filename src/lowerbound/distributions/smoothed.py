"""Bits smoothed to numbers in [0, 1], through which a decoder is differentiable: the discrete VAE.

    q:  z_i ~ Bernoulli(π_i(x)),  ζ_i ~ r(ζ_i | z_i)        p:  z ~ p(z),  ζ_i ~ r(ζ_i | z_i),  x ~ p(x | ζ)

q and p smooth by the same r, which cancels: log w = log p(x | ζ) + log p(z) − log q(z | x). A draw is (ζ, z), and its
densities are taken with respect to r. Two forms of r, each with sharpness β:

    spike           r(ζ | 0) = δ(ζ),      r(ζ | 1) ∝ e^(βζ)            Rolfe 2017, arXiv:1609.02200, §2.1
    overlapping     r(ζ | 0) ∝ e^(−βζ),   r(ζ | 1) ∝ e^(β(ζ − 1))      Vahdat et al. 2018, arXiv:1802.04920, §3

ζ is drawn by the inverse of F(ζ) = (1 − π) R(ζ | 0) + π R(ζ | 1) from a uniform ρ, and is continuous in π. z is not:
the pathwise derivative of log p(z) − log q(z | x) at a draw lacks that of the jump and is wrong. q is a product, so
KL(q(z | x) ‖ p(z)) has a closed form where E_q[log p(z)] has one. With it the pathwise gradient is unbiased.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal, Protocol, TypeAlias, cast, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Bernoulli, Distribution, Independent
from torch.distributions.kl import register_kl
from torch.nn.functional import logsigmoid
from torch.types import _size

__all__ = ["SmoothedBits", "SmoothedDistribution", "Smoothing", "draw_smoothed", "expected_log_prob"]

Smoothing: TypeAlias = Literal["spike", "overlapping"]


@runtime_checkable
class ScoresProbabilities(Protocol):
    """A distribution over bits with E[log p(z)] in closed form for independent z."""

    def expected_log_prob(self, probs: Tensor) -> Tensor:
        """E[log p(z)] (...), nats, for independent bits of probabilities (..., D)."""
        ...


class SmoothedBits(Distribution):
    """q(ζ, z | x): event (2, D), ζ in the first row and z in the second.

    Arguments:
        logits: of π, (B, D).
        smoothing: the form of r.
        beta: its sharpness.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    has_rsample = True

    def __init__(self, logits: Float[Tensor, "batch latent"], smoothing: Smoothing, beta: float):
        self.logits, self.beta = logits, beta
        self.smoothing: Smoothing = smoothing
        super().__init__(logits.shape[:-1], torch.Size((2, logits.shape[-1])), validate_args=False)

    @property
    def support(self) -> None:  # type: ignore[override]  # neither discrete nor continuous
        """Not said."""
        return None

    @property
    def probs(self) -> Float[Tensor, "batch latent"]:
        """π."""
        return self.logits.sigmoid()

    def rsample(self, sample_shape: _size = ()) -> Tensor:
        """(ζ, z) (*sample_shape, B, 2, D); ζ is differentiable along π, z is a constant."""
        logits = self.logits.expand(*sample_shape, *self.logits.shape)
        return draw_smoothed(logits, self.smoothing, self.beta)

    def log_prob(self, value: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """log q(z | x), the density of (ζ, z) with respect to r, nats."""
        z = value[..., 1, :]
        return (z * logsigmoid(self.logits) + (1 - z) * logsigmoid(-self.logits)).sum(-1)

    def entropy(self) -> Float[Tensor, "batch"]:
        """That of z."""
        return Bernoulli(logits=self.logits, validate_args=False).entropy().sum(-1)

    def jumps(self) -> None:
        """See `hooks.Jumps`."""


class SmoothedDistribution(Distribution):
    """p(ζ, z) = p(z) Π r(ζ_i | z_i): event (2, D). Arguments: p(z), batch shape (), and r as above."""

    arg_constraints: ClassVar[dict[str, Any]] = {}
    has_rsample = False

    def __init__(self, bits: Distribution, smoothing: Smoothing, beta: float, batch_shape: _size = ()):
        self.bits, self.beta = bits, beta
        self.smoothing: Smoothing = smoothing
        super().__init__(torch.Size(batch_shape), torch.Size((2, *bits.event_shape)), validate_args=False)

    @property
    def support(self) -> None:  # type: ignore[override]
        """Not said."""
        return None

    def expand(self, batch_shape: _size, _instance: Distribution | None = None) -> SmoothedDistribution:
        """The same distribution with a batch shape."""
        return SmoothedDistribution(self.bits, self.smoothing, self.beta, batch_shape)

    def log_prob(self, value: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """log p(z), the density of (ζ, z) with respect to r, nats."""
        return self.bits.log_prob(value[..., 1, :])

    def sample(self, sample_shape: _size = ()) -> Tensor:
        """Draw z, then ζ from r(ζ | z)."""
        z = self.bits.sample(torch.Size((*sample_shape, *self.batch_shape)))
        certain = (2 * z - 1) * torch.finfo(z.dtype).max
        return torch.stack([draw_smoothed(certain, self.smoothing, self.beta)[..., 0, :], z], -2)

    def end_state(self, z: Tensor) -> Tensor:
        """See `hooks.EndsInState`: ζ, which the likelihood reads."""
        return z[..., 0, :]


def draw_smoothed(logits: Float[Tensor, "*lead latent"], smoothing: Smoothing, beta: float) -> Tensor:
    """(ζ, z) (*lead, 2, D) of bits with these logits."""
    rho = torch.rand_like(logits).clamp(torch.finfo(logits.dtype).tiny, 1 - torch.finfo(logits.dtype).eps)
    pi, rest = logits.sigmoid(), (-logits).sigmoid()
    if smoothing == "spike":
        share = ((rho - rest) / pi.clamp_min(torch.finfo(pi.dtype).tiny)).clamp(0, 1)
        zeta = torch.log1p(share * math.expm1(beta)) / beta
        return torch.stack([zeta, (rho > rest).to(zeta.dtype)], -2)
    low = math.exp(-beta)
    b, c = rho * -math.expm1(-beta) - rest + pi * low, pi * low
    root = (b.square() + 4 * rest * c).sqrt()
    # the root m = e^(−βζ) of (1 − π) m² + b m − c = 0, in the form that does not cancel
    above = b > 0
    m = torch.where(above, 2 * c / torch.where(above, b + root, 1), (root - b) / torch.where(above, 1, 2 * rest))
    zeta = -m.clamp(low, 1).log() / beta
    of_one = (logits + beta * (2 * zeta - 1)).sigmoid()  # p(z = 1 | ζ), by Bayes' theorem
    return torch.stack([zeta, torch.bernoulli(of_one.detach())], -2)


def expected_log_prob(bits: Distribution, probs: Float[Tensor, "*lead latent"]) -> Float[Tensor, "*lead"]:
    """E[log p(z)] for independent z with these probabilities, nats.

    Raises:
        NotImplementedError: it has no closed form.
    """
    if isinstance(bits, ScoresProbabilities):
        return bits.expected_log_prob(probs)
    base = bits.base_dist if isinstance(bits, Independent) else bits
    if not isinstance(base, Bernoulli):
        raise NotImplementedError
    logits = cast(Tensor, base.logits)
    return (probs * logsigmoid(logits) + (1 - probs) * logsigmoid(-logits)).sum(-1)


@register_kl(SmoothedBits, SmoothedDistribution)
def _kl(q: SmoothedBits, p: SmoothedDistribution) -> Float[Tensor, "batch"]:
    """KL(q(z | x) ‖ p(z)) = −H(q) − E_q[log p(z)]."""
    return -q.entropy() - expected_log_prob(p.bits, q.probs)
