"""Latents on a stack: popped under q(z | x) and pushed under p(z) while encoding, and the reverse while decoding.

Both use the same grid (`grids`). In a hierarchy whose posterior draws the layers in the order of its prior it is placed
by p(z_l | the layers before it). Where the orders differ, as from the data up, and where a prior has no moments in
closed form, it is placed by the moments of draws of p(z), which both sides make alike.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import cast

import numpy as np
from torch import Tensor
from torch.distributions import Distribution

from lowerbound.chain import StateChain
from lowerbound.coding.flows import flow_of, pop_flow, push_flow
from lowerbound.coding.grids import LatentGrid, grid_given, grids_of_draws, has_moments
from lowerbound.coding.stack import BitStack
from lowerbound.coding.turns import Batch, pop_event, push_event
from lowerbound.hooks import Latents

__all__ = ["Grids", "LatentCoder"]

Grids = list[LatentGrid] | None
"""The grid of each layer, z_1 first; None where p(z_l | …) places it layer by layer."""


class LatentCoder:
    """Codes the latents of a model.

    Remembers the grids of a prior that is the same for all rows, which take draws.
    """

    def __init__(self) -> None:
        self._grids: Grids = None

    def grids_for(self, p: Distribution, size: int, *, in_order: bool) -> Grids:
        """Where the values of the latents lie.

        Arguments:
            p: the prior.
            size: of the batch.
            in_order: whether the posterior draws the layers of a hierarchy in the order of p.

        Raises:
            ValueError: layers in different orders under a prior that differs from row to row.
        """
        if in_order if isinstance(p, StateChain) else has_moments(p):
            return None
        if p.batch_shape:
            return grids_of_draws(p, size)
        if self._grids is None:
            self._grids = grids_of_draws(p, size)
        return self._grids

    def pop(
        self, stack: BitStack, d: Distribution, p: Distribution, grids: Grids, batch: Batch
    ) -> tuple[list[np.ndarray], Latents]:
        """Pop z under d, which is q(z | x) or p(z): the numbers (size, elements) of each layer, z_1 first, and z."""
        numbers: list[np.ndarray] = []
        values: list[Tensor] = []
        for layer, grid in _along(d, p, grids, batch.size, values):
            if flow_of(layer) is None:
                k = pop_event(stack, layer, grid.numbering, len(grid), batch)
            else:
                k = pop_flow(stack, layer, grid, batch)
            numbers.append(k)
            values.append(grid.values(k))
        if not isinstance(d, StateChain):
            return numbers, values[0]
        return list(d.as_layers(numbers)), d.as_layers(values)

    def push(
        self,
        stack: BitStack,
        d: Distribution,
        p: Distribution,
        grids: Grids,
        numbers: list[np.ndarray],
        batch: Batch,
    ) -> None:
        """Push z of these numbers, z_1 first, under d."""
        numbers = list(d.as_drawn(numbers)) if isinstance(d, StateChain) else numbers
        values: list[Tensor] = []
        known: list[tuple[Distribution, LatentGrid]] = []
        for layer, grid in _along(d, p, grids, batch.size, values):
            values.append(grid.values(numbers[len(known)]))
            known.append((layer, grid))
        for (layer, grid), k in zip(reversed(known), reversed(numbers), strict=True):
            if flow_of(layer) is None:
                push_event(stack, layer, grid.numbering, k, batch)
            else:
                push_flow(stack, layer, grid, k, batch)


def _along(
    d: Distribution, p: Distribution, grids: Grids, size: int, values: list[Tensor]
) -> Iterator[tuple[Distribution, LatentGrid]]:
    """Each layer of d in the order of drawing, with its grid; `values` gets its z before the next."""
    of_d, of_p = _layers(d), _layers(p)
    in_order = None if grids is None else iter(d.as_drawn(grids) if isinstance(d, StateChain) else grids)
    z = None
    while True:
        try:
            layer = of_d.send(z)  # pyright: ignore[reportArgumentType]
            grid = grid_given(of_p.send(cast(Tensor, z)), size) if in_order is None else next(in_order)
        except StopIteration:
            return
        yield layer, grid
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
