"""Latent Dirichlet allocation by stochastic variational inference (Hoffman, Blei, Wang & Paisley 2013, JMLR 14).

    β_k ~ Dir(η)       θ_d ~ Dir(α)       z_di ~ θ_d       w_di ~ β_{z_di}
    q(β_k) = Dir(λ_k)  q(θ_d) = Dir(γ_d)  q(z_di = k) ∝ exp(E[log θ_dk] + E[log β_kw])

Given λ the best γ of a text is a fixed point (eqs. 5–6); given γ of a batch B of D texts the natural gradient of the
bound for λ is λ̂ − λ, so that a step of size ρ_t = (τ + t)^−κ is an average (eqs. 24–26):

    γ_dk = α + Σ_w x_dw φ_dwk        λ̂_kw = η + (D / |B|) Σ_{d ∈ B} x_dw φ_dwk        λ ← (1 − ρ_t) λ + ρ_t λ̂
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["TopicFit", "expected_log", "fit_topics", "shares_of"]

_MOST_UPDATES, _TOLERANCE = 100, 1e-3
_DELAY, _FORGETTING = 10.0, 0.7  # τ, κ
_TINY = 1e-30


@dataclass(frozen=True)
class TopicFit:
    """q(β) and the parameters of the two Dirichlet priors.

    Arguments:
        weight: λ.
        concentration: α, of the shares of topics in a text.
        smoothing: η, of the words of a topic.
    """

    weight: Float[Tensor, "topic word"]
    concentration: float
    smoothing: float

    def bound(self, x: Float[Tensor, "text word"]) -> float:
        """The lower bound of log p(all words), nats, with every latent in it: θ, z and the topics themselves."""
        log_topics = expected_log(self.weight)
        gamma = shares_of(x, log_topics.exp(), self.concentration)
        log_shares = expected_log(gamma)
        fit = (x * _log_mixture(log_shares, log_topics)).sum()
        of_texts = _minus_divergence(gamma, self.concentration, log_shares)
        of_topics = _minus_divergence(self.weight, self.smoothing, log_topics)
        return float(fit + of_texts + of_topics)


def fit_topics(
    x: Float[Tensor, "text word"],
    num_topics: int,
    *,
    concentration: float,
    smoothing: float,
    passes: int = 20,
    batch_size: int = 256,
) -> TopicFit:
    """Fit topics to counts of words. The seed comes from torch's own random state.

    Arguments:
        x: counts.
        num_topics: K.
        concentration: α.
        smoothing: η.
        passes: over the texts, each in a new order.
        batch_size: |B|.
    """
    weight = torch.distributions.Gamma(100.0, 100.0).sample((num_topics, x.shape[1])).to(x)
    step = 0
    for _ in range(passes):
        for rows in torch.randperm(len(x)).split(batch_size):
            step += 1
            batch, topics = x[rows], expected_log(weight).exp()
            shares = expected_log(shares_of(batch, topics, concentration)).exp()
            found = topics * (shares.mT @ (batch / (shares @ topics + _TINY)))
            rho = (_DELAY + step) ** -_FORGETTING
            weight = (1 - rho) * weight + rho * (smoothing + len(x) / len(rows) * found)
    return TopicFit(weight, concentration, smoothing)


def shares_of(
    x: Float[Tensor, "text word"], topics: Float[Tensor, "topic word"], concentration: float
) -> Float[Tensor, "text topic"]:
    """γ of each text, the fixed point.

    Arguments:
        x: counts.
        topics: exp E[log β], or β where the topics are known.
        concentration: α.
    """
    gamma = x.new_ones(len(x), len(topics))
    for _ in range(_MOST_UPDATES):
        shares = expected_log(gamma).exp()
        new = concentration + shares * ((x / (shares @ topics + _TINY)) @ topics.mT)
        change, gamma = (new - gamma).abs().mean(1).max(), new
        if change < _TOLERANCE:
            break
    return gamma


def expected_log(concentration: Float[Tensor, "*lead event"]) -> Float[Tensor, "*lead event"]:
    """E[log θ] under Dirichlet distributions."""
    return concentration.digamma() - concentration.sum(-1, keepdim=True).digamma()


def _log_mixture(log_shares: Tensor, log_topics: Tensor) -> Float[Tensor, "text word"]:
    """log Σ_k exp(E[log θ_dk] + E[log β_kw])."""
    return (log_shares.exp() @ log_topics.exp() + _TINY).log()


def _minus_divergence(own: Tensor, prior: float, expected: Tensor) -> Tensor:
    """−Σ KL(Dir(own) ‖ Dir(prior, …, prior)) over rows."""
    size = own.shape[1]
    p = own.new_full((), prior)
    of_rows = ((prior - own) * expected).sum(1) + own.lgamma().sum(1) - own.sum(1).lgamma()
    return (of_rows + (p * size).lgamma() - size * p.lgamma()).sum()
