"""Σ_k π_k N(z; μ_k, diag σ_k²), in memory samples × components.

The obvious way to compute Σ_d (z_d − μ_kd)² / σ_kd² for N points and K components holds N × K × D
numbers, and so does its derivative. Expanding the square leaves three matrix products and N × K
numbers:

    Σ_d (z_d − μ_kd)² / σ_kd² = z² · σ_k⁻² − 2 z · (μ_k σ_k⁻²) + μ_k² · σ_k⁻²

In float32 the three terms cancel badly: at |z| = 5, σ = 0.01 each is 2.5 · 10⁵ and the result is wrong by hundredths of
a nat, or by whole nats if the products run in TF32 or bfloat16. They are therefore computed in float64, which neither
TF32 nor autocast changes: the error is below 10⁻¹⁵ D (|z| + |μ|)² / σ² nats. Devices without float64 (MPS) use the
direct form.
"""

from __future__ import annotations

import math
from collections.abc import Generator

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution, constraints

from lowerbound.distributions.in_turn import mixture_in_turn
from lowerbound.hooks import Turn

__all__ = ["NormalMixture"]


class NormalMixture(Distribution):
    """log p(z) = log Σ_k π_k N(z; μ_k, diag σ_k²), nats.

    Arguments:
        logits: (component,) log π up to a constant.
        loc: (component, latent) means μ.
        scale: (component, latent) standard deviations σ > 0.

    Batch shape (), event shape (latent,). Not reparameterised: the choice of a component is
    discrete.

    >>> p = NormalMixture(torch.zeros(2), torch.tensor([[-1.0], [1.0]]), torch.ones(2, 1))
    >>> p.log_prob(torch.zeros(3, 1))
    tensor([-1.4189, -1.4189, -1.4189])
    """

    has_rsample = False

    @property
    def arg_constraints(self) -> dict[str, constraints.Constraint]:
        """None: the parameters are checked where they are made."""
        return {}

    @property
    def support(self) -> constraints.Constraint:
        """Real vectors."""
        return constraints.real_vector

    def __init__(
        self,
        logits: Float[Tensor, "component"],
        loc: Float[Tensor, "component latent"],
        scale: Float[Tensor, "component latent"],
    ):
        self.log_weights = torch.log_softmax(logits, -1)
        self.loc, self.scale = loc, scale
        super().__init__(torch.Size(), loc.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Float[Tensor, "latent"]:
        """Σ_k π_k μ_k."""
        return self.log_weights.exp() @ self.loc

    @property
    def variance(self) -> Float[Tensor, "latent"]:
        """Σ_k π_k (σ_k² + (μ_k − mean)²)."""
        return self.log_weights.exp() @ (self.scale**2 + (self.loc - self.mean) ** 2)

    def log_prob(self, value: Float[Tensor, "*lead latent"]) -> Float[Tensor, "*lead"]:
        """Nats, for any leading axes."""
        return torch.logsumexp(self.log_joint(value), -1)

    def log_joint(self, value: Float[Tensor, "*lead latent"]) -> Float[Tensor, "*lead component"]:
        """log π_k + log N(z; μ_k, diag σ_k²), nats: a softmax over k gives the responsibilities."""
        constant = self.scale.log().sum(-1) + 0.5 * self.loc.shape[-1] * math.log(2 * math.pi)
        return self.log_weights - constant - 0.5 * self._squared_distance(value)

    def sample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        """(*sample_shape, latent)."""
        with torch.no_grad():
            shape = torch.Size(sample_shape)
            k = torch.multinomial(self.log_weights.exp(), shape.numel(), replacement=True)
            k = k.reshape(shape)
            return self.loc[k] + self.scale[k] * torch.randn_like(self.loc[k])

    def in_turn(self, rows: int) -> Generator[Turn, Tensor, None]:
        """See `hooks.ComesInTurn`."""
        each = (self.log_weights, self.loc, self.scale)
        return mixture_in_turn(*(part.expand(rows, *part.shape) for part in each))

    def _squared_distance(self, z: Tensor) -> Tensor:
        if z.device.type == "mps":
            return _direct_squared_distance(z, self.loc, self.scale)
        dtype = torch.promote_types(z.dtype, self.loc.dtype)
        return _expanded_squared_distance(z, self.loc, self.scale).to(dtype)


def _expanded_squared_distance(z: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    """Σ_d (z_d − μ_kd)² / σ_kd² by matrix products in float64: (..., component), float64."""
    z, loc, precision = z.double(), loc.double(), scale.double() ** -2
    return z**2 @ precision.T - 2 * z @ (loc * precision).T + (loc**2 * precision).sum(-1)


def _direct_squared_distance(z: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    """The same sum computed directly: (..., component), through a tensor (..., component, latent)."""
    return (((z[..., None, :] - loc) / scale) ** 2).sum(-1)
