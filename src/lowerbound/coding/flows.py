"""Latents of a flow z = f(ε) on a stack, by local bits-back coding (Ho, Lohn & Abbeel 2019, 1905.08500, algorithm 1).

    pop ε under N(f⁻¹(z), δ² I)        push z under N(f(ε), δ² J Jᵀ), J = ∂f/∂ε        push ε under its base

takes − log₂ q(z) bits on average up to a term of order δ², whatever f is: f⁻¹ stretches the first as f the second.
Popping z undoes each step in reverse order. z lies on the grid of the prior, ε on one of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol, cast, runtime_checkable

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution, MultivariateNormal, Normal, Transform
from zuko.distributions import NormalizingFlow

from lowerbound.coding.families import Family
from lowerbound.coding.numbering import LatentCells, Steps
from lowerbound.coding.stack import BitStack
from lowerbound.coding.turns import Batch, pop_event, push_event
from lowerbound.hooks import MapsNoise

__all__ = ["Flow", "flow_of", "pop_flow", "push_flow"]

_WIDTH = 2.0**-10  # δ: a fraction of the standard deviation of ε, over which f is nearly linear


class Flow(NamedTuple):
    """z = f(ε), ε ~ N(0, I), for a batch.

    Attributes:
        of_noise: f, from ε (B, D).
        to_noise: its inverse, differentiable.
    """

    of_noise: Callable[[Tensor], Tensor]
    to_noise: Callable[[Tensor], Tensor]


@runtime_checkable
class OfLatents(Protocol):
    """The grid of z."""

    def numbering(self, family: Family | None, places: np.ndarray) -> Steps | LatentCells:
        """The numbers of its values."""
        ...

    def values(self, k: np.ndarray) -> Tensor:
        """z of numbers (size, elements)."""
        ...


def flow_of(d: Distribution) -> Flow | None:
    """The maps of a distribution that is a flow from a standard normal; None of any other."""
    if isinstance(d, MapsNoise):
        return Flow(d.of_noise, d.to_noise)
    if isinstance(d, NormalizingFlow):
        loc, scale = d.base.mean, d.base.stddev
        forward, back = cast(Transform, d.transform.inv), d.transform
        return Flow(
            lambda noise: cast(Tensor, forward(loc + scale * noise)), lambda z: (cast(Tensor, back(z)) - loc) / scale
        )
    return None


def pop_flow(stack: BitStack, d: Distribution, grid: OfLatents, batch: Batch) -> np.ndarray:
    """Pop the numbers (size, D) of z under a flow."""
    flow, noise = _known(d), _noise_grid(d, batch.size)
    k_noise = pop_event(stack, _standard(d, batch.size), noise.numbering, d.event_shape[0], batch)
    near = _stretched(flow, noise.values(k_noise))
    k = pop_event(stack, near, grid.numbering, d.event_shape[0], batch)
    around = _around(flow.to_noise(grid.values(k)))
    push_event(stack, around, noise.numbering, k_noise, _reversed(batch))
    return k


def push_flow(stack: BitStack, d: Distribution, grid: OfLatents, k: np.ndarray, batch: Batch) -> None:
    """Push the numbers (size, D) of z under a flow."""
    flow, noise = _known(d), _noise_grid(d, batch.size)
    around = _around(flow.to_noise(grid.values(k)))
    k_noise = pop_event(stack, around, noise.numbering, d.event_shape[0], _reversed(batch))
    push_event(stack, _stretched(flow, noise.values(k_noise)), grid.numbering, k, batch)
    push_event(stack, _standard(d, batch.size), noise.numbering, k_noise, batch)


def _reversed(batch: Batch) -> Batch:
    """The same for what goes the other way: one is popped first where the other is pushed first."""
    return batch._replace(floored=not batch.floored)


class _NoiseGrid:
    """The cells of ε: those of a standard normal."""

    def __init__(self, size: int, num: int):
        self.cells = LatentCells(np.zeros((num, size)), np.ones((num, size)))

    def numbering(self, family: Family | None, places: np.ndarray) -> LatentCells:
        return self.cells.at(places)

    def values(self, k: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(self.cells.value(np.ascontiguousarray(k.T)).T))


def _noise_grid(d: Distribution, size: int) -> _NoiseGrid:
    return _NoiseGrid(size, d.event_shape[0])


def _known(d: Distribution) -> Flow:
    flow = flow_of(d)
    assert flow is not None
    return flow


def _standard(d: Distribution, size: int) -> Distribution:
    zeros = torch.zeros(size, d.event_shape[0])
    return Normal(zeros, torch.ones_like(zeros), validate_args=False)


def _around(noise: Tensor) -> Distribution:
    return Normal(noise, torch.full_like(noise, _WIDTH), validate_args=False)


def _stretched(flow: Flow, noise: Tensor) -> MultivariateNormal:
    """N(f(ε), δ² J Jᵀ), J the inverse of ∂f⁻¹/∂z at f(ε)."""
    with torch.enable_grad():
        z = flow.of_noise(noise).detach().requires_grad_()
        back = flow.to_noise(z)
        each = [torch.autograd.grad(back[:, d].sum(), z, retain_graph=True)[0] for d in range(back.shape[1])]
    jacobian = torch.linalg.inv(torch.stack(each, 1)) * _WIDTH
    # J = Rᵀ Qᵀ of Jᵀ = Q R, so that J Jᵀ = Rᵀ R without squaring
    upper = torch.linalg.qr(jacobian.mT).R
    signs = upper.diagonal(dim1=1, dim2=2).sign()
    return MultivariateNormal(z.detach(), scale_tril=(signs[:, :, None] * upper).mT, validate_args=False)
