"""The ladder posterior: q(z | x) that shares the generative path (Sønderby et al. 2016, arXiv:1602.02282, eqs. 12–19).

A deterministic pass upwards, d_l = f_l(d_{l−1}) with d_0 = x, gives each layer a Gaussian N(μ̂_l, σ̂_l²) of what the
datum says about it. Then z is drawn from the top down, as p draws it, and each layer merges that Gaussian with its own
prior, weighted by precision:

    q(z_L | x) = N(μ̂_L, σ̂_L²)
    q(z_l | z_{l+1}, x) ∝ p(z_l | z_{l+1}) N(z_l; μ̂_l, σ̂_l²)
        σ_l² = 1 / (σ̂_l⁻² + σ_{p,l}⁻²)        μ_l = σ_l² (μ̂_l σ̂_l⁻² + μ_{p,l} σ_{p,l}⁻²)

as exact inference would, if the datum spoke to every layer in its own Gaussian. A layer that learns nothing from the
datum (σ̂ → ∞) is drawn from its prior and costs nothing. Written as σ = σ̂ σ_p / √(σ̂² + σ_p²) no precision overflows.

p(z_l | z_{l+1}) is evaluated once: q lends what it has of its draw to the prior that scores it (`weights.joint_over`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, cast

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from lowerbound.chain import Chain, LayerGiven, SampleShape
from lowerbound.nets.parameters import parameters_of
from lowerbound.protocols import Conditional, Context

__all__ = ["MergedNormal", "TopDown", "TopDownChain"]


class TopDown(nn.Module):
    """The posterior of a ladder.

    Arguments:
        prior: the hierarchical prior of the model, Gaussian below its top. It is referred to, not owned: its
            parameters are listed, saved, moved and frozen by the model.
        steps: f_1, …, f_L; the first is called with x, or with (x, c).
        evidence: N(μ̂_l, σ̂_l²) given d_l, modules that return a `DiagonalNormal` distribution, z_1 first.

    Returns (when called with a context of B rows):
        A `TopDownChain` over (z_1, …, z_L) with batch shape (B,).

    Raises:
        ValueError: not one step and one Gaussian for each layer; when called, a layer that is not a diagonal Gaussian.
    """

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
        prior = self.__dict__["_prior"](_without_data(context))
        if not (isinstance(prior, Chain) and prior.downward and len(prior.following) == len(d) - 1):
            raise ValueError(f"TopDown of {len(d)} layers needs a Hierarchical prior with as many.")
        return TopDownChain(prior, [layer(value) for layer, value in zip(self.evidence, d, strict=True)])


class TopDownChain(Chain):
    """q(z_L | x) Π_l q(z_l | z_{l+1}, x), and the prior that it passes through.

    Arguments:
        prior: p(z_1, …, z_L).
        evidence: N(μ̂_l, σ̂_l²) of each layer, z_1 first, batch shape (B,).
    """

    def __init__(self, prior: Chain, evidence: Sequence[Distribution]):
        *below, top = evidence
        self.prior = prior
        steps = [_merging(step, layer) for step, layer in zip(prior.following, reversed(below), strict=True)]
        super().__init__(top, steps, downward=True)

    def rsample(self, sample_shape: SampleShape = ()) -> tuple[Tensor, ...]:
        """Draw as `Chain`; the prior remembers its part of the way."""
        z = super().rsample(sample_shape)
        merged = cast(Sequence[MergedNormal], self.layers_at(z)[:-1])
        self.prior.remember(z, (*(layer.prior for layer in merged), self.prior.first))
        return z

    def lend(self, prior: Distribution) -> None:
        """Let another evaluation of the same prior use what this one knows of the last draw."""
        if isinstance(prior, Chain):
            prior.recall(self.prior)


class MergedNormal(Independent):
    """∝ N(μ_p, σ_p²) N(μ̂, σ̂²), factor by factor.

    Arguments:
        prior: N(μ_p, diag σ_p²).
        evidence: N(μ̂, diag σ̂²).

    Raises:
        ValueError: one of them is not a diagonal Gaussian.
    """

    def __init__(self, prior: Distribution, evidence: Distribution):
        p, e = _normal_of(prior), _normal_of(evidence)
        total = p.scale.square() + e.scale.square()
        loc = (e.loc * p.scale.square() + p.loc * e.scale.square()) / total
        scale = p.scale * e.scale * torch.rsqrt(total)
        self.prior = prior
        super().__init__(Normal(loc, scale, validate_args=False), 1, validate_args=False)


def _merging(step: LayerGiven, evidence: Distribution) -> LayerGiven:
    """z_{l+1} ↦ q(z_l | z_{l+1}, x)."""
    return lambda z: MergedNormal(step(z), evidence)


def _normal_of(distribution: Distribution) -> Normal:
    base = distribution.base_dist if isinstance(distribution, Independent) else None
    if not isinstance(base, Normal):
        raise ValueError(
            f"TopDown merges diagonal Gaussians and got {type(base or distribution).__name__}; use DiagonalNormal for "
            "the layers of the prior below its top and for what the datum says about each layer."
        )
    return base


def _without_data(context: Context) -> Context | None:
    """The context of the prior: what comes after x."""
    rest = context[1:] if isinstance(context, tuple) else ()
    return (rest[0] if len(rest) == 1 else rest) if rest else None
