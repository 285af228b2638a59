"""Discrete latents as thresholds of continuous variables: what the estimators for discrete latents share.

Bits with logits a, and one of K categories with logits a (normalised: log π = log_softmax a):

    z = a + log u − log(1 − u),  u ~ U(0, 1)       b = 1[z > 0] ~ Bernoulli(sigmoid(a))       soft: sigmoid(z / τ)
    z = log π + g,  g_k ~ Gumbel(0, 1)             b = one_hot(argmax z) ~ Categorical(π)     soft: softmax(z / τ)

Given b, the continuous variable can be drawn again from fresh noise v by a map that differentiates along a (Tucker et
al. 2017, arXiv:1703.07370, appendix C; Grathwohl et al. 2018, arXiv:1711.00123, appendix B). With s = 2b − 1, and with
k the category of b and g fresh Gumbel noise:

    z̃ = s softplus(log v − log(1 − v) + softplus(s a))
    z̃_k = g_k,      z̃_i = −log(exp(−log π_i − g_i) + exp(−g_k)),  i ≠ k

These are the formulas of the papers, written so that they neither overflow nor cancel in float32. There is one v for
which z̃ = z, and given b it has the distribution that v should have. With this v, z̃ has the value of z but another
derivative along a.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Bernoulli, Distribution, Independent, OneHotCategorical
from torch.nn.functional import softplus

from lowerbound.distributions.one_hot import LinearOneHotCategorical
from lowerbound.protocols import Objective

__all__ = ["Bits", "Discrete", "OneHots", "along_logits", "credit", "discrete_of", "q_without_score"]


@runtime_checkable
class Discrete(Protocol):
    """A family of factorised discrete latents; everything is elementwise over the latents of a datum."""

    def distribution(self, logits: Tensor) -> Independent:
        """q(z | x), whose log-probability is linear in z: relaxed values have a derivative."""
        ...

    def mean(self, logits: Tensor) -> Tensor:
        """π; the score ∇_a log q(b) is b − π."""
        ...

    def draw(self, logits: Tensor, num_samples: int) -> Tensor:
        """Continuous z (S, B, *event), differentiable along the logits."""
        ...

    def harden(self, z: Tensor) -> Tensor:
        """b, a constant."""
        ...

    def draw_given(self, logits: Tensor, z: Tensor) -> Tensor:
        """The value of z, with the derivative along the logits of a draw given b = harden(z) at fixed noise."""
        ...

    def soften(self, z: Tensor, temperature: Tensor | float) -> Tensor:
        """The relaxed value of z at temperature τ; its limit as τ → 0 is b."""
        ...


class Bits:
    """Bernoulli latents with logits (B, *event)."""

    def distribution(self, logits: Tensor) -> Independent:
        """See `Discrete`."""
        return Independent(Bernoulli(logits=logits, validate_args=False), logits.ndim - 1, validate_args=False)

    def mean(self, logits: Tensor) -> Tensor:
        """See `Discrete`."""
        return logits.sigmoid()

    def draw(self, logits: Tensor, num_samples: int) -> Tensor:
        """See `Discrete`."""
        return logits + _logistic(num_samples, logits)

    def harden(self, z: Tensor) -> Tensor:
        """See `Discrete`."""
        return (z > 0).to(z.dtype)

    def draw_given(self, logits: Tensor, z: Tensor) -> Tensor:
        """See `Discrete`."""
        s, size = 2 * self.harden(z) - 1, z.detach().abs()
        shift = softplus(s * logits)
        noise = size + torch.log(-torch.expm1(-size)) - shift.detach()  # log v − log(1 − v)
        return s * softplus(noise + shift)

    def soften(self, z: Tensor, temperature: Tensor | float) -> Tensor:
        """See `Discrete`."""
        return (z / temperature).sigmoid()


class OneHots:
    """One-hot latents with logits (B, *event, K)."""

    def distribution(self, logits: Tensor) -> Independent:
        """See `Discrete`."""
        return Independent(
            LinearOneHotCategorical(logits=logits, validate_args=False), logits.ndim - 2, validate_args=False
        )

    def mean(self, logits: Tensor) -> Tensor:
        """See `Discrete`."""
        return logits.softmax(-1)

    def draw(self, logits: Tensor, num_samples: int) -> Tensor:
        """See `Discrete`."""
        return logits.log_softmax(-1) + _gumbel(num_samples, logits)

    def harden(self, z: Tensor) -> Tensor:
        """See `Discrete`."""
        return (z.argmax(-1, keepdim=True) == torch.arange(z.shape[-1], device=z.device)).to(z.dtype)

    def draw_given(self, logits: Tensor, z: Tensor) -> Tensor:
        """See `Discrete`."""
        log_pi, z = logits.log_softmax(-1), z.detach()
        g_k = z.amax(-1, keepdim=True)
        g = z - torch.log1p(-(z - g_k).exp()) - log_pi.detach()
        return torch.where(z == g_k, g_k, -torch.logaddexp(-log_pi - g, -g_k))

    def soften(self, z: Tensor, temperature: Tensor | float) -> Tensor:
        """See `Discrete`."""
        return (z / temperature).softmax(-1)


def discrete_of(posterior: Distribution, estimator: str, *, bits_only: bool = False) -> tuple[Discrete, Tensor]:
    """The family of q(z | x) and its logits.

    Raises:
        ValueError: q is not a product of Bernoulli or (unless bits_only) categorical latents.
    """
    base = posterior.base_dist if isinstance(posterior, Independent) else posterior
    if isinstance(posterior, Independent) and isinstance(base, Bernoulli):
        return Bits(), base.logits
    if isinstance(posterior, Independent) and isinstance(base, OneHotCategorical) and not bits_only:
        return OneHots(), base.logits
    wanted = "posteriors.Bernoulli" if bits_only else "posteriors.Bernoulli or posteriors.Categorical"
    raise ValueError(
        f"{estimator} needs {wanted}, a product of discrete latents, and got {type(base).__name__}; "
        f"use {'Pathwise' if posterior.has_rsample else 'ScoreFunction'}()."
    )


def q_without_score(objective: Objective, family: Discrete, logits: Tensor) -> Independent:
    """q(z | x) for log w: a constant along φ where its only gradient would be a score of expectation zero.

    In an objective that is linear in a sampled log w, ∇_φ of −log q_φ(b) at fixed b is noise. Without it the estimators
    that weigh differences of log w have no variance at all where q(z | x) = p(z | x).
    """
    noise_only = objective.linear and objective.rate == "sampled"
    return family.distribution(logits.detach() if noise_only else logits)


def credit(objective: Objective, signal: Float[Tensor, "sample batch"]) -> Float[Tensor, "sample batch"]:
    """The factor of each sample's score: its own share if the objective is a mean, the whole value otherwise."""
    return signal / signal.shape[0] if objective.linear else objective.reduce(signal).expand_as(signal)


def along_logits(logits: Float[Tensor, "batch *event"], gradient: Float[Tensor, "batch *event"]) -> Tensor:
    """Zero for each datum, (batch,), with a given gradient for its logits."""
    return (gradient.detach() * (logits - logits.detach())).flatten(1).sum(1)


def _uniform(num_samples: int, logits: Tensor) -> Tensor:
    info = torch.finfo(logits.dtype)
    u = torch.rand(num_samples, *logits.shape, dtype=logits.dtype, device=logits.device)
    return u.clamp(info.tiny, 1 - info.eps)


def _logistic(num_samples: int, logits: Tensor) -> Tensor:
    u = _uniform(num_samples, logits)
    return u.log() - torch.log1p(-u)


def _gumbel(num_samples: int, logits: Tensor) -> Tensor:
    return -(-_uniform(num_samples, logits).log()).log()
