"""Latents on a stack: popped under q(z | x) and pushed under p(z) while encoding, and the reverse while decoding.

Both use the same grid (`numbering.LatentCells`), placed by the mean and the standard deviation of p(z), or of
p(z_l | the layers before it) in a hierarchy, whose layers p and q must draw in the same order. Where these have no
closed form it is that of a standard normal prior. Discrete latents are their own grid.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from lowerbound.chain import StateChain
from lowerbound.coding.families import Family
from lowerbound.coding.numbering import LatentCells, Steps
from lowerbound.coding.stack import BitStack
from lowerbound.coding.turns import Batch, first_family, pop_event, push_event, values_of
from lowerbound.hooks import Latents, Layered

__all__ = ["pop_latents", "push_latents", "require_same_order"]


def require_same_order(q: Distribution, p: Distribution) -> None:
    """Refuse a hierarchy whose posterior draws its layers in another order than its prior.

    Raises:
        ValueError: naming the remedy.
    """
    if isinstance(q, Layered) and isinstance(p, Layered) and q.drawing_order() == p.drawing_order():
        return
    if isinstance(q, Layered) or isinstance(p, Layered):
        raise ValueError(
            "Coding needs a posterior that draws the layers of z in the order of the prior, and this one does not; fit "
            "the recipe ladder, whose posterior is top-down."
        )


def pop_latents(stack: BitStack, d: Distribution, p: Distribution, batch: Batch) -> tuple[list[np.ndarray], Latents]:
    """Pop z under d, which is q(z | x) or p(z): the numbers (size, elements) of each layer as drawn, and z itself."""
    numbers: list[np.ndarray] = []
    values: list[Tensor] = []
    for layer, grid in _along(d, p, batch.size, values):
        k = pop_event(stack, layer, grid.numbering, len(grid), batch)
        numbers.append(k)
        values.append(grid.values(k))
    if not isinstance(p, StateChain):
        return numbers, values[0]
    return numbers, tuple(values[::-1] if p.downward else values)


def push_latents(stack: BitStack, d: Distribution, p: Distribution, numbers: list[np.ndarray], batch: Batch) -> None:
    """Push z of these numbers under d."""
    values: list[Tensor] = []
    known: list[tuple[Distribution, _LatentGrid]] = []
    for layer, grid in _along(d, p, batch.size, values):
        values.append(grid.values(numbers[len(known)]))
        known.append((layer, grid))
    for (layer, grid), k in zip(reversed(known), reversed(numbers), strict=True):
        push_event(stack, layer, grid.numbering, k, batch)


class _LatentGrid:
    """The values of the latents of one layer.

    Arguments:
        p: the prior of the layer, given the layers before it.
        size: of the batch.
    """

    def __init__(self, p: Distribution, size: int):
        self.family, self.event_shape = first_family(p, size, "prior"), tuple(p.event_shape)
        value = (self.family.num_classes,) if self.family.values == "one-hot" else ()
        self._elements = self.event_shape[: len(self.event_shape) - len(value)]
        self._loc, self._scale = _moments(p, size, len(self)) if self.family.values == "numbers" else (None, None)

    def __len__(self) -> int:
        return int(np.prod(self._elements, dtype=np.int64))

    def numbering(self, family: Family, places: np.ndarray) -> Steps | LatentCells:
        """The numbers of the values at some places."""
        if self._loc is not None and self._scale is not None:
            return LatentCells(self._loc[places], self._scale[places])
        n, zero = self.family.num_classes if self.family.values == "one-hot" else 2, np.zeros(len(places))
        return Steps(zero, zero + 1, np.full(len(places), n), zero)

    def values(self, k: np.ndarray) -> Tensor:
        """z (size, *event) of numbers (size, elements)."""
        places = np.arange(len(self))
        z = values_of(np.ascontiguousarray(k.T), self.family, self.numbering(self.family, places))
        return z.reshape(len(k), *self.event_shape)


def _along(
    d: Distribution, p: Distribution, size: int, values: list[Tensor]
) -> Iterator[tuple[Distribution, _LatentGrid]]:
    """Each layer of d in the order of drawing, with the grid that p gives it; `values` gets its z before the next."""
    of_d, of_p = _layers(d), _layers(p)
    z = None
    while True:
        try:
            layer, prior = of_d.send(z), of_p.send(z)  # pyright: ignore[reportArgumentType]
        except StopIteration:
            return
        yield layer, _LatentGrid(prior, size)
        z = values[-1]


def _layers(d: Distribution) -> Generator[Distribution, Tensor, None]:
    if not isinstance(d, StateChain):
        yield d
        return
    state = d.start
    for step in d.steps:
        layer, carry = step.at(state)
        z = yield layer
        state = step.advance(state, carry, z)


def _moments(p: Distribution, size: int, num: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each latent (n, size)."""
    try:
        both = p.mean, p.variance.sqrt()
    except NotImplementedError:
        return np.zeros((num, size)), np.ones((num, size))
    loc, scale = (torch.as_tensor(m).double().expand(size, *p.event_shape).reshape(size, -1).numpy() for m in both)
    if not (np.isfinite(loc).all() and np.isfinite(scale).all()):
        raise ValueError("The prior of this model has no finite mean and variance, which coding needs; choose another.")
    return np.ascontiguousarray(loc.T), np.ascontiguousarray(scale.T)
