"""q(z | x) = N(z; μ, S (I + U Uᵀ) S), S = diag σ(x): factor analysis whose matrix depends on x.

Rezende, Mohamed & Wierstra (2014, arXiv:1401.4082, §4.3) use rank one; here U is (D, R). A draw needs R + D normals,

    z = μ + σ ⊙ (ε + U η),      ε ~ N(0, I_D),  η ~ N(0, I_R)

and the density a reduced factorisation of the (D + R, R) matrix [U; I] = Q T, with T upper triangular:

    log det Σ = 2 Σ_d log σ_d + 2 Σ_r log |T_rr|
    (z − μ)ᵀ Σ⁻¹ (z − μ) = min_η ‖y − U η‖² + ‖η‖² = ‖[y; 0] − Q Qᵀ [y; 0]‖²,      y = (z − μ) / σ

The least-squares form neither subtracts large numbers nor squares U, so that it is accurate in float32, where T Tᵀ is
not. U is in units of σ; V = S U gives any covariance diag + V Vᵀ.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from lowerbound.distributions.in_turn import gaussian_in_turn
from lowerbound.hooks import Turn
from lowerbound.nets.parameters import parameters_of
from lowerbound.nets.shapes import Shape
from lowerbound.nets.softplus import positive
from lowerbound.posteriors.parameters import SampleShape, latent_dim_of, require_at_least
from lowerbound.protocols import Context

__all__ = ["LowRankNormal", "LowRankNormalDistribution"]


class LowRankNormal(nn.Module):
    """A Gaussian of diagonal plus low-rank covariance, computed by a net.

    Arguments:
        net: from a context (..., *event) to (..., 2 + rank, latent_dim): the mean, the scale before `positive`, and
            the columns of U.
        rank: R, the number of factors.
        latent_shape: length of z; read from `net.out_shape` if the net states it.
        min_scale: the floor ε of σ.

    Returns (when called with a context of B rows):
        A reparameterised distribution with batch shape (B,), event shape (latent_dim,) and a closed-form entropy.

    Raises:
        ValueError: rank < 1, or the output shape of the net is not (2 + rank, latent_dim).
    """

    cites: ClassVar[tuple[str, ...]] = ("rezende2014stochastic",)

    def __init__(
        self,
        net: nn.Module,
        rank: int = 2,
        latent_shape: Shape | None = None,
        min_scale: float = 1e-4,
    ):
        super().__init__()
        require_at_least(1, owner="LowRankNormal", rank=rank)
        self.net, self.rank, self.min_scale = net, rank, min_scale
        self.latent_dim = latent_dim_of(
            net, latent_shape, lambda d: self.parameter_shape(d, rank), owner="LowRankNormal"
        )
        self.event_shape = (self.latent_dim,)

    @staticmethod
    def parameter_shape(latent_dim: int, rank: int = 2) -> tuple[int, ...]:
        """What its net must output per datum."""
        return (2 + rank, latent_dim)

    def forward(self, context: Context) -> LowRankNormalDistribution:
        """q(z | context)."""
        loc, raw, factors = parameters_of(self.net, context).split([1, 1, self.rank], dim=-2)
        scale = positive(raw.squeeze(-2), self.min_scale)
        return LowRankNormalDistribution(loc.squeeze(-2), scale, factors.mT)


class LowRankNormalDistribution(Distribution):
    """N(μ, S (I + U Uᵀ) S).

    Arguments:
        loc: μ (..., D).
        scale: σ (..., D), positive.
        factors: U (..., D, R).

    Attributes:
        half_log_det: ½ log det Σ (...), nats.
    """

    arg_constraints = {}  # noqa: RUF012  # pyright: ignore[reportAssignmentType]
    has_rsample = True

    def __init__(self, loc: Tensor, scale: Tensor, factors: Tensor):
        self.loc, self.scale, self.factors = loc, scale, factors
        eye = torch.eye(factors.shape[-1], dtype=loc.dtype, device=loc.device)
        stacked = torch.cat([factors, eye.expand(*factors.shape[:-2], *eye.shape)], dim=-2)
        self._q, t = torch.linalg.qr(stacked)
        log_t = t.diagonal(dim1=-2, dim2=-1).abs().log().sum(-1)
        self.half_log_det = scale.log().sum(-1) + log_t
        super().__init__(loc.shape[:-1], loc.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """μ (..., D)."""
        return self.loc

    @property
    def variance(self) -> Tensor:
        """The diagonal of the covariance (..., D)."""
        return self.scale.square() * (1 + self.factors.square().sum(-1))

    @property
    def covariance_matrix(self) -> Tensor:
        """Σ (..., D, D)."""
        v = self.scale.unsqueeze(-1) * self.factors
        return torch.diag_embed(self.scale.square()) + v @ v.mT

    def rsample(self, sample_shape: SampleShape = ()) -> Tensor:
        """Draw (*sample_shape, ..., D)."""
        shape = self._extended_shape(sample_shape)
        epsilon = torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device)
        rank = self.factors.shape[-1]
        eta = torch.randn(*shape[:-1], rank, dtype=self.loc.dtype, device=self.loc.device)
        noise = epsilon + torch.einsum("...dr,...r->...d", self.factors, eta)
        return self.loc + self.scale * noise

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density of value (..., D): (...), nats."""
        d = self.event_shape[0]
        y = (value - self.loc) / self.scale
        projected = torch.einsum("...dr,...d->...r", self._q[..., :d, :], y)
        fitted = torch.einsum("...dr,...r->...d", self._q, projected)
        mahalanobis = (y - fitted[..., :d]).square().sum(-1) + fitted[..., d:].square().sum(-1)
        return -0.5 * (mahalanobis + d * math.log(2 * math.pi)) - self.half_log_det

    def in_turn(self, rows: int) -> Generator[Turn, Tensor, None]:
        """See `hooks.ComesInTurn`."""
        return gaussian_in_turn(self.loc, torch.linalg.cholesky(self.covariance_matrix))

    def entropy(self) -> Tensor:
        """½ log det 2πe Σ (...), nats."""
        return self.half_log_det + 0.5 * self.event_shape[0] * (1 + math.log(2 * math.pi))
