"""Models with L ≤ 10 binary latents: every quantity as a sum over the 2^L states.

    log p(x) = log Σ_z p(x, z)          E_q[R(f(z_1), …, f(z_K))] = Σ_{z_1, …, z_K} Π_k q(z_k | x)
    R(f(z_1), …, f(z_K))

Both are differentiable, q included, so that the exact gradient of any objective comes from
autograd.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Bernoulli, Independent

from lowerbound.exact.expectation import expectation
from lowerbound.likelihoods import Bernoulli as BernoulliLikelihood
from lowerbound.model import LatentVariableModel
from lowerbound.nets import MLP
from lowerbound.objectives import ELBO, IWAE
from lowerbound.protocols import Context, Objective
from lowerbound.weights import weigh

__all__ = ["EnumerableBernoulli", "FactorisedBernoulli"]

_MAX_LATENT_DIM = 10


class FactorisedBernoulli(nn.Module):
    """Independent binary latents: with constant logits (a prior) or with those of a net (a
    posterior).

    Arguments:
        logits: (latent,) constant logits, made a parameter; or a net from x (B, …) to logits (B,
            latent).
    """

    def __init__(self, logits: Tensor | nn.Module):
        super().__init__()
        self.net = logits if isinstance(logits, nn.Module) else None
        self.logits = nn.Parameter(logits.detach().clone()) if isinstance(logits, Tensor) else None

    def forward(self, context: Context | None = None) -> Independent:
        """p(z), or q(z | context)."""
        logits = self.logits if self.net is None else self.net(context)
        return Independent(Bernoulli(logits=logits, validate_args=False), 1, validate_args=False)


class EnumerableBernoulli:
    """Exact values of a latent variable model whose latents are L ≤ 10 binary variables.

    Arguments:
        model: any model whose z is (…, latent_dim) in {0, 1}; its own parameters are what
            gradients flow to.
        latent_dim: L.

    Attributes:
        states: (2^L, L), every value of z.

    Raises:
        ValueError: more than ten latents.

    >>> exact = EnumerableBernoulli.random(3, 5)
    >>> x = torch.ones(2, 5, dtype=torch.float64)
    >>> bool((exact.elbo(x) < exact.log_evidence(x)).all())
    True
    """

    def __init__(self, model: LatentVariableModel, latent_dim: int):
        if not 1 <= latent_dim <= _MAX_LATENT_DIM:
            raise ValueError(
                f"EnumerableBernoulli got latent_dim={latent_dim} and can enumerate 1 to "
                f"{_MAX_LATENT_DIM}; use a smaller model."
            )
        self._model = model
        bits = torch.arange(latent_dim)
        self.states = (torch.arange(2**latent_dim)[:, None] >> bits & 1).to(torch.get_default_dtype())

    @classmethod
    def random(
        cls,
        latent_dim: int,
        data_dim: int,
        hidden: Sequence[int] = (),
        *,
        seed: int = 0,
        dtype: torch.dtype = torch.float64,
    ) -> EnumerableBernoulli:
        """One with a Bernoulli prior and likelihood and a factorised posterior with linear logits.

        Arguments:
            latent_dim: L.
            data_dim: length of x in {0, 1}^data_dim.
            hidden: widths of the hidden layers of the likelihood; empty for linear logits.
            seed: of the weights, which are standard normal divided by the square root of the
                fan-in, times 2.
            dtype: of the parameters.
        """
        model = LatentVariableModel(
            prior=FactorisedBernoulli(torch.zeros(latent_dim)),
            likelihood=BernoulliLikelihood(MLP(latent_dim, hidden, data_dim, nn.Tanh)),
            posterior=FactorisedBernoulli(MLP(data_dim, [], latent_dim)),
        ).to(dtype)
        g = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for p in model.parameters():
                p.copy_(2 * torch.randn(p.shape, generator=g, dtype=dtype) / p.shape[-1] ** 0.5)
        return cls(model, latent_dim)

    def model(self) -> LatentVariableModel:
        """The model itself; the gradients of exact values flow to its parameters."""
        return self._model

    def log_evidence(self, x: Float[Tensor, "batch data"]) -> Float[Tensor, "batch"]:
        """log p(x), nats."""
        log_likelihood, log_prior = self._model.joint(x)(self._everywhere(x))
        return torch.logsumexp(log_likelihood + log_prior, 0)

    def bound(self, objective: Objective, x: Float[Tensor, "batch data"], num_samples: int) -> Float[Tensor, "batch"]:
        """The expectation of any objective over num_samples draws from q(z | x), nats.

        Raises:
            ValueError: 2^(L · num_samples) is more than 2^18.
        """
        z, q = self._everywhere(x), self._model.infer(x)
        w = weigh(q, self._model.joint(x), z, rate=objective.rate)
        return expectation(objective, w, q.log_prob(z), num_samples)

    def elbo(self, x: Float[Tensor, "batch data"]) -> Float[Tensor, "batch"]:
        """E_q[log w], nats."""
        return self.bound(ELBO(), x, 1)

    def iwae(self, x: Float[Tensor, "batch data"], num_samples: int) -> Float[Tensor, "batch"]:
        """E_q[log (1/K) Σ_k w_k], K = num_samples, nats."""
        return self.bound(IWAE(), x, num_samples)

    def _everywhere(self, x: Tensor) -> Tensor:
        """Every state for every datum: (2^L, B, L)."""
        return self.states.to(x)[:, None].expand(-1, x.shape[0], -1)
