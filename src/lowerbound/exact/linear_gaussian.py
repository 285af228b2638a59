"""The linear-Gaussian model (probabilistic PCA, factor analysis), in closed form.

    z ~ N(0, I_L),      x | z ~ N(W z + b, Ψ),      Ψ = diag σ²

With r = x − b, A = Wᵀ Ψ⁻¹ and M = I + A W (the posterior precision), Bayes' rule and the Woodbury
identity give

    p(z | x) = N(M⁻¹ A r, M⁻¹)
    log p(x) = −½ [D log 2π + log|Ψ| + log|M| + rᵀ Ψ⁻¹ r − (A r)ᵀ M⁻¹ (A r)]

so that only L × L matrices are factorised. For q(z | x) = N(m, C),

    ELBO = −½ [D log 2π + log|Ψ| + rᵀΨ⁻¹r − 2 mᵀ A r + mᵀ M m + tr(M C) − L − log|C|]

(expand E_q of log p(x | z) + log p(z), add the entropy of q). Among factorised q, C = diag s²: the
ELBO is a concave quadratic of m with its maximum at the posterior mean, and ½ log s_i² − ½ M_ii
s_i² is largest at s_i² = 1 / M_ii. Hence the optimal factorised q has the mean of the posterior and the *diagonal of
its precision*. Its loss is exactly

    log p(x) − ELBO = ½ [Σ_i log M_ii − log|M|] ≥ 0      (Hadamard's inequality), for every x alike.

References: Tipping & Bishop (1999), eqs. 3–8; Bishop, *Pattern Recognition and Machine Learning*
    (2006), §10.1.2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from lowerbound.exact.affine import AffineNormal
from lowerbound.likelihoods import Normal
from lowerbound.model import LatentVariableModel
from lowerbound.nets import MLP, positive, raw_of
from lowerbound.priors import StandardNormal
from lowerbound.protocols import Conditional

__all__ = ["LinearGaussian"]

_LOG_2PI = math.log(2 * math.pi)


@dataclass(frozen=True)
class LinearGaussian:
    """x = W z + b + σ ε with z and ε standard normal.

    Arguments:
        weight: W (data, latent).
        offset: b (data,).
        scale: σ, one number () or one for each dimension (data,); positive, in the units of x.

    >>> exact = LinearGaussian(torch.ones(2, 1), torch.zeros(2), torch.tensor(1.0))
    >>> exact.log_evidence(torch.zeros(1, 2))
    tensor([-2.3872])
    """

    weight: Float[Tensor, "data latent"]
    offset: Float[Tensor, "data"]
    scale: Float[Tensor, ""] | Float[Tensor, "data"]

    @classmethod
    def of(cls, likelihood: nn.Module) -> LinearGaussian:
        """The exact counterpart of a `likelihoods.Normal` with a linear `nets.MLP`.

        Its tensors are functions of the likelihood's parameters, so that exact values
        differentiate into the model.

        Raises:
            ValueError: the likelihood is not linear and Gaussian with a scale that does not depend
                on z.
        """
        layer = _linear_layer(likelihood)
        if layer is None or not isinstance(likelihood, Normal):
            raise ValueError(
                f"LinearGaussian.of got {type(likelihood).__name__} and needs likelihoods.Normal "
                "over a linear MLP with a scale that does not depend on z."
            )
        if isinstance(likelihood.scale, str):
            scale = positive(likelihood.raw_scale, likelihood.min_scale)
        else:
            scale = layer.bias.new_full((), likelihood.scale)
        return cls(layer.weight, layer.bias, scale.flatten() if scale.ndim else scale)

    @classmethod
    def random(
        cls, data_dim: int, latent_dim: int, *, seed: int = 0, dtype: torch.dtype = torch.float64
    ) -> LinearGaussian:
        """One with a standard normal W and b, and scales between ½ and 1."""
        g = torch.Generator().manual_seed(seed)
        weight = torch.randn(data_dim, latent_dim, generator=g, dtype=dtype)
        offset = torch.randn(data_dim, generator=g, dtype=dtype)
        return cls(weight, offset, 0.5 + 0.5 * torch.rand(data_dim, generator=g, dtype=dtype))

    @property
    def posterior_precision(self) -> Float[Tensor, "latent latent"]:
        """M = I + Wᵀ Ψ⁻¹ W, the same for every x."""
        eye = torch.eye(self.weight.shape[1], dtype=self.weight.dtype, device=self.weight.device)
        return eye + self._projection @ self.weight

    def log_evidence(self, x: Float[Tensor, "batch data"]) -> Float[Tensor, "batch"]:
        """log p(x), nats, in O(N·D·L)."""
        precision = self.posterior_precision
        projected = (x - self.offset) @ self._projection.mT
        explained = (projected @ torch.linalg.inv(precision) * projected).sum(-1)
        return -0.5 * (self._data_terms(x) + torch.logdet(precision) - explained)

    def posterior(self, x: Float[Tensor, "batch data"]) -> MultivariateNormal:
        """p(z | x): batch shape (N,), event shape (latent,)."""
        precision = self.posterior_precision
        mean = self._posterior_mean(x)
        covariance = torch.linalg.inv(precision).expand(*mean.shape, mean.shape[-1])
        return MultivariateNormal(mean, covariance, validate_args=False)

    def elbo(
        self,
        x: Float[Tensor, "batch data"],
        mean: Float[Tensor, "batch latent"],
        *,
        scale: Float[Tensor, "batch latent"] | None = None,
        covariance: Float[Tensor, "batch latent latent"] | None = None,
    ) -> Float[Tensor, "batch"]:
        """The ELBO of q(z | x) = N(mean, covariance), or N(mean, diag scale²): (N,) nats.

        Raises:
            ValueError: not exactly one of scale and covariance was given.
        """
        if (scale is None) == (covariance is None):
            raise ValueError("LinearGaussian.elbo needs one of scale= (factorised) and covariance= (full).")
        c = torch.diag_embed(scale**2) if scale is not None else covariance
        assert c is not None
        precision = self.posterior_precision
        projected = (x - self.offset) @ self._projection.mT
        quadratic = ((mean @ precision - 2 * projected) * mean).sum(-1)
        spread = (precision * c).sum((-2, -1)) - mean.shape[-1] - torch.logdet(c)
        return -0.5 * (self._data_terms(x) + quadratic + spread)

    def optimal_diagonal(
        self, x: Float[Tensor, "batch data"]
    ) -> tuple[Float[Tensor, "batch latent"], Float[Tensor, "batch latent"]]:
        """Mean and scale of the factorised Gaussian with the largest ELBO."""
        mean = self._posterior_mean(x)
        return mean, self.posterior_precision.diagonal().rsqrt().expand_as(mean)

    def optimal_elbo(self, x: Float[Tensor, "batch data"]) -> Float[Tensor, "batch"]:
        """The ELBO of `optimal_diagonal`: (N,) nats."""
        precision = self.posterior_precision
        return self.log_evidence(x) - 0.5 * (precision.diagonal().log().sum() - torch.logdet(precision))

    def sample(self, num_samples: int) -> Float[Tensor, "sample data"]:
        """Draw x ~ p(x)."""
        z = torch.randn(num_samples, self.weight.shape[1], dtype=self.weight.dtype, device=self.weight.device)
        mean = z @ self.weight.mT + self.offset
        return mean + self.scale * torch.randn_like(mean)

    def posterior_module(self, *, diagonal: bool = False) -> AffineNormal:
        """p(z | x), or the optimal factorised q(z | x), as a module with its own parameters."""
        precision = self.posterior_precision
        covariance = torch.linalg.inv(precision)
        weight = covariance @ self._projection
        offset = -weight @ self.offset
        if diagonal:
            return AffineNormal(weight, offset, log_scale=-0.5 * precision.diagonal().log())
        return AffineNormal(weight, offset, scale_tril=torch.linalg.cholesky(covariance))

    def model(self, posterior: Conditional | None = None) -> LatentVariableModel:
        """This model as a `LatentVariableModel` with its own parameters; its posterior is exact unless one is given."""
        data_dim, latent_dim = self.weight.shape
        likelihood = Normal(MLP(latent_dim, [], data_dim), scale="per-dimension", min_scale=0.0)
        model = LatentVariableModel(
            prior=StandardNormal(latent_dim),
            likelihood=likelihood,
            posterior=self.posterior_module() if posterior is None else posterior,
        ).to(self.weight)
        layer = _linear_layer(likelihood)
        assert layer is not None
        with torch.no_grad():
            layer.weight.copy_(self.weight)
            layer.bias.copy_(self.offset)
            likelihood.raw_scale.copy_(raw_of(self.scale, 0.0))
        return model

    @property
    def _projection(self) -> Tensor:
        """A = Wᵀ Ψ⁻¹ (latent, data)."""
        return self.weight.mT / self.scale**2

    def _posterior_mean(self, x: Tensor) -> Tensor:
        return (x - self.offset) @ self._projection.mT @ torch.linalg.inv(self.posterior_precision)

    def _data_terms(self, x: Tensor) -> Tensor:
        """D log 2π + log|Ψ| + rᵀ Ψ⁻¹ r."""
        residual = (x - self.offset) / self.scale
        log_scale = self.scale.log().expand(x.shape[-1])
        return (residual**2).sum(-1) + 2 * log_scale.sum() + x.shape[-1] * _LOG_2PI


def _linear_layer(likelihood: nn.Module) -> nn.Linear | None:
    """The only layer of a Gaussian likelihood that is linear in z, if it is one."""
    if not isinstance(likelihood, Normal) or likelihood.scale == "heteroscedastic":
        return None
    layers = likelihood.net.layers if isinstance(likelihood.net, MLP) else ()
    layer = layers[0] if len(layers) == 1 else None
    return layer if isinstance(layer, nn.Linear) else None
