"""One transition of Hamiltonian Monte Carlo, for many chains of many data at once (Neal 2011, arXiv:1206.1901, §3).

To sample a density π(z) add a momentum r ~ N(0, I) and follow, for L leapfrog steps of size ε,

    r ← r + ½ ε s ∇ log π(z)          z ← z + ε s r          r ← r + ½ ε s ∇ log π(z)

which keeps volume and nearly keeps H = −log π(z) + ½ ‖r‖². The end point is accepted with probability min(1,
exp(H − H')), so that π is invariant for every ε. The scale s of each coordinate amounts to a diagonal mass matrix 1/s²:
an s near the standard deviation of π makes all directions alike. A trajectory with NaN or infinite numbers is rejected.
A trajectory whose energy H rises by more than 1,000 nats has diverged: where the gradient changes too fast for ε,
chains do not enter, and their draws miss that part of π (Betancourt 2017, arXiv:1701.02434, §6.2; the threshold is
Stan's).

Only the end of a trajectory needs log π(z); the points before it need the gradient alone, for which a density may know
a shorter way (`Density.gradient`).

Chains come first, then data, then the event. Nothing here loops over either. Draws come from torch's global generator.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Generic, Protocol, TypeAlias, TypeVar, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

__all__ = ["Density", "LogDensity", "Point", "Transition", "hamiltonian_transition", "point_at", "transition"]

_DIVERGED = 1000.0  # nats

LogDensity: TypeAlias = Callable[[Tensor], Tensor]
"""From z (chain, batch, *event) to log π(z) (chain, batch), nats, up to a constant; differentiable."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """The states of the chains.

    Attributes:
        z: the points.
        log_density: log π(z), nats.
        gradient: ∇ log π(z).
    """

    z: Float[Tensor, "chain batch *event"]
    log_density: Float[Tensor, "chain batch"]
    gradient: Float[Tensor, "chain batch *event"]


_P = TypeVar("_P", bound=Point)
_Made = TypeVar("_Made", bound=Point, covariant=True)


@runtime_checkable
class Density(Protocol[_Made]):
    """A density that says how it is evaluated: its points may carry more than a gradient."""

    def at(self, z: Float[Tensor, "chain batch *event"]) -> _Made:
        """The point at z."""
        ...

    def gradient(self, z: Float[Tensor, "chain batch *event"]) -> Float[Tensor, "chain batch *event"]:
        """∇ log π(z) alone."""
        ...


@dataclass(frozen=True)
class _OfFunction:
    """A density of which log π is known as a function."""

    log_density: LogDensity

    def at(self, z: Tensor) -> Point:
        return point_at(self.log_density, z)

    def gradient(self, z: Tensor) -> Tensor:
        return self.at(z).gradient


@dataclass(frozen=True, kw_only=True)
class Transition(Generic[_P]):
    """One step of every chain.

    Attributes:
        point: the new states of the chains.
        acceptance: the acceptance probability of each proposal.
        diverged: whether the energy rose by more than 1,000 nats along the trajectory, or became NaN or infinite.
    """

    point: _P
    acceptance: Float[Tensor, "chain batch"]
    diverged: Bool[Tensor, "chain batch"]


def point_at(log_density: LogDensity, z: Float[Tensor, "chain batch *event"]) -> Point:
    """Evaluate log π and its gradient; also under `torch.no_grad` (but not under `torch.inference_mode`)."""
    with torch.enable_grad():
        at = z.detach().requires_grad_()
        value = log_density(at)
        (gradient,) = torch.autograd.grad(value.sum(), at)
    return Point(z=at.detach(), log_density=value.detach(), gradient=gradient)


def hamiltonian_transition(
    log_density: LogDensity,
    start: Point,
    step_size: Float[Tensor, "#chain #batch"],
    num_leapfrog: int,
    scale: Float[Tensor, "#chain #batch *event"] | None = None,
) -> Transition[Point]:
    """One leapfrog trajectory for every chain, accepted or rejected.

    Arguments:
        log_density: log π; `num_leapfrog` gradients of it are taken.
        start: the states of the chains (`point_at` makes the first).
        step_size: ε of each chain.
        num_leapfrog: L.
        scale: s, in the units of z; 1 if None.
    """
    return transition(_OfFunction(log_density), start, step_size, num_leapfrog, scale)


def transition(
    density: Density[_P],
    start: _P,
    step_size: Float[Tensor, "#chain #batch"],
    num_leapfrog: int,
    scale: Float[Tensor, "#chain #batch *event"] | None = None,
) -> Transition[_P]:
    """`hamiltonian_transition` of a density that says how it is evaluated; `Density.at` makes the first point."""
    momentum = torch.randn_like(start.z)
    end, final = _leapfrog(density, start, momentum, step_size, num_leapfrog, scale)
    log_ratio = end.log_density - start.log_density + _kinetic(momentum) - _kinetic(final)
    log_ratio = log_ratio.nan_to_num(nan=-torch.inf)
    probability = log_ratio.clamp(max=0).exp()
    point = _choose(torch.rand_like(probability) < probability, end, start)
    return Transition(point=point, acceptance=probability, diverged=log_ratio < -_DIVERGED)


def _leapfrog(
    density: Density[_P],
    start: _P,
    momentum: Tensor,
    step_size: Tensor,
    num_leapfrog: int,
    scale: Tensor | None,
) -> tuple[_P, Tensor]:
    stride = _over_event(step_size, start.z)
    stride = stride if scale is None else stride * scale
    z, gradient = start.z, start.gradient
    for _ in range(num_leapfrog - 1):
        half = momentum + 0.5 * stride * gradient
        z = z + stride * half
        gradient = density.gradient(z)
        momentum = half + 0.5 * stride * gradient
    half = momentum + 0.5 * stride * gradient
    end = density.at(z + stride * half)
    return end, half + 0.5 * stride * end.gradient


def _kinetic(momentum: Tensor) -> Float[Tensor, "chain batch"]:
    return 0.5 * momentum.square().flatten(2).sum(-1)


def _choose(accepted: Bool[Tensor, "chain batch"], new: _P, old: _P) -> _P:
    """For each chain the new point, if it is accepted, or the old one."""
    pairs = {part.name: (getattr(new, part.name), getattr(old, part.name)) for part in fields(old)}
    return type(old)(**{name: torch.where(_over_event(accepted, b), a, b) for name, (a, b) in pairs.items()})


def _over_event(value: Tensor, z: Tensor) -> Tensor:
    """Append axes of length one to a tensor (chain, batch), as many as z has event axes."""
    return value.reshape(value.shape + (1,) * (z.ndim - 2))
