"""Several latents, drawn one after another, each given the one before: what a hierarchy's p and q have in common.

    downward    d(z_1, …, z_L) = d(z_L) d(z_{L−1} | z_L) … d(z_1 | z_2)        p(z), and top-down posteriors
    upward      d(z_1, …, z_L) = d(z_1) d(z_2 | z_1) … d(z_L | z_{L−1})        bottom-up posteriors

z_1 is the layer nearest to the data, and latents are always the tuple (z_1, …, z_L), in whichever order they are drawn.

A draw is usually scored at once, by conditionals that were evaluated for drawing it. The chain remembers them with the
draw (`remember`) and uses them for that very tuple of tensors, if nothing wrote into it since and no gradient is
missing; any other latents are evaluated anew. Both ways give the same numbers and the same derivatives.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from lowerbound.protocols import Context, Latents
from lowerbound.randomness import forked

__all__ = ["Chain", "LayerGiven", "SampleShape", "given"]

SampleShape: TypeAlias = torch.Size | list[int] | tuple[int, ...]
LayerGiven: TypeAlias = Callable[[Tensor], Distribution]
"""From a layer to the distribution of the one drawn after it."""


def given(conditional: Callable[[Context], Distribution], context: tuple[Tensor, ...]) -> LayerGiven:
    """z ↦ the distribution of the next layer given z, and the context if there is one."""
    return lambda z: conditional((z, *context) if context else z)


class Chain(Distribution):
    """A distribution over a tuple of latents (z_1, …, z_L).

    Arguments:
        first: of the layer that is drawn first; the batch shape of the chain is its.
        following: from a layer to the distribution of the one drawn after it.
        downward: whether z_L is drawn first and z_1 last, or the reverse.
        source: the module and the tensors of context that this is made of, by which another evaluation of the same
            chain is known; () if there is no telling.

    >>> from torch.distributions import Independent, Normal
    >>> top = Independent(Normal(torch.zeros(2), 1.0), 1)
    >>> p = Chain(top, [lambda z: Independent(Normal(z, 1.0), 1)], downward=True)
    >>> z_1, z_2 = p.sample((5,))
    >>> p.log_prob((z_1, z_2)).shape
    torch.Size([5])
    """

    arg_constraints = {}  # noqa: RUF012  # pyright: ignore[reportAssignmentType]

    def __init__(
        self, first: Distribution, following: Sequence[LayerGiven], *, downward: bool, source: tuple[object, ...] = ()
    ):
        self.first, self.following, self.downward, self.source = first, tuple(following), downward, source
        self._remembered: _Draw | None = None
        super().__init__(first.batch_shape, validate_args=False)

    @property
    def has_rsample(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether the first layer is reparameterised; the others are taken to be like it."""
        return self.first.has_rsample

    @property
    def support(self) -> Any:
        """Tuples of what the first layer takes for values; the others are taken to be like it."""
        return _Tuples(self.first.support)

    @property
    def event_shape(self) -> torch.Size:
        """(D_1 + … + D_L,), the numbers in all layers; counted in a draw."""
        batch = len(self.first.batch_shape)
        with forked(torch.device("cpu"), 0):
            return torch.Size((sum(layer.shape[batch:].numel() for layer in self.sample()),))

    def sample(self, sample_shape: SampleShape = ()) -> tuple[Tensor, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Draw (z_1, …, z_L), each (*sample_shape, B, D_l), as constants."""
        with torch.no_grad():
            return self._draw(sample_shape, lambda d, shape: d.sample(shape))[0]

    def rsample(self, sample_shape: SampleShape = ()) -> tuple[Tensor, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Draw (z_1, …, z_L), each (*sample_shape, B, D_l), differentiable, and remember their distributions."""
        z, given = self._draw(sample_shape, lambda d, shape: d.rsample(shape))
        self.remember(z, given)
        return z

    def log_prob(self, value: Latents) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Log-density of (z_1, …, z_L), each (..., D_l): (...), nats.

        Raises:
            ValueError: another number of layers.
        """
        pairs = zip(self.layers_at(value), value, strict=True)
        terms = [layer.log_prob(z) for layer, z in pairs]
        return cast(Tensor, sum(terms[1:], terms[0]))

    def layers_at(self, z: Latents) -> tuple[Distribution, ...]:
        """The distribution of each z_l given the layer of z that is drawn before it.

        Raises:
            ValueError: another number of layers.
        """
        size = len(self.following) + 1
        if not isinstance(z, tuple) or len(z) != size:
            got = f"{len(z)} layers" if isinstance(z, tuple) else "one tensor"
            raise ValueError(f"A chain of {size} latents got {got}; give a tuple (z_1, …, z_{size}).")
        if self._remembered is not None and self._remembered.is_of(z):
            return self._remembered.given
        drawn = self._in_order(z)
        return self._in_order((self.first, *(step(a) for step, a in zip(self.following, drawn[:-1], strict=True))))

    def remember(self, z: tuple[Tensor, ...], given: tuple[Distribution, ...]) -> None:
        """Keep the distributions `given`, which `layers_at(z)` would give at the present parameters."""
        self._remembered = _Draw(z, given)

    def recall(self, other: Chain) -> None:
        """Remember what another evaluation of the same chain remembers; nothing if it is of another."""
        if len(self.source) == len(other.source) > 0 and all(map(operator.is_, self.source, other.source)):
            self._remembered = other._remembered

    def expand(self, batch_shape: torch.Size, _instance: Distribution | None = None) -> Chain:
        """The same chain with a larger batch shape."""
        return Chain(self.first.expand(batch_shape), self.following, downward=self.downward, source=self.source)

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
    ) -> tuple[tuple[Tensor, ...], tuple[Distribution, ...]]:
        given, z = [self.first], [draw(self.first, torch.Size(sample_shape))]
        for step in self.following:
            given.append(step(z[-1]))
            z.append(draw(given[-1], torch.Size()))
        return self._in_order(tuple(z)), self._in_order(tuple(given))

    def _in_order(self, items: tuple[Any, ...]) -> tuple[Any, ...]:
        """From the order of drawing to that of the layers, or back."""
        return items[::-1] if self.downward else items


class _Draw:
    """Latents, and the distribution of each given the one drawn before it."""

    def __init__(self, z: tuple[Tensor, ...], given: tuple[Distribution, ...]):
        self.z, self.given = z, given
        self.versions, self.has_gradient = [_version(layer) for layer in z], torch.is_grad_enabled()

    def is_of(self, z: tuple[Tensor, ...]) -> bool:
        """Whether these are the very latents, not written to since, and no gradient is missing."""
        if torch.is_grad_enabled() and not self.has_gradient:
            return False
        pairs = zip(z, self.z, self.versions, strict=True)
        return all(layer is drawn and _version(layer) == version for layer, drawn, version in pairs)


class _Tuples(constraints.Constraint):
    """Of tuples whose parts are all in one set."""

    def __init__(self, of: Any):
        self.is_discrete = of.is_discrete
        super().__init__()

    def __repr__(self) -> str:
        return "several layers"

    def check(self, value: Any) -> Tensor:
        """Not known without the layers."""
        raise NotImplementedError("The support of a chain of latents cannot be checked.")


def _version(z: Tensor) -> int:
    """How often z was written to; 0 where torch does not count (in inference mode, while compiling)."""
    return 0 if torch.compiler.is_compiling() or z.is_inference() else z._version
