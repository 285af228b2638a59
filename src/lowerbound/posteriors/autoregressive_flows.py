"""Autoregressive flows of zuko, conditioned on x: MAF, neural splines, and IAF (their inverse).

    z = μ(x) + σ(x) ⊙ g(ε; h(x)),      ε ~ N(0, I)

The net gives μ, σ and the features h; zuko gives g and the distribution. The classes differ in which direction of g
takes one pass and which takes one pass per coordinate:

=====================  ===================  =====================  ==================================================
class                  a draw               log q(z) of a draw     log q(z) of any z
=====================  ===================  =====================  ==================================================
MAF                    latent_dim passes    1 pass                 1 pass
NSF                    `passes` (2)         1 pass                 1 pass
IAF                    1 pass               1 pass                 latent_dim passes
=====================  ===================  =====================  ==================================================

Sources: Papamakarios et al. (2017, arXiv:1705.07057); Durkan et al. (2019, arXiv:1906.04032); Kingma et al. (2016,
arXiv:1606.04934, eqs. 10–11). The one pass of IAF is for the very tensor that was drawn (Pathwise), for which torch's
transforms remember ε. log q(z) is then differentiable along the parameters but has no derivative along z alone. For a
view of z or a constant z (StickTheLanding, DReG, ScoreFunction) it takes latent_dim passes and has every derivative.
A zuko flow built by hand is a posterior without any of these classes: `posterior=zuko.flows.NAF(latent_dim,
context=x_dim)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, cast

import torch
import zuko
from torch import Tensor, nn
from torch.distributions import AffineTransform, Independent, Normal, Transform
from zuko.distributions import NormalizingFlow
from zuko.flows import MaskedAutoregressiveTransform
from zuko.transforms import AutoregressiveTransform

from lowerbound.distributions.composed import composed, transforms_of
from lowerbound.limits import MOST_LAYERS, require_at_most
from lowerbound.nets.parameters import parameters_of
from lowerbound.nets.shapes import Shape
from lowerbound.nets.softplus import positive
from lowerbound.posteriors.parameters import latent_dim_of, require_at_least
from lowerbound.protocols import Context

__all__ = ["IAF", "MAF", "NSF"]


class _Located(nn.Module):
    """What the three share: the net's output cut into μ, σ and h; the flow between N(0, I) and μ + σ ⊙ g."""

    def __init__(self, net: nn.Module, features: int, latent_shape: Shape | None, min_scale: float, **sizes: int):
        super().__init__()
        owner = type(self).__name__
        require_at_least(1, owner=owner, features=features, **sizes)
        require_at_most(owner, MOST_LAYERS, transforms=sizes["transforms"])
        self.net, self.features, self.min_scale = net, features, min_scale
        self.latent_dim = latent_dim_of(net, latent_shape, self._shape_of, owner=owner)
        self.event_shape = (self.latent_dim,)

    def _shape_of(self, latent_dim: int) -> tuple[int, ...]:
        return (2 * latent_dim + self.features,)

    def _outputs(self, context: Context) -> tuple[Tensor, Tensor, Tensor]:
        d = self.latent_dim
        loc, raw, h = parameters_of(self.net, context).split([d, d, self.features], dim=-1)
        return loc, positive(raw, self.min_scale), h

    def _flow(self, loc: Tensor, scale: Tensor, to_noise: Sequence[Transform]) -> NormalizingFlow:
        affine = _PerDatumAffine(loc, scale, event_dim=1, cache_size=1)
        zeros = torch.zeros_like(loc)
        noise = Normal(zeros, torch.ones_like(loc), validate_args=False)
        base = Independent(noise, 1, validate_args=False)
        return NormalizingFlow(composed([affine.inv, *to_noise]), base)


class MAF(_Located):
    """MAF: each coordinate of ε is an affine function of that of z, with coefficients from earlier coordinates of z.

    Arguments:
        net: from a context (..., *event) to (..., 2 latent_dim + features): μ, σ before `positive`, and h.
        transforms: autoregressive maps, of alternating order.
        hidden: width of the two hidden layers of each map's masked net.
        features: length of h.
        latent_shape: length of z; read from `net.out_shape` if the net states it.
        min_scale: the floor ε of σ.

    Returns (when called with a context of B rows):
        zuko's `NormalizingFlow`: reparameterised, batch shape (B,), event shape (latent_dim,).

    Raises:
        ValueError: a number below 1, or the output shape of the net fits no latent_dim.
    """

    cites: ClassVar[tuple[str, ...]] = ("papamakarios2017masked",)

    def __init__(
        self,
        net: nn.Module,
        transforms: int = 3,
        hidden: int = 64,
        features: int = 32,
        latent_shape: Shape | None = None,
        min_scale: float = 1e-4,
    ):
        super().__init__(net, features, latent_shape, min_scale, transforms=transforms, hidden=hidden)
        self.flow = zuko.flows.MAF(
            self.latent_dim, features, transforms=transforms, hidden_features=(hidden, hidden)
        ).transform

    @staticmethod
    def parameter_shape(latent_dim: int, features: int = 32) -> tuple[int, ...]:
        """What its net must output per datum."""
        return (2 * latent_dim + features,)

    def forward(self, context: Context) -> NormalizingFlow:
        """q(z | context)."""
        loc, scale, h = self._outputs(context)
        return self._flow(loc, scale, transforms_of(self.flow, h))


class NSF(_Located):
    """NSF: monotone rational-quadratic splines on [−5, 5], the identity outside; in units of σ around μ.

    Arguments:
        net: from a context (..., *event) to (..., 2 latent_dim + features): μ, σ before `positive`, and h.
        transforms: spline maps, of alternating order.
        bins: the number of bins of each spline.
        passes: passes of a draw through each map: 2 for coupling, latent_dim for a full autoregressive map.
        hidden: width of the two hidden layers of each map's masked net.
        features: length of h.
        latent_shape: length of z; read from `net.out_shape` if the net states it.
        min_scale: the floor ε of σ.

    Returns (when called with a context of B rows):
        zuko's `NormalizingFlow`: reparameterised, batch shape (B,), event shape (latent_dim,).

    Raises:
        ValueError: a number below 1, or the output shape of the net fits no latent_dim.
    """

    cites: ClassVar[tuple[str, ...]] = ("durkan2019neural",)

    def __init__(
        self,
        net: nn.Module,
        transforms: int = 3,
        bins: int = 8,
        passes: int = 2,
        hidden: int = 64,
        features: int = 32,
        latent_shape: Shape | None = None,
        min_scale: float = 1e-4,
    ):
        super().__init__(
            net, features, latent_shape, min_scale, transforms=transforms, bins=bins, passes=passes, hidden=hidden
        )
        self.flow = zuko.flows.NSF(
            self.latent_dim,
            features,
            bins=bins,
            transforms=transforms,
            passes=passes,
            hidden_features=(hidden, hidden),
        ).transform

    @staticmethod
    def parameter_shape(latent_dim: int, features: int = 32) -> tuple[int, ...]:
        """What its net must output per datum."""
        return (2 * latent_dim + features,)

    def forward(self, context: Context) -> NormalizingFlow:
        """q(z | context)."""
        loc, scale, h = self._outputs(context)
        return self._flow(loc, scale, transforms_of(self.flow, h))


class IAF(_Located):
    """IAF: each coordinate of z is an affine function of that of ε, with coefficients from earlier coordinates of ε.

    Arguments:
        net: from a context (..., *event) to (..., 2 latent_dim + features): μ, σ before `positive`, and h.
        transforms: autoregressive maps, of alternating order.
        hidden: width of the two hidden layers of each map's masked net.
        features: length of h.
        latent_shape: length of z; read from `net.out_shape` if the net states it.
        min_scale: the floor ε of σ.

    Returns (when called with a context of B rows):
        zuko's `NormalizingFlow`: reparameterised, batch shape (B,), event shape (latent_dim,).

    Raises:
        ValueError: a number below 1, or the output shape of the net fits no latent_dim.
    """

    cites: ClassVar[tuple[str, ...]] = ("kingma2016improved",)

    def __init__(
        self,
        net: nn.Module,
        transforms: int = 3,
        hidden: int = 64,
        features: int = 32,
        latent_shape: Shape | None = None,
        min_scale: float = 1e-4,
    ):
        super().__init__(net, features, latent_shape, min_scale, transforms=transforms, hidden=hidden)
        up = torch.arange(self.latent_dim)
        self.maps = nn.ModuleList(
            MaskedAutoregressiveTransform(
                self.latent_dim,
                features,
                order=cast(torch.LongTensor, up if k % 2 == 0 else up.flip(0)),
                hidden_features=(hidden, hidden),
            )
            for k in range(transforms)
        )

    @staticmethod
    def parameter_shape(latent_dim: int, features: int = 32) -> tuple[int, ...]:
        """What its net must output per datum."""
        return (2 * latent_dim + features,)

    def forward(self, context: Context) -> NormalizingFlow:
        """q(z | context)."""
        loc, scale, h = self._outputs(context)
        from_noise = [_remembering(module(h)) for module in self.maps]
        return self._flow(loc, scale, [transform.inv for transform in reversed(from_noise)])


class _PerDatumAffine(AffineTransform):
    """z = μ + σ ⊙ y whose event is a vector, although μ and σ have the axes of the batch too."""

    def forward_shape(self, shape: torch.Size) -> torch.Size:
        return shape

    def inverse_shape(self, shape: torch.Size) -> torch.Size:
        return shape


def _remembering(transform: Transform) -> Transform:
    """The same map, with a cache: it remembers the input of the last tensor that it returned."""
    if isinstance(transform, AutoregressiveTransform):
        return AutoregressiveTransform(transform.meta, transform.passes, cache_size=1)
    return transform  # one latent: no chain to invert
