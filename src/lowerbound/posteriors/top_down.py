"""Posteriors that walk down the generative path, and the ladder (Sønderby et al. 2016, arXiv:1602.02282, eqs. 12–19).

A top-down posterior draws z like p, along the states of p (`chain.StateChain`), but replaces each p(z_l | h_l) by its
own distribution, which may depend on p(z_l | h_l) (`TopDownChain`, `PosteriorStep`). p is evaluated only once: q hands
the states of its draw to the prior, which then scores the draw (`weights.joint_over`).

In the ladder a deterministic pass upwards, d_l = f_l(d_{l−1}) with d_0 = x, computes a Gaussian N(μ̂_l, σ̂_l²) for each
layer, the evidence of the datum about z_l. Then z is drawn from the top down, and each layer multiplies this Gaussian
by its prior:

    q(z_L | x) = N(μ̂_L, σ̂_L²)
    q(z_l | z_{l+1}, x) ∝ p(z_l | z_{l+1}) N(z_l; μ̂_l, σ̂_l²)
        σ_l² = 1 / (σ̂_l⁻² + σ_{p,l}⁻²)        μ_l = σ_l² (μ̂_l σ̂_l⁻² + μ_{p,l} σ_{p,l}⁻²)

This would be exact inference if each layer had a Gaussian likelihood of its own. A layer about which the datum says
nothing (σ̂ → ∞) is drawn from its prior and has no rate. In the form σ = σ̂ σ_p / √(σ̂² + σ_p²) no precision overflows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from lowerbound.chain import Chain, StateChain
from lowerbound.nets.parameters import parameters_of
from lowerbound.protocols import Conditional, Context
from lowerbound.walk import ChainStep, State, Walk

__all__ = ["MergedNormal", "PosteriorStep", "TopDown", "TopDownChain", "normal_of", "without_data"]


@runtime_checkable
class PosteriorStep(Protocol):
    """One step of q, which replaces p(z_l | h_l). It knows the datum, and may carry a state of its own to the layers
    below.
    """

    def at(self, p: Distribution, state: State, own: State) -> tuple[Distribution, Any]:
        """Return q(z_l | h_l, x) and what to carry. `p` is p(z_l | h_l), `state` the h_l of p, and `own` the state of
        q.
        """
        ...

    def advance(self, own: State, carry: Any, z: Tensor) -> State:
        """The state of q below this layer."""
        ...


class TopDownChain(StateChain):
    """q(z | x) = Π_l q(z_l | h_l, x) along the states h_l of a prior, which it evaluates while drawing.

    Arguments:
        prior: p(z).
        steps: of q, one for each layer in the order of drawing.
        batch_shape: of q.
        start: the state of q before any layer is drawn.
    """

    def __init__(
        self, prior: StateChain, steps: Sequence[PosteriorStep], *, batch_shape: torch.Size, start: State = None
    ):
        self.prior = prior
        both = [_Both(of_p, of_q) for of_p, of_q in zip(prior.steps, steps, strict=True)]
        super().__init__((prior.start, start), both, downward=prior.downward, batch_shape=batch_shape)

    def remember(self, walk: Walk, *, drawn: bool) -> None:
        """See `StateChain`. The prior remembers its own states of the walk."""
        super().remember(walk, drawn=drawn)
        self.prior.remember(walk.along(walk.kept, end=walk.end[0]), drawn=drawn)

    def lend(self, prior: Distribution) -> None:
        """Give another evaluation of the same prior the states of the last draw. See `hooks.Lends`."""
        if isinstance(prior, StateChain):
            prior.recall(self.prior)

    def _kept_of(self, carry: Any) -> Distribution:
        return carry[0]


class _Both:
    """A step of q together with one of p. The state is (state of p, state of q), the carry (p(z_l | h_l), carry of p,
    carry of q).
    """

    def __init__(self, of_p: ChainStep, of_q: PosteriorStep):
        self.of_p, self.of_q = of_p, of_q

    def at(self, state: State) -> tuple[Distribution, Any]:
        of_p, own = state
        p, carry = self.of_p.at(of_p)
        q, own_carry = self.of_q.at(p, of_p, own)
        return q, (p, carry, own_carry)

    def advance(self, state: State, carry: Any, z: Tensor) -> State:
        of_p, own = state
        _, p_carry, own_carry = carry
        return self.of_p.advance(of_p, p_carry, z), self.of_q.advance(own, own_carry, z)


class TopDown(nn.Module):
    """The posterior of a ladder.

    Arguments:
        prior: the hierarchical prior of the model, Gaussian below its top. The posterior refers to it and does not own
            it: the model lists, saves, moves and freezes its parameters.
        steps: f_1, …, f_L; the first is called with x, or with (x, c).
        evidence: N(μ̂_l, σ̂_l²) given d_l, modules that return a `DiagonalNormal` distribution, z_1 first.

    Returns (when called with a context of B rows):
        A `TopDownChain` over (z_1, …, z_L) with batch shape (B,).

    Raises:
        ValueError: not one step and one Gaussian for each layer; when called, a layer that is not a diagonal Gaussian.
    """

    cites: ClassVar[tuple[str, ...]] = ("sonderby2016ladder",)

    by_name: ClassVar[bool] = False  # made of other parts, in Python

    def __init__(self, prior: Conditional, steps: Sequence[nn.Module], evidence: Sequence[Conditional]):
        super().__init__()
        if not len(steps) == len(evidence) > 0:
            raise ValueError(
                f"TopDown got {len(steps)} steps and {len(evidence)} Gaussians; give one of each for every layer."
            )
        # Into __dict__, or nn.Module would register it and list its parameters a second time.
        self.__dict__["_prior"] = prior
        self.steps = nn.ModuleList(steps)
        self.evidence = nn.ModuleList(cast(Sequence[nn.Module], evidence))

    def forward(self, context: Context) -> TopDownChain:
        """q(z_1, …, z_L | context)."""
        first, *above = self.steps
        d = [parameters_of(first, context)]
        for step in above:
            d.append(step(d[-1]))
        prior = self.__dict__["_prior"](without_data(context))
        if not (isinstance(prior, Chain) and prior.downward and len(prior.steps) == len(d)):
            raise ValueError(f"TopDown of {len(d)} layers needs a Hierarchical prior with as many.")
        *below, top = [layer(value) for layer, value in zip(self.evidence, d, strict=True)]
        return TopDownChain(prior, [_Alone(top), *map(_Merged, reversed(below))], batch_shape=top.batch_shape)


class MergedNormal(Independent):
    """∝ N(μ_p, σ_p²) N(μ̂, σ̂²), factor by factor.

    Arguments:
        prior: N(μ_p, diag σ_p²), over any shape.
        evidence: N(μ̂, diag σ̂²), over the same shape.

    Raises:
        ValueError: one of them is not a diagonal Gaussian.
    """

    def __init__(self, prior: Distribution, evidence: Distribution):
        p, e = normal_of(prior), normal_of(evidence)
        total = p.scale.square() + e.scale.square()
        loc = (e.loc * p.scale.square() + p.loc * e.scale.square()) / total
        scale = p.scale * e.scale * torch.rsqrt(total)
        super().__init__(Normal(loc, scale, validate_args=False), len(prior.event_shape), validate_args=False)


class _Alone:
    """q(z_L | x), which does not depend on p."""

    def __init__(self, evidence: Distribution):
        self.evidence = evidence

    def at(self, p: Distribution, state: State, own: State) -> tuple[Distribution, None]:
        return self.evidence, None

    def advance(self, own: State, carry: Any, z: Tensor) -> State:
        return own


class _Merged(_Alone):
    """q(z_l | z_{l+1}, x) ∝ p(z_l | z_{l+1}) N(z_l; μ̂_l, σ̂_l²)."""

    def at(self, p: Distribution, state: State, own: State) -> tuple[Distribution, None]:
        return MergedNormal(p, self.evidence), None


def normal_of(distribution: Distribution) -> Normal:
    """The factors of a diagonal Gaussian.

    Raises:
        ValueError: it is none.
    """
    base = distribution.base_dist if isinstance(distribution, Independent) else None
    if not isinstance(base, Normal):
        raise ValueError(
            f"TopDown merges diagonal Gaussians and got {type(base or distribution).__name__}; use DiagonalNormal for "
            "the layers of the prior below its top and for what the datum says about each layer."
        )
    return base


def without_data(context: Context) -> Context | None:
    """The context of the prior: all that follows x."""
    rest = context[1:] if isinstance(context, tuple) else ()
    return (rest[0] if len(rest) == 1 else rest) if rest else None
