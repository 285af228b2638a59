"""Models with D one-hot latents of K categories, K^D ≤ 1024: every quantity as a sum over the K^D states.

    log p(x) = log Σ_z p(x, z)          E_q[R(f(z_1), …, f(z_S))] = Σ_{z_1, …, z_S} Π_s q(z_s | x) R(f(z_1), …, f(z_S))

Both are differentiable, q included, so that the exact gradient of any objective comes from autograd.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lowerbound.exact.expectation import expectation
from lowerbound.likelihoods import Bernoulli as BernoulliLikelihood
from lowerbound.model import LatentVariableModel
from lowerbound.nets import MLP
from lowerbound.objectives import ELBO, IWAE
from lowerbound.posteriors import Categorical as CategoricalPosterior
from lowerbound.priors import Categorical as CategoricalPrior
from lowerbound.protocols import Objective
from lowerbound.weights import weigh

__all__ = ["EnumerableCategorical"]

_MAX_STATES = 1024


class EnumerableCategorical:
    """Exact values of a latent variable model whose latents are D one-hot vectors of length K.

    Arguments:
        model: any model whose z is (…, latent_dim, categories); its own parameters are what gradients flow to.
        latent_dim: D.
        categories: K.

    Attributes:
        states: (K^D, D, K), every value of z.

    Raises:
        ValueError: more than 1024 states, or none.

    >>> exact = EnumerableCategorical.random(2, 3, 5)
    >>> x = torch.ones(2, 5, dtype=torch.float64)
    >>> bool((exact.elbo(x) < exact.log_evidence(x)).all())
    True
    """

    def __init__(self, model: LatentVariableModel, latent_dim: int, categories: int):
        if latent_dim < 1 or categories < 2 or categories**latent_dim > _MAX_STATES:
            raise ValueError(
                f"EnumerableCategorical got latent_dim={latent_dim} and categories={categories} and can enumerate "
                f"2 to {_MAX_STATES} states; use a smaller model."
            )
        self._model = model
        rows = torch.cartesian_prod(*[torch.arange(categories)] * latent_dim).reshape(-1, latent_dim)
        self.states = torch.eye(categories)[rows]

    @classmethod
    def random(
        cls,
        latent_dim: int,
        categories: int,
        data_dim: int,
        hidden: Sequence[int] = (),
        *,
        seed: int = 0,
        dtype: torch.dtype = torch.float64,
    ) -> EnumerableCategorical:
        """One with a categorical prior, a Bernoulli likelihood and a factorised posterior with linear logits.

        Arguments:
            latent_dim: D.
            categories: K.
            data_dim: length of x in {0, 1}^data_dim.
            hidden: widths of the hidden layers of the likelihood; empty for linear logits.
            seed: of the weights, which are standard normal divided by the square root of the fan-in, times 2.
            dtype: of the parameters.
        """
        model = LatentVariableModel(
            prior=CategoricalPrior(latent_dim, categories),
            likelihood=BernoulliLikelihood(MLP((latent_dim, categories), hidden, data_dim, nn.Tanh)),
            posterior=CategoricalPosterior(MLP(data_dim, [], (latent_dim, categories)), categories),
        ).to(dtype)
        g = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for p in model.parameters():
                p.copy_(2 * torch.randn(p.shape, generator=g, dtype=dtype) / p.shape[-1] ** 0.5)
        return cls(model, latent_dim, categories)

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
            ValueError: K^(D · num_samples) is more than 2^18.
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
        """Every state for every datum: (K^D, B, D, K)."""
        return self.states.to(x)[:, None].expand(-1, x.shape[0], -1, -1)
