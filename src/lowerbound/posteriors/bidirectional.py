"""q(z | x) drawn upwards, then downwards (BIVA; Maaløe, Fraccaro, Liévin & Winther 2019, arXiv:1902.02102, eqs. 7–9).

Every level below the top has two latents: z_l^BU, inferred from the data up, and z_l^TD, inferred along the generative
path. With L levels,

    q(z | x) = Π_{l<L} q(z_l^BU | x, z_{<l}^BU) · q(z_L | x, z^BU) · Π_{l<L} q(z_l^TD | x, z^BU, z_{>l})
    p(z)     = p(z_L) Π_{l<L} p(z_l^BU | z_{>l}) p(z_l^TD | z_{>l})

Upwards, features r_l of the datum take in what was drawn, r ← r + B_l(r), z_l^BU ~ q(· | r), r ← r + W_l z_l^BU. From
the top, a second set of features descends without latents, c_l = c_{l+1} + r_l, c_l ← c_l + C_l(c_l), and z_l^TD sees
c_l beside the state h_l of the prior. The features reach p(z) and p(x | z) through the latents alone.

p and q draw in different orders, so that the rate has no closed form given a draw; that of a single layer is no
divergence (`factors.rate_per_layer`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple, cast

from torch import Tensor, nn
from torch.distributions import Distribution

from lowerbound.chain import StateChain
from lowerbound.nets.precision import call_net
from lowerbound.nets.residual import Bottleneck, Enlarged, Pointwise
from lowerbound.nets.shapes import Shape, as_shape
from lowerbound.posteriors.diagonal_normal import DiagonalNormal
from lowerbound.posteriors.top_down import without_data
from lowerbound.protocols import Conditional, Context
from lowerbound.walk import ChainStep, State, Walk

__all__ = ["Bidirectional", "BidirectionalChain", "drawing_order"]


def drawing_order(levels: int) -> tuple[int, ...]:
    """The places of the latents (z_1^BU, z_1^TD, z_2^BU, …, z_L) as q draws them: BU upwards, the top, TD downwards.

    >>> drawing_order(3)
    (0, 2, 4, 3, 1)
    """
    up = range(0, 2 * (levels - 1), 2)
    return (*up, 2 * (levels - 1), *(place + 1 for place in reversed(up)))


class _Seen(NamedTuple):
    """The state of q: the features of the datum, what was drawn upwards, and the walk down the prior."""

    features: Tensor
    kept: tuple[Tensor, ...] = ()  # r_1, …, r_{L−1}, with their latents, below `features`
    drawn: tuple[Tensor, ...] = ()  # z_1^BU, …, z_{L−1}^BU
    of_prior: State = None


class BidirectionalChain(StateChain):
    """q(z | x) over (z_1^BU, z_1^TD, z_2^BU, …, z_L), which evaluates the prior on its way down.

    Arguments:
        prior: p(z), whose steps are the top, then z_l^TD and z_l^BU of each level, downwards.
        steps: of q, in its order of drawing.
        start: features of the datum.
        batch_shape: of q.
    """

    def __init__(self, prior: StateChain, steps: Sequence[ChainStep], *, start: State, batch_shape: Any):
        self.prior = prior
        order = drawing_order((len(steps) + 1) // 2)
        super().__init__(start, steps, downward=False, order=order, batch_shape=batch_shape)

    def remember(self, walk: Walk, *, drawn: bool) -> None:
        """See `StateChain`. The prior remembers its own states of the walk."""
        super().remember(walk, drawn=drawn)
        # Nothing with z_l^BU, (p(z_l^BU), p(z_l^TD)) with z_l^TD, and p(z_L) at last: in the order of the latents.
        of_p = tuple(p for known in walk.kept for p in known)
        self.prior.remember(walk.along(of_p, end=walk.end.of_prior), drawn=drawn)

    def lend(self, prior: Distribution) -> None:
        """Give another evaluation of the same prior the states of the last draw. See `hooks.Lends`."""
        if isinstance(prior, StateChain):
            prior.recall(self.prior)

    def _kept_of(self, carry: _Carry) -> tuple[Distribution, ...]:
        return carry.of_p


class _Carry(NamedTuple):
    """The features that a step of q used, and what it has evaluated of the prior."""

    features: Tensor
    of_p: tuple[Distribution, ...] = ()
    of_step: Any = None  # the carry of the prior's own step


class Bidirectional(nn.Module):
    """The posterior of BIVA.

    Arguments:
        prior: the `priors.Path` of the model: a group for the top, then for each level downwards a `PairedGroup` and
            its second step. The posterior refers to it and does not own it: the model lists, saves, moves and freezes
            its parameters.
        encoder: from x, or (x, c), to the first features (B, *state) of the lowest level.
        states: the shape of the state at each level, from the data to the top.
        latent_channels: of every latent.
        hidden: channels between those of the blocks.
        norm_groups: of the blocks; see `nets.Bottleneck`.
        min_scale: the floor of every scale.

    Returns (when called with a context of B rows):
        A `BidirectionalChain` over (z_1^BU, z_1^TD, z_2^BU, …, z_L) with batch shape (B,).

    Raises:
        ValueError: fewer than two levels; or, when called, a prior with another number of latents.
    """

    cites: ClassVar[tuple[str, ...]] = ("maaloe2019biva",)

    by_name: ClassVar[bool] = False  # made of other parts, in Python

    def __init__(
        self,
        prior: Conditional,
        encoder: nn.Module,
        states: Sequence[Shape],
        latent_channels: int,
        hidden: int,
        *,
        norm_groups: int = 1,
        min_scale: float = 1e-3,
    ):
        super().__init__()
        if len(states) < 2:
            raise ValueError(f"Bidirectional got {len(states)} level and needs two or more; one is a plain posterior.")
        # Into __dict__, or nn.Module would register it and list its parameters a second time.
        self.__dict__["_prior"] = prior
        self.encoder = encoder
        shapes = [as_shape(state) for state in states]
        factor = len(shapes) ** -0.5

        def block(shape: tuple[int, ...]) -> Bottleneck:
            return Bottleneck(shape, hidden, shape[0], norm_groups=norm_groups, factor=factor)

        def evidence(shape: tuple[int, ...], inputs: int) -> DiagonalNormal:
            seen: list[Shape] = [shape] * inputs
            net = Bottleneck(seen, hidden, (2, latent_channels), norm_groups=norm_groups)
            return DiagonalNormal(net, (latent_channels, *shape[1:]), min_scale=min_scale)

        self.up = nn.ModuleList(map(block, shapes))
        self.bottom_up = nn.ModuleList([evidence(shape, 1) for shape in shapes])  # the last is of the top
        self.latent_nets = nn.ModuleList(
            [Pointwise(latent_channels, shape[0], len(shape), factor) for shape in shapes[:-1]]
        )
        self.smaller = nn.ModuleList([_Smaller(above) for above in shapes[1:]])
        self.larger = nn.ModuleList(
            [nn.Identity() if here == above else Enlarged(here) for here, above in pairwise(shapes)]
        )
        self.down = nn.ModuleList(map(block, shapes[:-1]))
        self.top_down = nn.ModuleList([evidence(shape, 2) for shape in shapes[:-1]])

    def forward(self, context: Context) -> BidirectionalChain:
        """q(z | context)."""
        inputs = context if isinstance(context, tuple) else (context,)
        prior = self.__dict__["_prior"](without_data(context))
        levels = len(self.up)
        if not (isinstance(prior, StateChain) and len(prior.steps) == 2 * levels - 1):
            raise ValueError(
                f"Bidirectional of {levels} levels needs a priors.Path of {2 * levels - 1} steps: the top, then a "
                "PairedGroup and its second step for each level downwards."
            )
        steps: list[ChainStep] = [_Up(self, level) for level in range(levels - 1)]
        steps.append(_Top(self, prior))
        steps.extend(_Down(self, level, prior) for level in reversed(range(levels - 1)))
        start = _Seen(self.encoder(*inputs))
        return BidirectionalChain(prior, steps, start=start, batch_shape=inputs[0].shape[:1])


class _Smaller(nn.Module):
    """Maps averaged to the space of the level above; vectors, and maps of that space, as they are."""

    def __init__(self, shape: tuple[int, ...]):
        super().__init__()
        self.space = shape[1:]

    def forward(self, h: Tensor) -> Tensor:
        """Map (..., channels, *space) to (..., channels, *self.space)."""
        if not self.space or h.shape[-2:] == self.space:
            return h
        flat = nn.functional.adaptive_avg_pool2d(h.reshape(-1, *h.shape[-3:]), cast(Any, self.space))
        return flat.reshape(*h.shape[:-3], *flat.shape[1:])


class _Up:
    """q(z_l^BU | x, z_{<l}^BU). See `walk.ChainStep`."""

    def __init__(self, nets: Bidirectional, level: int):
        self.nets, self.level = nets, level

    def at(self, state: _Seen) -> tuple[Distribution, _Carry]:
        r = _raised(self.nets, self.level, state)
        return self.nets.bottom_up[self.level](r), _Carry(r)

    def advance(self, state: _Seen, carry: _Carry, z: Tensor) -> _Seen:
        r = carry.features + call_net(self.nets.latent_nets[self.level], (z,))
        return _Seen(self.nets.smaller[self.level](r), (*state.kept, r), (*state.drawn, z))


class _Top:
    """q(z_L | x, z^BU), with which the walk down the prior begins. See `walk.ChainStep`."""

    def __init__(self, nets: Bidirectional, prior: StateChain):
        self.nets, self.prior = nets, prior

    def at(self, state: _Seen) -> tuple[Distribution, _Carry]:
        r = _raised(self.nets, -1, state)
        p, of_step = self.prior.steps[0].at(self.prior.start)
        return self.nets.bottom_up[-1](r), _Carry(r, (p,), of_step)

    def advance(self, state: _Seen, carry: _Carry, z: Tensor) -> _Seen:
        h = self.prior.steps[0].advance(self.prior.start, carry.of_step, z)
        return _Seen(carry.features, state.kept, state.drawn, h)


class _Down:
    """q(z_l^TD | x, z^BU, z_{>l}); z_l^BU, drawn on the way up, then advances the prior. See `walk.ChainStep`."""

    def __init__(self, nets: Bidirectional, level: int, prior: StateChain):
        self.nets, self.level = nets, level
        place = 2 * (len(nets.up) - 1 - level) - 1
        self.first, self.second = prior.steps[place : place + 2]

    def at(self, state: _Seen) -> tuple[Distribution, _Carry]:
        c = self.nets.larger[self.level](state.features) + state.kept[-1]
        c = c + call_net(self.nets.down[self.level], (c,))
        p, of_step = self.first.at(state.of_prior)
        q = self.nets.top_down[self.level]((state.of_prior, c))
        return q, _Carry(c, (of_step.second_given, p), of_step)

    def advance(self, state: _Seen, carry: _Carry, z: Tensor) -> _Seen:
        between = self.first.advance(state.of_prior, carry.of_step, z)
        _, of_step = self.second.at(between)
        h = self.second.advance(between, of_step, state.drawn[-1])
        return _Seen(carry.features, state.kept[:-1], state.drawn[:-1], h)


def _raised(nets: Bidirectional, level: int, state: _Seen) -> Tensor:
    return state.features + call_net(nets.up[level], (state.features,))
