"""Vectors brought to mean 0 and covariance 1 over the data (Siarohin et al. 2019, arXiv:1806.00420, §3).

    s = L⁻¹ (f − μ),      L Lᵀ = Σ + ρ (tr Σ / D) 1

μ and Σ are running means over batches, so that s depends on its own f alone. The gradient is that of s by the moments
of the batch, which depend on f: no step moves all vectors the same way, and no number comes to repeat another. With μ_B
and L_B of the batch, that is (batch renormalisation, Ioffe 2017, arXiv:1702.03275, §3, for the whole covariance)

    s = A L_B⁻¹ (f − μ_B) + d,     A = sg L⁻¹ L_B,  d = sg L⁻¹ (μ_B − μ)

What a batch adds to the running means is kept, and applied before the next step, with the sums of all processes. All
is computed in float32 or finer: rounded to bfloat16, the covariance of numbers that go together has no factor L.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lowerbound.several_processes import sum_over_processes

__all__ = ["Whitening"]

_RIDGE = 1e-4  # ρ: what a number has of its own, given the others, is raised to at most a hundred times its scale
_LEAST = 1e-8  # of tr Σ / D
_DECAY = 0.9  # the encoder moves: over a hundred batches the means came too late


class Whitening(nn.Module):
    """From vectors (..., D) to vectors (..., D) with mean 0 and covariance 1 over all other axes.

    Arguments:
        features: D.
    """

    cites: ClassVar[tuple[str, ...]] = ("siarohin2019whitening", "ioffe2017batch")

    mean: Tensor
    covariance: Tensor
    seen: Tensor

    def __init__(self, features: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("covariance", torch.eye(features))
        self.register_buffer("seen", torch.zeros(features + 1, features + 1))

    def forward(self, f: Float[Tensor, "*lead feature"]) -> Float[Tensor, "*lead feature"]:
        """s by the running moments, with the gradient of s by the moments of these vectors where they learn."""
        with _in_full(f):
            return self._whitened(_precise(f))

    def _whitened(self, f: Tensor) -> Tensor:
        lower = _factor(self.covariance)
        s = _solve(lower, f - self.mean)
        if not (self.training and torch.is_grad_enabled()):
            return s
        points = f.reshape(-1, f.shape[-1])
        mean = points.mean(0)
        own = _factor(_products(points - mean) / len(points))
        ratio = torch.linalg.solve_triangular(lower, own, upper=False).detach()
        moves = _solve(own, f - mean) @ ratio.mT
        return s.detach() + (moves - moves.detach())

    @torch.no_grad()
    def observe(self, f: Float[Tensor, "*lead feature"]) -> None:
        """Keep the sums of some vectors: Σ (1, f − μ) (1, f − μ)ᵀ, with the running mean μ."""
        with _in_full(f):
            points = _precise(f).reshape(-1, f.shape[-1]) - self.mean
            self.seen.add_(_products(torch.cat([torch.ones_like(points[:, :1]), points], -1)))

    def start(self, f: Float[Tensor, "*lead feature"]) -> None:
        """Take the moments of some vectors, the second time around their mean, which may be far from 0."""
        for _ in range(2):
            self.observe(f)
            self.advance(1.0)

    @torch.no_grad()
    def advance(self, weight: float = 1 - _DECAY) -> None:
        """Move the running moments towards those of what was kept since the last step; nothing if there was none."""
        sum_over_processes(self.seen)
        count = self.seen[0, 0]
        step, second = self.seen[0, 1:] / count.clamp_min(1), self.seen[1:, 1:] / count.clamp_min(1)
        weight_or_none = torch.where(count > 0, weight, 0.0).to(self.seen.dtype)
        self.mean.add_(weight_or_none * step)
        self.covariance.lerp_(second - torch.outer(step, step), weight_or_none)
        self.seen.zero_()


def _in_full(f: Tensor) -> AbstractContextManager[object]:
    """Without autocast."""
    return torch.autocast(f.device.type, enabled=False)


def _precise(f: Tensor) -> Tensor:
    return f if f.dtype == torch.float64 else f.float()


def _factor(covariance: Float[Tensor, "feature feature"]) -> Float[Tensor, "feature feature"]:
    """L of Σ and its ridge."""
    scale = covariance.diagonal().mean().clamp_min(_LEAST)
    ridge = _RIDGE * scale * torch.eye(len(covariance), dtype=covariance.dtype, device=covariance.device)
    return torch.linalg.cholesky_ex(covariance + ridge).L  # not `cholesky`, which waits for the device


def _solve(lower: Tensor, points: Float[Tensor, "*lead feature"]) -> Float[Tensor, "*lead feature"]:
    """L⁻¹ of each vector."""
    return torch.linalg.solve_triangular(lower, points.unsqueeze(-1), upper=False).squeeze(-1)


def _products(points: Float[Tensor, "point feature"]) -> Float[Tensor, "feature feature"]:
    """Σ f fᵀ."""
    return points.mT @ points
