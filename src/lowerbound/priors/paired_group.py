"""Two latents at one place of a path, independent given all above (Maaløe et al. 2019, arXiv:1902.02102, eqs. 4–6).

    (μ_a, s_a, μ_b, s_b, Δ) = P(h)        p(z_a, z_b | h) = N(z_a; μ_a, σ_a²) N(z_b; μ_b, σ_b²)
    h ← h + Δ + W((z_a, z_b))             h ← h + R(h)

A chain draws one latent a step, so that the pair is two steps with one set of nets. The first has both distributions
from one evaluation of P; the second advances the path with both values.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal

from lowerbound.nets.precision import call_net
from lowerbound.nets.residual import Bottleneck, Pointwise
from lowerbound.nets.shapes import Shape, as_shape
from lowerbound.nets.softplus import positive

__all__ = ["PairedGroup"]


class _Carry(NamedTuple):
    """What the first step hands on: p(z_b | h), and h + Δ."""

    second_given: Independent
    h: Tensor


class _Between(NamedTuple):
    """The state between the two steps."""

    h: Tensor
    first: Tensor
    second_given: Independent


class PairedGroup(nn.Module):
    """Two Gaussian latents of one shape, drawn from one state of a `Path`. It is the step of the first of them.

    `Path` takes it with its second step: `Path([top, pair, pair.second], start=…)`.

    Arguments:
        state_shape: (width,), or (width, height, width) of a map.
        latent_channels: of each of the two; their space is that of the state.
        hidden: channels between those of P and R, which are `nets.Bottleneck`s.
        depth: the number of pairs and groups on the path, by whose root the last layers of W and R are divided.
        norm_groups: of P and R.
        resize: from the state to that of the next group, where that has another shape.
        min_scale: the floor of every scale.

    Attributes:
        second: the step of the other latent.

    >>> from lowerbound.priors import Path, residual_group
    >>> pair = PairedGroup(8, 2, 4, depth=2)
    >>> p = Path([residual_group(8, 3, 4, depth=2), pair, pair.second], start=8)()
    >>> [tuple(z.shape) for z in p.sample((5,))]
    [(5, 2), (5, 2), (5, 3)]
    """

    cites: ClassVar[tuple[str, ...]] = ("maaloe2019biva",)

    by_name: ClassVar[bool] = False  # a part of a prior

    def __init__(
        self,
        state_shape: Shape,
        latent_channels: int,
        hidden: int,
        depth: int,
        *,
        norm_groups: int = 1,
        resize: nn.Module | None = None,
        min_scale: float = 1e-3,
    ):
        super().__init__()
        shape, factor, c = as_shape(state_shape), depth**-0.5, latent_channels
        self.sizes = [c, c, c, c, shape[0]]
        self.event_shape = (c, *shape[1:])
        self.prior_net = Bottleneck(shape, hidden, 4 * c + shape[0], norm_groups=norm_groups, factor=0.0)
        self.latent_net = Pointwise(2 * c, shape[0], len(shape), factor)
        self.mixing_net = Bottleneck(shape, hidden, shape[0], norm_groups=norm_groups, factor=factor)
        self.resize, self.min_scale = resize, min_scale
        self.second = _Second(self)

    def at(self, state: Tensor) -> tuple[Independent, _Carry]:
        """p(z_a | h), and p(z_b | h) for the second step."""
        rank = len(self.event_shape)
        first, first_raw, second, second_raw, change = call_net(self.prior_net, (state,)).split(self.sizes, -rank)
        return self._normal(first, first_raw), _Carry(self._normal(second, second_raw), state + change)

    def advance(self, state: Tensor, carry: _Carry, z: Tensor) -> _Between:
        """The state in which z_b is drawn."""
        return _Between(carry.h, z, carry.second_given)

    def _normal(self, loc: Tensor, raw: Tensor) -> Independent:
        p = Normal(loc, positive(raw, self.min_scale), validate_args=False)
        return Independent(p, len(self.event_shape), validate_args=False)


class _Second:
    """The step of the second latent of a pair. See `walk.ChainStep`."""

    def __init__(self, pair: PairedGroup):
        self.pair, self.event_shape = pair, pair.event_shape

    def at(self, state: _Between) -> tuple[Independent, None]:
        """p(z_b | h), which the first step has computed."""
        return state.second_given, None

    def advance(self, state: _Between, carry: None, z: Tensor) -> Tensor:
        """h + Δ + W((z_a, z_b)), mixed and resized."""
        pair, rank = self.pair, len(self.event_shape)
        both = torch.cat(torch.broadcast_tensors(state.first, z), -rank)
        h = state.h + call_net(pair.latent_net, (both,))
        h = h + call_net(pair.mixing_net, (h,))
        return h if pair.resize is None else pair.resize(h)
