"""The geometric path from a start p_0 to p(x, z), on which annealed importance sampling moves its chains.

    log f_β(z) = log p_0(z) + β r(z),      r = log p(x, z) − log p_0(z),      0 ≤ β ≤ 1

(Neal 2001, arXiv:physics/9803008). p_0 is the prior or q(z | x); either can be sampled and is normalised. A point holds
both terms and their gradients, so that the next β costs no evaluation.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution, constraints

from lowerbound.has_hook import has
from lowerbound.hooks import Augmented, KnowsSlope
from lowerbound.inference.hamiltonian import Point, transition
from lowerbound.model import Joint, LatentVariableModel
from lowerbound.nets.products import products_of_nets
from lowerbound.protocols import Context

__all__ = ["AnnealingPath", "AnnealingStart", "OnPath", "PathPoint", "annealing_path", "draw_start"]

AnnealingStart: TypeAlias = Literal["prior", "posterior"]
"""Where the chains start: at p(z), or at q(z | x), which is nearer to the posterior and needs fewer distributions."""


@dataclass(frozen=True, kw_only=True)
class PathPoint(Point):
    """A point of f_β with its two parts, from which the point at another β follows without an evaluation.

    Attributes:
        log_start: log p_0(z).
        ratio: r(z).
        start_slope: ∇ log p_0(z).
        ratio_slope: ∇ r(z).
    """

    log_start: Float[Tensor, "chain batch"]
    ratio: Float[Tensor, "chain batch"]
    start_slope: Float[Tensor, "chain batch *event"]
    ratio_slope: Float[Tensor, "chain batch *event"]

    def at(self, beta: float) -> PathPoint:
        """The same z on f_β."""
        return replace(
            self,
            log_density=self.log_start + beta * self.ratio,
            gradient=self.start_slope + beta * self.ratio_slope,
        )


@dataclass(frozen=True)
class AnnealingPath:
    """log f_β(z) = log p_0(z) + β r(z) for one slice of data.

    Arguments:
        joint: log p(x, z) of the slice.
        start: p_0.
        start_is_prior: whether p_0 is p(z), which then need not be evaluated twice.
        scale: of the coordinates of z, by which their steps are scaled; None for 1.
        num_chains: C for each datum.
    """

    joint: Joint
    start: Distribution
    start_is_prior: bool
    scale: Tensor | None
    num_chains: int

    def draw(self) -> Float[Tensor, "chain batch *event"]:
        """z ~ p_0 for every chain."""
        return draw_start(self.start, self.num_chains, self.joint.x.shape[0])

    def terms(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """log p_0(z) and r(z), each (chain, batch)."""
        log_likelihood, log_prior = self.joint(z)
        if self.start_is_prior:
            return log_prior, log_likelihood
        log_start = self.start.log_prob(z)
        return log_start, log_likelihood + log_prior - log_start

    def at(self, z: Tensor, beta: float) -> PathPoint:
        """The point of f_β at z."""
        with torch.enable_grad():
            here = z.detach().requires_grad_()
            log_likelihood, of_likelihood, log_prior = self._likelihood_at(here)
            of_prior = _slope(log_prior, here)
            if self.start_is_prior:
                log_start, of_start, ratio, of_ratio = log_prior, of_prior, log_likelihood, of_likelihood
            else:
                log_start = self.start.log_prob(here)
                of_start = _slope(log_start, here)
                ratio, of_ratio = log_likelihood + log_prior - log_start, of_likelihood + of_prior - of_start
        log_start, ratio = log_start.detach(), ratio.detach()
        return PathPoint(
            z=here.detach(),
            log_density=log_start + beta * ratio,
            gradient=of_start + beta * of_ratio,
            log_start=log_start,
            ratio=ratio,
            start_slope=of_start,
            ratio_slope=of_ratio,
        )

    def _likelihood_at(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """log p(x | z), its gradient, and log p(z), which autograd can differentiate."""
        p = self.joint.given(z)
        known = _slope_along_output(p, self.joint.x)
        if known is None:
            log_likelihood, log_prior = self.joint(z)
            return log_likelihood, _slope(log_likelihood, z), log_prior
        with torch.no_grad():
            log_likelihood = p.log_prob(self.joint.x)
        return log_likelihood, _through_net(*known, z), self.joint.prior.log_prob(z)

    def move(self, point: PathPoint, beta: float, step_size: Tensor, num_leapfrog: int) -> tuple[PathPoint, Tensor]:
        """One transition that leaves f_β invariant, and the probability with which it was accepted."""
        step = transition(OnPath(self, beta), point, step_size, num_leapfrog, self.scale)
        return step.point, step.acceptance


@dataclass(frozen=True)
class OnPath:
    """f_β, as transitions evaluate it."""

    path: AnnealingPath
    beta: float

    def at(self, z: Tensor) -> PathPoint:
        """The point at z."""
        return self.path.at(z, self.beta)

    def gradient(self, z: Tensor) -> Tensor:
        """∇ log f_β(z), without log p(x | z) where its derivative along the output of the decoder is known."""
        with torch.enable_grad():
            here = z.detach().requires_grad_()
            known = _slope_along_output(self.path.joint.given(here), self.path.joint.x)
            if known is None:
                return self.at(z).gradient
            return _through_net(*known, here).mul_(self.beta).add_(_slope(self._without_likelihood(here), here))

    def _without_likelihood(self, z: Tensor) -> Tensor:
        """(1 − β) log p_0(z) + β log p(z): log f_β without β log p(x | z)."""
        log_prior = self.path.joint.prior.log_prob(z)
        if self.path.start_is_prior:
            return log_prior
        return (1 - self.beta) * self.path.start.log_prob(z) + self.beta * log_prior


def _slope_along_output(p: Distribution, x: Tensor) -> tuple[Tensor, Tensor] | None:
    """The output of the decoder and the derivative of log p(x | z) along it; None if p does not know it."""
    if not has(p, KnowsSlope):
        return None
    output, slope = p.slope(x)
    return (output, slope) if output.requires_grad else None


def _slope(value: Float[Tensor, "chain batch"], z: Tensor) -> Tensor:
    """The gradient of a term along z; 0 where it does not depend on z."""
    if not value.requires_grad:
        return torch.zeros_like(z)
    with products_of_nets():
        return torch.autograd.grad(value.sum(), z, retain_graph=True, materialize_grads=True)[0]


def _through_net(output: Tensor, slope: Tensor, z: Tensor) -> Tensor:
    """The gradient along z of what has this slope along the output of the decoder."""
    with products_of_nets():
        return torch.autograd.grad(output, z, slope, materialize_grads=True)[0]


def annealing_path(
    model: LatentVariableModel, x: Tensor, context: Context | None, start: AnnealingStart, num_chains: int
) -> AnnealingPath:
    """The path from p(z) or q(z | x) to p(x, z) for rows x (B, *event).

    Raises:
        ValueError: latents that Hamiltonian transitions cannot move, or a start q without a density.
    """
    joint = model.joint(x, context)
    _check_real(joint.prior, "prior")
    if start == "prior":
        return AnnealingPath(joint, joint.prior, True, _scale_of(joint.prior), num_chains)
    q = model.infer(x, context)
    _check_density(q, x.shape[0])
    return AnnealingPath(joint, q, False, _scale_of(q), num_chains)


def draw_start(start: Distribution, num_chains: int, num_data: int) -> Float[Tensor, "chain batch *event"]:
    """num_chains draws for each of num_data rows; a start without a batch shape is the same for all rows."""
    rows = () if start.batch_shape else (num_data,)
    with products_of_nets():  # a start may be a flow
        return start.sample(torch.Size((num_chains, *rows)))


def _scale_of(start: Distribution) -> Float[Tensor, "1 #batch *event"] | None:
    """The standard deviation of the start, by which steps are scaled; None if the start does not state one."""
    try:
        stddev = start.stddev
    except (NotImplementedError, AttributeError):
        return None
    return stddev[None] if start.batch_shape else stddev[None, None]


def _check_real(distribution: Distribution, role: str) -> None:
    try:
        support = distribution.support
    except (NotImplementedError, AttributeError):
        support = constraints.real  # it does not say
    while (base := getattr(support, "base_constraint", None)) is not None:  # a product, or a mixture of products
        support = base
    if isinstance(support, constraints.Constraint) and support is not constraints.real:
        raise ValueError(
            f"Annealing moves latents by Hamiltonian transitions, which need real numbers, and the {role} is over "
            f"{support}; use evaluate.log_evidence."
        )


def _check_density(q: Distribution, num_data: int) -> None:
    """Refuse a q at which chains cannot start."""
    _check_real(q, "posterior")
    z = q.sample(torch.Size((1,)))
    known = isinstance(z, Tensor) and not isinstance(q, Augmented)
    try:
        known = known and q.log_prob(z).shape == (1, num_data)
    except (NotImplementedError, AttributeError):
        known = False
    if not known:
        raise ValueError(
            f"start='posterior' needs the density of one real vector z and {type(q).__name__} has none; "
            "use start='prior'."
        )
