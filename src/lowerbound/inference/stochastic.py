"""Stochastic variational inference: Hoffman, Blei, Wang & Paisley (2013, arXiv:1206.7051, §2.3–2.4), for conjugate
variables.

A variable that all data share has a conjugate prior with natural parameters η_0; each datum n adds its expected
sufficient statistics t_n under its own q(z_n). The natural gradient of the bound is the difference between the optimum
given the local factors and the present λ, so that a step from a batch of M of the N data is

    λ̂ = η_0 + (N/M) Σ_{n in batch} t_n          λ ← (1 − ρ_t) λ + ρ_t λ̂          ρ_t = (t + τ)^−κ

Here the model is the linear-Gaussian one with an unknown offset,

    b ~ N(0, s² I),      z_n ~ N(0, I),      x_n | z_n, b ~ N(W z_n + b, Ψ)

whose factors are Gaussian: q(b) = Π_d N(m_d, v_d) with λ = (m/v, 1/v), η_0 = (0, 1/s²) and t_n = ((x_n − W E[z_n])/ψ,
1/ψ), and q(z_n) the exact posterior at b = m. The bound over the data is

    Σ_n [log p(x_n; b = m) − ½ Σ_d v_d/ψ_d] − KL(q(b) ‖ p(b))

and its maximum has the exact posterior mean of b but too small a variance, because b and z_n are independent under q.
"""

from __future__ import annotations

import dataclasses

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Independent, Normal, kl_divergence

from lowerbound.exact.linear_gaussian import LinearGaussian

__all__ = ["StochasticOffset"]


class StochasticOffset:
    """q(b) for the offset of a linear-Gaussian model, learned from batches by natural gradients.

    Arguments:
        exact: W and σ of the model; m starts at its offset.
        num_data: N.
        prior_scale: s, in the units of x.
        delay: τ; larger takes shorter first steps.
        forgetting: κ in (½, 1]: how fast steps shorten. 0, with whole batches, is coordinate ascent.

    Raises:
        ValueError: a forgetting for which the step sizes do not satisfy the conditions of convergence.

    >>> offset = StochasticOffset(LinearGaussian.random(3, 1), num_data=2, forgetting=0.0)
    >>> offset.update(torch.ones(2, 3, dtype=torch.float64))
    >>> offset.posterior.mean.shape
    torch.Size([3])
    """

    def __init__(
        self,
        exact: LinearGaussian,
        num_data: int,
        *,
        prior_scale: float = 10.0,
        delay: float = 1.0,
        forgetting: float = 0.7,
    ):
        if not (forgetting == 0 or 0.5 < forgetting <= 1):
            raise ValueError(
                f"StochasticOffset got forgetting={forgetting}; choose it in (0.5, 1], or 0 for whole batches."
            )
        self._exact, self._num_data, self._delay, self._forgetting = exact, num_data, delay, forgetting
        self._noise_precision = exact.scale.expand_as(exact.offset) ** -2
        self._prior_precision = torch.full_like(exact.offset, prior_scale**-2)
        self._steps = 0
        self._weighted_mean, self._precision = exact.offset * self._prior_precision, self._prior_precision

    @property
    def posterior(self) -> Independent:
        """q(b), event shape (data,)."""
        mean = self._weighted_mean / self._precision
        return Independent(Normal(mean, self._precision.rsqrt(), validate_args=False), 1, validate_args=False)

    @property
    def model(self) -> LinearGaussian:
        """The model at b = E_q[b], whose posterior is q(z_n)."""
        return dataclasses.replace(self._exact, offset=self.posterior.mean)

    def update(self, x: Float[Tensor, "batch data"]) -> None:
        """One natural-gradient step from a batch."""
        latent = self.model.posterior(x).mean
        residual = (x - latent @ self._exact.weight.mT).sum(0) * self._noise_precision
        scaling = self._num_data / len(x)
        rate = (self._steps + self._delay) ** -self._forgetting
        self._weighted_mean = torch.lerp(self._weighted_mean, scaling * residual, rate)
        whole = self._prior_precision + self._num_data * self._noise_precision
        self._precision, self._steps = torch.lerp(self._precision, whole, rate), self._steps + 1

    def elbo(self, x: Float[Tensor, "batch data"]) -> Float[Tensor, ""]:
        """The bound of log p(x_1, …, x_N), b integrated out, of all N data: nats."""
        q = self.posterior
        prior = Independent(Normal(torch.zeros_like(q.mean), self._prior_precision.rsqrt()), 1)
        spread = 0.5 * (q.variance * self._noise_precision).sum()
        return self.model.log_evidence(x).sum() - len(x) * spread - kl_divergence(q, prior)
