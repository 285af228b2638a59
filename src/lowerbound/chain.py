"""Several latents, drawn one after another: what p and q of a hierarchy have in common.

A chain walks through states. A state determines the distribution of the next layer, and the value of this layer, drawn
or given, determines the next state:

    d(z) = Π_l d(z_l | h_l)          (d_l, carry) = at(h_l)          h_{l+1} = advance(h_l, carry, z_l)

so that a layer may depend on all earlier layers through the state (`StateChain`). If a layer depends only on the one
before it, the state is that layer (`Chain`):

    downward    d(z_1, …, z_L) = d(z_L) d(z_{L−1} | z_L) … d(z_1 | z_2)        p(z), and top-down posteriors
    upward      d(z_1, …, z_L) = d(z_1) d(z_2 | z_1) … d(z_L | z_{L−1})        bottom-up posteriors

z_1 is the layer nearest to the data, and latents are always the tuple (z_1, …, z_L), for either order of drawing.

A draw is usually scored immediately afterwards, by the distributions from which it was drawn. The chain therefore
remembers its last draw and its last evaluation, with their last state, and uses them again for the same tuple of
tensors, unless these were written to since or a gradient is missing. Other latents are walked through again. Both ways
give the same numbers and derivatives.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias, cast

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from lowerbound.hooks import StatesEventShape
from lowerbound.protocols import Context, Latents
from lowerbound.walk import ChainStep, State, Walk

__all__ = ["Chain", "LayerGiven", "SampleShape", "StateChain", "given", "layer_shapes"]

SampleShape: TypeAlias = torch.Size | list[int] | tuple[int, ...]
LayerGiven: TypeAlias = Callable[[Tensor], Distribution]
"""From a layer to the distribution of the one drawn after it."""


def given(conditional: Callable[[Context], Distribution], context: tuple[Tensor, ...]) -> LayerGiven:
    """z ↦ the distribution of the next layer given z, and the context if there is one."""
    return lambda z: conditional((z, *context) if context else z)


def layer_shapes(conditionals: Sequence[object]) -> list[tuple[int, ...]] | None:
    """The event shape of each layer, if all conditionals state theirs (`hooks.StatesEventShape`); otherwise None."""
    shapes = [c.event_shape for c in conditionals if isinstance(c, StatesEventShape)]
    return shapes if len(shapes) == len(conditionals) else None


class StateChain(Distribution):
    """A distribution over a tuple of latents (z_1, …, z_L), each given all those drawn before it.

    Arguments:
        start: the state before any layer is drawn.
        steps: one for each layer, in the order of drawing.
        downward: whether z_L is drawn first and z_1 last, or the reverse.
        order: places in the tuple of layers as they are drawn, where it is neither of the two.
        batch_shape: of the chain; that of the layer that is drawn first if None.
        layer_shapes: event shapes of z_1, …, z_L, if they are known before a draw.
        source: the module and the tensors of context from which it is made, which identify another evaluation of the
            same chain; () if unknown.

    Raises:
        ValueError: no step.
    """

    arg_constraints = {}  # noqa: RUF012  # pyright: ignore[reportAssignmentType]

    def __init__(
        self,
        start: State,
        steps: Sequence[ChainStep],
        *,
        downward: bool,
        order: Sequence[int] | None = None,
        batch_shape: torch.Size | None = None,
        layer_shapes: Sequence[tuple[int, ...]] | None = None,
        source: tuple[object, ...] = (),
    ):
        if not steps:
            raise ValueError("A chain got no step and needs one for each layer.")
        self.start, self.steps, self.downward, self.source = start, tuple(steps), downward, source
        places = range(len(self.steps))
        self._order = tuple(order) if order is not None else tuple(places[::-1] if downward else places)
        self._turns = tuple(self._order.index(place) for place in places)
        self._declared, self._shapes = batch_shape, None if layer_shapes is None else tuple(layer_shapes)
        self._first: _First | None = None
        self._drawn: Walk | None = None
        self._evaluated: Walk | None = None
        super().__init__(validate_args=False)

    @property
    def first(self) -> Distribution:
        """The distribution of the layer that is drawn first, evaluated when it is needed."""
        return self._begin().distribution

    @property
    def batch_shape(self) -> torch.Size:
        """The batch shape as declared, or that of the first layer."""
        return self._some_first().batch_shape if self._declared is None else self._declared

    @property
    def has_rsample(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether the first layer is reparameterised; this is assumed of the others too."""
        return self._some_first().has_rsample

    @property
    def support(self) -> Any:
        """Tuples of values of the first layer's support, which is assumed of the others too."""
        return _Tuples(self._some_first().support)

    @property
    def event_shape(self) -> torch.Size:
        """(D_1 + … + D_L,), the numbers in all layers.

        Raises:
            NotImplementedError: it was not declared, and nothing was drawn or scored yet that would show it.
        """
        if self._shapes is None:
            raise NotImplementedError(
                "A chain knows the shapes of its layers once it was drawn from; draw first, or declare layer_shapes."
            )
        return torch.Size((sum(torch.Size(shape).numel() for shape in self._shapes),))

    def drawing_order(self) -> tuple[int, ...]:
        """The places of the layers as they are drawn. See `hooks.Layered`."""
        return self._order

    def sample(self, sample_shape: SampleShape = ()) -> tuple[Tensor, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Draw (z_1, …, z_L), each (*sample_shape, B, *event), as constants."""
        with torch.no_grad():
            return self._draw(sample_shape, lambda d, shape: d.sample(shape))

    def rsample(self, sample_shape: SampleShape = ()) -> tuple[Tensor, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Draw (z_1, …, z_L), each (*sample_shape, B, *event), differentiable."""
        return self._draw(sample_shape, lambda d, shape: d.rsample(shape))

    def log_prob(self, value: Latents) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Log-density of (z_1, …, z_L), each (..., *event): (...), nats.

        Raises:
            ValueError: another number of layers.
        """
        pairs = zip(self.layers_at(value), value, strict=True)
        terms = [layer.log_prob(z) for layer, z in pairs]
        return cast(Tensor, sum(terms[1:], terms[0]))

    def layers_at(self, z: Latents) -> tuple[Distribution, ...]:
        """The distribution of each z_l given the layers of z that are drawn before it.

        Raises:
            ValueError: another number of layers.
        """
        return self.walk_through(z).given

    def walk_through(self, z: Latents) -> Walk:
        """The walk along latents z: the remembered one, or a new one, which is then remembered.

        Raises:
            ValueError: another number of layers.
        """
        size = len(self.steps)
        if not isinstance(z, tuple) or len(z) != size:
            got = f"{len(z)} layers" if isinstance(z, tuple) else "one tensor"
            raise ValueError(f"A chain of {size} latents got {got}; give a tuple (z_1, …, z_{size}).")
        # A draw is usually scored next: its distributions are known then, and need not be evaluated a second time.
        for known in (self._drawn, self._evaluated):
            if known is not None and known.is_of(z):
                return known
        values = self.as_drawn(z)
        walk = self.walk_by(lambda layer, _: values[layer])
        self.remember(walk, drawn=False)
        return walk

    def remember(self, walk: Walk, *, drawn: bool) -> None:
        """Remember a walk, which must be the result of `walk_through(walk.z)` at the present parameters."""
        self._shapes = tuple(tuple(layer.event_shape) for layer in walk.given)
        if drawn:
            self._drawn = walk
        else:
            self._evaluated = walk

    def recall(self, other: StateChain) -> None:
        """Take over the memory of another evaluation of the same chain; do nothing if it is of another chain."""
        if len(self.source) == len(other.source) > 0 and all(map(operator.is_, self.source, other.source)):
            self._drawn, self._evaluated, self._shapes = other._drawn, other._evaluated, other._shapes

    @property
    def mean(self) -> Tensor:
        """There is none in closed form."""
        raise NotImplementedError("A chain of latents has no mean in closed form; average draws of it.")

    @property
    def variance(self) -> Tensor:
        """There is none in closed form."""
        raise NotImplementedError("A chain of latents has no variance in closed form; use draws of it.")

    def _draw(
        self, sample_shape: SampleShape, draw: Callable[[Distribution, torch.Size], Tensor]
    ) -> tuple[Tensor, ...]:
        shapes = (torch.Size(sample_shape), *[torch.Size()] * (len(self.steps) - 1))
        walk = self.walk_by(lambda layer, d: draw(d, shapes[layer]))
        self.remember(walk, drawn=True)
        return walk.z

    def walk_by(self, value_of: Callable[[int, Distribution], Tensor]) -> Walk:
        """Walk from the start to the end, and remember nothing.

        Arguments:
            value_of: gives the value of a layer (*sample, B, *event), from its number in the order of drawing and its
                distribution.
        """
        state, z, given, kept = self.start, [], [], []
        for layer, step in enumerate(self.steps):
            d, carry = self._begin()[:2] if layer == 0 else step.at(state)
            value = value_of(layer, d)
            state = step.advance(state, carry, value)
            z.append(value)
            given.append(d)
            kept.append(self._kept_of(carry))
        order = self.as_layers
        return Walk(order(tuple(z)), order(tuple(given)), order(tuple(kept)), state)

    def parts_of(self, z: Latents) -> tuple[Tensor, ...]:
        """The layers. See `hooks.ChosenInTurn`."""
        return cast(tuple[Tensor, ...], z)

    def chosen_in_turn(self, choose: Callable[[int, Distribution], Tensor]) -> tuple[Tensor, ...]:
        """See `hooks.ChosenInTurn`."""
        return self.walk_by(lambda turn, d: choose(self._order[turn], d)).z

    def _begin(self) -> _First:
        """The first layer and its carry. They are evaluated once, and again only if a gradient is missing."""
        if self._first is None or (torch.is_grad_enabled() and not self._first.has_gradient):
            self._first = _First(*self.steps[0].at(self.start), torch.is_grad_enabled())
        return self._first

    def _some_first(self) -> Distribution:
        """The first layer, with or without gradients: for properties that do not depend on gradients."""
        for known in (self._drawn, self._evaluated):
            if known is not None:
                return self.as_drawn(known.given)[0]
        return self._begin().distribution if self._first is None else self._first.distribution

    def _kept_of(self, carry: Any) -> Any:
        """The part of a layer's carry that a walk remembers besides its distribution."""
        return None

    def as_drawn(self, items: Sequence[Any]) -> tuple[Any, ...]:
        """Change from the order of the layers to that of drawing."""
        return tuple(items[place] for place in self._order)

    def as_layers(self, items: Sequence[Any]) -> tuple[Any, ...]:
        """Change from the order of drawing to that of the layers."""
        return tuple(items[turn] for turn in self._turns)


class Chain(StateChain):
    """A chain in which a layer depends only on the one drawn before it.

    Arguments:
        first: of the layer that is drawn first, or a function that gives it when it is needed.
        following: from a layer to the distribution of the one drawn after it.
        downward: whether z_L is drawn first and z_1 last, or the reverse.
        layer_shapes: as for `StateChain`.
        source: as for `StateChain`.

    >>> from torch.distributions import Independent, Normal
    >>> top = Independent(Normal(torch.zeros(2), 1.0), 1)
    >>> p = Chain(top, [lambda z: Independent(Normal(z, 1.0), 1)], downward=True)
    >>> z_1, z_2 = p.sample((5,))
    >>> p.log_prob((z_1, z_2)).shape
    torch.Size([5])
    """

    def __init__(
        self,
        first: Distribution | Callable[[], Distribution],
        following: Sequence[LayerGiven],
        *,
        downward: bool,
        layer_shapes: Sequence[tuple[int, ...]] | None = None,
        source: tuple[object, ...] = (),
    ):
        start = (lambda: first) if isinstance(first, Distribution) else first
        self.following = tuple(following)
        steps = [_Given(lambda _: start()), *map(_Given, following)]
        super().__init__(None, steps, downward=downward, layer_shapes=layer_shapes, source=source)

    def expand(self, batch_shape: torch.Size, _instance: Distribution | None = None) -> Chain:
        """The same chain with a larger batch shape."""
        return Chain(self.first.expand(batch_shape), self.following, downward=self.downward, source=self.source)


class _First(NamedTuple):
    distribution: Distribution
    carry: Any
    has_gradient: bool


class _Given:
    """The step of a layer that depends on the layer before it: the state is that layer."""

    def __init__(self, given: LayerGiven):
        self.given = given

    def at(self, state: State) -> tuple[Distribution, None]:
        return self.given(state), None

    def advance(self, state: State, carry: Any, z: Tensor) -> Tensor:
        return z


class _Tuples(constraints.Constraint):
    """The set of tuples whose parts are all in one set."""

    def __init__(self, of: Any):
        self.is_discrete = of.is_discrete
        super().__init__()

    def __repr__(self) -> str:
        return "several layers"

    def check(self, value: Any) -> Tensor:
        """Not known without the layers."""
        raise NotImplementedError("The support of a chain of latents cannot be checked.")
