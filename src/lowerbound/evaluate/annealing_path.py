"""The geometric path from a start p_0 to p(x, z), on which annealed importance sampling moves its chains.

    log f_β(z) = log p_0(z) + β r(z),      r = log p(x, z) − log p_0(z),      0 ≤ β ≤ 1

(Neal 2001, arXiv:physics/9803008). p_0 is the prior or q(z | x); either can be sampled and is normalised.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution, constraints

from lowerbound.hooks import Augmented
from lowerbound.inference.hamiltonian import Point, hamiltonian_transition
from lowerbound.model import Joint, LatentVariableModel
from lowerbound.protocols import Context

__all__ = ["AnnealingPath", "AnnealingStart", "annealing_path", "draw_start"]

AnnealingStart: TypeAlias = Literal["prior", "posterior"]
"""Where the chains start: at p(z), or at q(z | x), which is nearer to the posterior and needs fewer distributions."""


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

    def at(self, z: Tensor, beta: float) -> tuple[Point, Tensor]:
        """The point of f_β at z, and r(z), from one evaluation."""
        with torch.enable_grad():
            here = z.detach().requires_grad_()
            log_start, ratio = self.terms(here)
            value = log_start + beta * ratio
            (gradient,) = torch.autograd.grad(value.sum(), here)
        return Point(z=here.detach(), log_density=value.detach(), gradient=gradient), ratio.detach()

    def move(self, point: Point, beta: float, step_size: Tensor, num_leapfrog: int) -> tuple[Point, Tensor]:
        """One transition that leaves f_β invariant, and the probability with which it was accepted."""

        def log_density(z: Tensor) -> Tensor:
            log_start, ratio = self.terms(z)
            return log_start + beta * ratio

        step = hamiltonian_transition(log_density, point, step_size, num_leapfrog, self.scale)
        return step.point, step.acceptance


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
