"""q(z | x) = N(z; μ(x), L(x) L(x)ᵀ): a Gaussian with every covariance.

    L = diag(σ) (I + N / D),      σ = ε + softplus(s + c) > 0,      N strictly lower triangular

(Kingma & Welling 2019, arXiv:1906.02691, §2.5.1). L is a Cholesky factor with diagonal σ, so every positive
definite covariance has exactly one (σ, N). The rows of N are in units of σ, which keeps L⁻¹ = (I + N / D)⁻¹ diag(σ)⁻¹
tame: small scales do not multiply one another.

N is divided by D because each z_d adds up to D − 1 of its entries, which a stochastic optimiser moves by steps of one
size whatever their gradients. In 50 dimensions on binarized MNIST it loses 4.4 nats to a factorised q without the
division, and gains 1.0 with it (three seeds, `papers/families_mnist.py`).
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from lowerbound.nets.parameters import parameters_of
from lowerbound.nets.shapes import Shape
from lowerbound.nets.softplus import positive
from lowerbound.posteriors.parameters import latent_dim_of
from lowerbound.protocols import Context

__all__ = ["FullNormal"]


class FullNormal(nn.Module):
    """A Gaussian whose mean and Cholesky factor are computed by a net.

    Arguments:
        net: from a context (..., *event) to (..., D + D (D + 1) / 2) for D = latent_dim: the mean, the diagonal
            before `positive`, and D times the entries below it in units of the diagonal, row by row.
        latent_shape: length of z; read from `net.out_shape` if the net states it.
        min_scale: the floor ε of the diagonal.

    Returns (when called with a context of B rows):
        A reparameterised distribution with batch shape (B,), event shape (latent_dim,) and a closed-form entropy.

    Raises:
        ValueError: the output shape of the net fits no latent_dim.

    >>> q = FullNormal(nn.Linear(5, 9), latent_shape=3)(torch.zeros(4, 5))
    >>> q.rsample((2,)).shape
    torch.Size([2, 4, 3])
    """

    cites: ClassVar[tuple[str, ...]] = ("kingma2019introduction",)

    rows: Tensor
    columns: Tensor
    coupling: Tensor

    def __init__(self, net: nn.Module, latent_shape: Shape | None = None, min_scale: float = 1e-4):
        super().__init__()
        self.net, self.min_scale = net, min_scale
        self.latent_dim = latent_dim_of(net, latent_shape, self.parameter_shape, owner="FullNormal")
        self.event_shape = (self.latent_dim,)
        rows, columns = torch.tril_indices(self.latent_dim, self.latent_dim, offset=-1)
        self.register_buffer("coupling", torch.tensor(1 / self.latent_dim, dtype=torch.float64))
        self.register_buffer("rows", rows, persistent=False)
        self.register_buffer("columns", columns, persistent=False)

    @staticmethod
    def parameter_shape(latent_dim: int) -> tuple[int, ...]:
        """What its net must output per datum."""
        return (latent_dim + latent_dim * (latent_dim + 1) // 2,)

    def forward(self, context: Context) -> MultivariateNormal:
        """q(z | context)."""
        d = self.latent_dim
        loc, raw, below = parameters_of(self.net, context).split([d, d, d * (d - 1) // 2], dim=-1)
        scale_tril = self._cholesky_factor(positive(raw, self.min_scale), below)
        return MultivariateNormal(loc, scale_tril=scale_tril, validate_args=False)

    def _cholesky_factor(self, scale: Tensor, below: Tensor) -> Tensor:
        strict = scale.new_zeros(*scale.shape, self.latent_dim)
        strict[..., self.rows, self.columns] = self.coupling * below * scale[..., self.rows]
        return strict + torch.diag_embed(scale)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        state_dict.setdefault(f"{prefix}coupling", torch.ones(()))  # of earlier weights, whose N was not divided
        super()._load_from_state_dict(state_dict, prefix, *rest)
