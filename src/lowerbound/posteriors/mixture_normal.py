"""q(z | x) = Σ_k π_k N(z; μ_k, diag σ_k²), with weights, means and scales depending on x.

There are two ways to learn it, both unbiased, also for the mixture weights.

*Implicit reparameterisation* (Figurnov et al. 2018, arXiv:1805.08498, §3; Graves 2016, arXiv:1607.05690):
`rsample` draws z, then gives it the derivative that keeps each conditional distribution function at its value,

    F_d(z) = Σ_k w_kd(z) Φ((z_d − μ_kd) / σ_kd),      w_kd ∝ π_k Π_{j<d} N(z_j; μ_kj, σ_kj²)
    ∂z/∂φ = −(∂F/∂z)⁻¹ ∂F/∂φ

∂F/∂z is lower triangular: on the diagonal Σ_k w_kd N_kd, below it Σ_k w_kd (Φ_kd − F_d) ∂ log N_kj / ∂z_j.

*Stratification* (Morningstar et al. 2021, arXiv:2003.01687, §3): `rsample_by_component` draws T latents
from every component, and the bound sums over components in closed form,

    ELBO = Σ_k π_k E_{q_k}[log w(z)],      log p(x) ≥ E[log Σ_k π_k (1/T) Σ_t w(z_kt)]

where π is differentiated as an ordinary factor. These samples are not independent draws of q: they can replace those of
`rsample` only in a bound that weighs them by `log_weights`.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from lowerbound.distributions.in_turn import mixture_in_turn
from lowerbound.hooks import Turn
from lowerbound.nets.parameters import parameters_of
from lowerbound.nets.shapes import Shape
from lowerbound.nets.softplus import positive
from lowerbound.posteriors.parameters import SampleShape, latent_dim_of, require_at_least
from lowerbound.protocols import Context

__all__ = ["MixtureNormal", "MixtureNormalDistribution"]

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


class MixtureNormal(nn.Module):
    """A mixture of factorised Gaussians computed by a net.

    Arguments:
        net: from a context (..., *event) to (..., components, 2 latent_dim + 1): the logit, mean and scale (before
            `positive`) of each component.
        components: K.
        latent_shape: length of z; read from `net.out_shape` if the net states it.
        min_scale: the floor ε of every scale.

    Returns (when called with a context of B rows):
        A reparameterised distribution with batch shape (B,) and event shape (latent_dim,).

    Raises:
        ValueError: components < 1, or the output shape of the net is not (components, 2 latent_dim + 1).
    """

    cites: ClassVar[tuple[str, ...]] = ("figurnov2018implicit", "graves2016stochastic", "morningstar2021automatic")

    def __init__(
        self,
        net: nn.Module,
        components: int = 4,
        latent_shape: Shape | None = None,
        min_scale: float = 1e-3,
    ):
        super().__init__()
        require_at_least(1, owner="MixtureNormal", components=components)
        self.net, self.components, self.min_scale = net, components, min_scale
        self.latent_dim = latent_dim_of(
            net, latent_shape, lambda d: self.parameter_shape(d, components), owner="MixtureNormal"
        )
        self.event_shape = (self.latent_dim,)

    @staticmethod
    def parameter_shape(latent_dim: int, components: int = 4) -> tuple[int, ...]:
        """What its net must output per datum."""
        return (components, 2 * latent_dim + 1)

    def forward(self, context: Context) -> MixtureNormalDistribution:
        """q(z | context)."""
        d = self.latent_dim
        logits, loc, raw = parameters_of(self.net, context).split([1, d, d], dim=-1)
        scale = positive(raw, self.min_scale)
        return MixtureNormalDistribution(logits.squeeze(-1), loc, scale)


class MixtureNormalDistribution(Distribution):
    """Σ_k π_k N(μ_k, diag σ_k²).

    Arguments:
        logits: log π_k up to a constant (..., K).
        loc: μ (..., K, D).
        scale: σ (..., K, D), positive.

    Attributes:
        log_weights: log π (..., K), nats.
    """

    arg_constraints = {}  # noqa: RUF012  # pyright: ignore[reportAssignmentType]
    has_rsample = True

    def __init__(self, logits: Tensor, loc: Tensor, scale: Tensor):
        self.log_weights = torch.log_softmax(logits, -1)
        self.loc, self.scale = loc, scale
        super().__init__(loc.shape[:-2], loc.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """Σ_k π_k μ_k (..., D)."""
        return (self.log_weights.exp().unsqueeze(-1) * self.loc).sum(-2)

    @property
    def variance(self) -> Tensor:
        """Σ_k π_k (σ_k² + (μ_k − mean)²), the diagonal of the covariance (..., D)."""
        spread = self.scale.square() + (self.loc - self.mean.unsqueeze(-2)).square()
        return (self.log_weights.exp().unsqueeze(-1) * spread).sum(-2)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density of value (..., D): (...), nats."""
        return torch.logsumexp(self.log_weights + self._log_normals(value).sum(-1), -1)

    def in_turn(self, rows: int) -> Generator[Turn, Tensor, None]:
        """See `hooks.ComesInTurn`."""
        return mixture_in_turn(self.log_weights, self.loc, self.scale)

    def sample(self, sample_shape: SampleShape = ()) -> Tensor:
        """Draw (*sample_shape, ..., D), without a derivative."""
        with torch.no_grad():
            shape = self._extended_shape(sample_shape)
            logits = self.log_weights.expand(*shape[:-1], self.log_weights.shape[-1])
            gumbel = -torch.empty_like(logits).exponential_().log()
            chosen = (logits + gumbel).argmax(-1)[..., None, None].expand(*shape[:-1], 1, shape[-1])
            loc = self.loc.expand(*logits.shape, -1).gather(-2, chosen).squeeze(-2)
            scale = self.scale.expand(*logits.shape, -1).gather(-2, chosen).squeeze(-2)
            return loc + scale * torch.randn(shape, dtype=loc.dtype, device=loc.device)

    def rsample(self, sample_shape: SampleShape = ()) -> Tensor:
        """Draw (*sample_shape, ..., D); the derivative is implicit and exact for weights, means and scales."""
        z = self.sample(sample_shape)
        if not (torch.is_grad_enabled() and self._learns()):
            return z
        f, jacobian = self._distribution_function(z)
        change = (f - f.detach()).unsqueeze(-1)
        return z - torch.linalg.solve_triangular(jacobian.detach(), change, upper=False).squeeze(-1)

    def rsample_by_component(self, num_samples: int) -> Tensor:
        """Draw num_samples latents from every component: (K, num_samples, ..., D), to be weighed by `log_weights`."""
        loc, scale = self.loc.movedim(-2, 0).unsqueeze(1), self.scale.movedim(-2, 0).unsqueeze(1)
        shape = (loc.shape[0], num_samples, *loc.shape[2:])
        return loc + scale * torch.randn(shape, dtype=loc.dtype, device=loc.device)

    def _learns(self) -> bool:
        return any(p.requires_grad for p in (self.log_weights, self.loc, self.scale))

    def _standardised(self, value: Tensor) -> Tensor:
        return (value.unsqueeze(-2) - self.loc) / self.scale

    def _log_normals(self, value: Tensor) -> Tensor:
        """log N(value_d; μ_kd, σ_kd²) (..., K, D)."""
        return -0.5 * self._standardised(value).square() - self.scale.log() - _HALF_LOG_2PI

    def _distribution_function(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """F(z) (..., D), differentiable along the parameters, and ∂F/∂z (..., D, D)."""
        log_normals = self._log_normals(z)
        before = log_normals.cumsum(-1) - log_normals
        w = torch.softmax(self.log_weights.unsqueeze(-1) + before, -2)
        u = self._standardised(z)
        phi = torch.special.ndtr(u)
        f = (w * phi).sum(-2)
        below = torch.einsum("...kd,...kj->...dj", w * (phi - f.unsqueeze(-2)), -u / self.scale)
        density = (w * log_normals.exp()).sum(-2)
        return f, below.tril(-1) + torch.diag_embed(density)
