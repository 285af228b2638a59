"""Rows coded by a latent variable model in −ELBO bits: bits-back coding (Townsend, Bird & Barber 2019, 1901.04866).

    pop z under q(z | x)        − log₂ q(z | x) bits come back
    push x under p(x | z)       − log₂ p(x | z) bits
    push z under p(z)           − log₂ p(z) bits

so that a row takes E_q[log q(z | x) − log p(x, z)] = −ELBO on average; decoding undoes each step. Rows are coded some
at a time. The first groups are small, for what they pop must have been pushed before, or lent (`stack`).

Encoding and decoding must compute the same numbers to the last bit. All is therefore in float64 on the CPU with one
thread, nets are called with batches of one size (the first row fills up what is missing), x is rebuilt from its numbers
before it is used, and distribution functions treat each element alone (`distribution_functions`).

With K latents for a row it takes −L_K, the importance-weighted bound (Monte Carlo bits-back: Ruan, Ullrich, Severo,
Townsend, Khisti, Doucet, Makhzani & Maddison 2021, arXiv:2102.11086, BB-IS): see `coding.weighted`.

q(z | x) may be refined by some steps from that of the encoder (`inference.Local`): a row then takes fewer bits. The
steps are a function of x, with draws from one seed, so that a decoder, which knows x before it needs q, takes them too.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from lowerbound.chain import StateChain
from lowerbound.coding.bound import bits_at
from lowerbound.coding.latents import Grids, LatentCoder
from lowerbound.coding.numbering import Steps
from lowerbound.coding.stack import BitStack
from lowerbound.coding.turns import Batch, pop_event, push_event
from lowerbound.coding.weighted import bits_of_mean, chosen_first, in_their_places, pop_choice, push_choice
from lowerbound.hooks import Augmented, Latents
from lowerbound.inference import Local
from lowerbound.model import LatentVariableModel
from lowerbound.randomness import forked

__all__ = ["BATCH", "Codec", "CodedRows", "exactly", "groups_of"]

BATCH = 256
"""Rows that are coded at a time, and lanes of the stack."""

_NUMBERS_AT_ONCE = 1 << 23
Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True, eq=False)
class CodedRows:
    """Rows as bits.

    Attributes:
        stack: their bits.
        groups: how many rows were coded at a time, the first first; those of `groups_of`.
        net_bits: what the rows added to the stack.
        symbol_bits: the same without the rounding of the stack.
        drawn_bits: log₂ q(z | x) − log₂ p(x, z) of all rows at the very z that were popped, which is what they should
            have added, without the noise of other draws. They take less where p(z) all but excludes such z, since no
            value is given less than 2⁻³⁰.
    """

    stack: BitStack
    groups: tuple[int, ...]
    net_bits: float
    symbol_bits: float
    drawn_bits: float


class Codec:
    """Codes rows by a model.

    Arguments:
        model: p(x, z) and q(z | x).
        events: from values (B, elements) on their steps to x as the likelihood scores it (B, *event), float64.
        steps: the values that each element can have, as the likelihood scores them, under which x is coded.
        batch: rows at a time.
        refine: steps by which each q(z | x) is optimised.
        samples: K, latents for each row.
    """

    def __init__(
        self,
        model: LatentVariableModel,
        steps: Steps,
        events: Callable[[np.ndarray], Tensor],
        batch: int = BATCH,
        refine: int = 0,
        samples: int = 1,
    ):
        self.samples = samples
        self.model, self.steps, self.events, self.batch = copy.deepcopy(model).double().eval(), steps, events, batch
        self._scheme = Local(num_steps=refine) if refine else None
        self._latents, self._in_order = LatentCoder(), None

    def encode(
        self,
        k: np.ndarray,
        *,
        seen: np.ndarray | None = None,
        context: Tensor | None = None,
        progress: Progress | None = None,
    ) -> CodedRows:
        """Code rows.

        Arguments:
            k: the number of each value (N, elements), 0 where there is none.
            seen: where there is a value (N, elements); None for everywhere.
            context: of each row (N, …).
            progress: called with the rows done and their number.

        Raises:
            ValueError: a part of the model that cannot be coded.
        """
        stack, groups, done, drawn = BitStack(lends=True), groups_of(len(k), self.batch, self.samples), 0, 0.0
        with exactly():
            for size in groups:
                rows = slice(done, done + size)
                stack.widen(size)
                drawn += self._push_rows(stack, k[rows], _part(seen, rows), _part(context, rows))
                done += size
                if progress is not None:
                    progress(done, len(k))
        return CodedRows(
            stack=stack,
            groups=groups,
            net_bits=stack.num_bits,
            symbol_bits=stack.symbol_bits,
            drawn_bits=drawn,
        )

    def decode(
        self,
        stack: BitStack,
        groups: tuple[int, ...],
        *,
        seen: np.ndarray | None = None,
        context: Tensor | None = None,
        progress: Progress | None = None,
    ) -> np.ndarray:
        """The numbers (N, elements) of the rows, from the stack, which is empty of them afterwards.

        Raises:
            StackError: the stack is not of this model and these groups.
        """
        num_rows = done = sum(groups)
        k = np.zeros((num_rows, len(self.steps.size)), np.int64)
        with exactly():
            for i in reversed(range(len(groups))):
                rows = slice(done - groups[i], done)
                k[rows] = self._pop_rows(stack, groups[i], _part(seen, rows), _part(context, rows))
                done = rows.start
                stack.narrow(max(groups[:i], default=0))
                if progress is not None:
                    progress(num_rows - done, num_rows)
        return k

    def negative_elbo_bits(
        self, k: np.ndarray, draws: int, *, seen: np.ndarray | None = None, context: Tensor | None = None
    ) -> np.ndarray:
        """log₂ q(z | x) − log₂ p(x, z) of rows numbered k (rows, elements) at draws of q: (draws, rows). Of several
        latents for a row −log₂ of the mean of p(x, z) / q(z | x) over them.
        """
        with exactly():
            x, given = self._events(k, seen), None if context is None else context.double()
            q = self._infer(x, given)

            def at(count: int) -> np.ndarray:
                z = q.sample(torch.Size((count,)))
                return bits_at(self.model, self.steps, q, x, k, z, seen=seen, context=given)

            if self.samples == 1:
                return at(draws)
            return np.stack([bits_of_mean(at(self.samples)) for _ in range(draws)])

    def _push_rows(self, stack: BitStack, k: np.ndarray, seen: np.ndarray | None, context: Tensor | None) -> float:
        """Push rows; what they should add to the stack."""
        k, seen, context, rows = self._filled(k, seen, context)
        x = self._events(k, seen)
        q, p = self._inferred(x, context)
        grids, of_q = self._grids(p, context), self._batch(rows, "posterior", floored=False)
        drawn = [self._latents.pop(stack, q, p, grids, of_q) for _ in range(self.samples)]
        bits = np.stack([self._bits(q, x, k, z, seen, context) for _, z in drawn])
        place = None
        if self.samples > 1:
            place = pop_choice(stack, bits, self.samples, rows, len(k))
            drawn = chosen_first(drawn, place)
        (numbers, z), *others = drawn
        for other, _ in others:
            self._latents.push(stack, q, p, grids, other, of_q)
        likelihood = self.model.decode(z, context)
        push_event(stack, likelihood, self._steps_at, k, self._batch(rows, "likelihood", seen=seen))
        self._latents.push(stack, p, p, grids, numbers, self._batch(rows, "prior"))
        if place is not None:
            push_choice(stack, None, self.samples, rows, place)
        return float(bits_of_mean(bits)[:rows].sum())

    def _pop_rows(self, stack: BitStack, rows: int, seen: np.ndarray | None, context: Tensor | None) -> np.ndarray:
        _, seen, context, _ = self._filled(np.zeros((rows, 1)), seen, context)
        p = self.model.prior(context)
        grids, of_q = self._grids(p, context), self._batch(rows, "posterior", floored=False)
        place = pop_choice(stack, None, self.samples, rows, self.batch) if self.samples > 1 else None
        drawn = [self._latents.pop(stack, p, p, grids, self._batch(rows, "prior"))]
        likelihood, of_x = self.model.decode(drawn[0][1], context), self._batch(rows, "likelihood", seen=seen)
        k = pop_event(stack, likelihood, self._steps_at, len(self.steps.size), of_x)
        x = self._events(k, seen)
        q, p = self._inferred(x, context)
        if place is not None:
            drawn += [self._latents.pop(stack, q, p, grids, of_q) for _ in range(self.samples - 1)][::-1]
            drawn = in_their_places(drawn, place)
            bits = np.stack([self._bits(q, x, k, z, seen, context) for _, z in drawn])
            push_choice(stack, bits, self.samples, rows, place)
        for numbers, _ in reversed(drawn):
            self._latents.push(stack, q, p, grids, numbers, of_q)
        return k[:rows]

    def _bits(
        self, q: Any, x: Tensor, k: np.ndarray, z: Latents, seen: np.ndarray | None, context: Tensor | None
    ) -> np.ndarray:
        """log₂ q(z | x) − log₂ p(x, z) of rows at one z each: (rows,)."""
        one = tuple(layer[None] for layer in z) if isinstance(z, tuple) else z[None]
        return bits_at(self.model, self.steps, q, x, k, one, seen=seen, context=context)[0]

    def _events(self, k: np.ndarray, seen: np.ndarray | None) -> Tensor:
        """x of rows of numbers."""
        values = self.steps.value(np.ascontiguousarray(k.T)).T
        return self.events(np.ascontiguousarray(values if seen is None else np.where(seen, values, np.nan)))

    def _inferred(self, x: Tensor, context: Tensor | None) -> tuple[Any, Any]:
        """q(z | x) and p(z)."""
        q, p = self._infer(x, context), self.model.prior(context)
        if isinstance(q, Augmented):
            raise ValueError(
                f"{type(self.model.posterior).__name__} draws further variables besides z, which cannot be coded; fit "
                "with --posterior diagonal-normal, full-normal or mixture-normal."
            )
        return q, p

    def _infer(self, x: Tensor, context: Tensor | None) -> Distribution:
        """q(z | x), refined if that was asked for, with the same draws for the same batch.

        Raises:
            ValueError: it cannot be refined.
        """
        q = self.model.infer(x, context)
        if self._scheme is None:
            return q
        if isinstance(q, StateChain) or not q.has_rsample:
            raise ValueError(
                f"{type(self.model.posterior).__name__} as posterior cannot be refined, as it has several layers or "
                "discrete latents; leave out refine."
            )
        with forked(torch.device("cpu"), "refined for coding"):
            return self._scheme(self.model, x, context)

    def _grids(self, p: Distribution, context: Tensor | None) -> Grids:
        """Where the values of the latents lie, which must be known before x is."""
        if isinstance(p, StateChain) and self._in_order is None:
            none = np.zeros((self.batch, len(self.steps.size)), np.int64)
            q, _ = self._inferred(self._events(none, None), context)
            self._in_order = isinstance(q, StateChain) and q.drawing_order() == p.drawing_order()
        return self._latents.grids_for(p, self.batch, in_order=bool(self._in_order))

    def _filled(self, k: np.ndarray, seen: np.ndarray | None, context: Tensor | None) -> Any:
        """Rows, what is seen of them and their context, filled up to a batch by the first; and how many they are."""
        place = np.concatenate([np.arange(len(k)), np.zeros(self.batch - len(k), np.int64)])
        context = None if context is None else context[torch.from_numpy(place)].double()
        return k[place], _part(seen, place), context, len(k)

    def _steps_at(self, family: Any, places: np.ndarray) -> Steps:
        return self.steps.at(places)

    def _batch(self, rows: int, part: str, *, floored: bool = True, seen: np.ndarray | None = None) -> Batch:
        return Batch(rows=rows, size=self.batch, part=part, floored=floored, seen=seen)


def groups_of(num_rows: int, batch: int, samples: int = 1) -> tuple[int, ...]:
    """How many rows are coded at a time: half as many as were before, over the latents that each pops, up to a batch,
    so that little must be lent.

    >>> groups_of(20, 4)
    (1, 1, 1, 1, 2, 3, 4, 4, 3)
    >>> groups_of(20, 4, samples=3)
    (1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2)
    """
    groups, done = list[int](), 0
    while done < num_rows:
        groups.append(min(max(1, min(batch, done // (2 * samples))), num_rows - done))
        done += groups[-1]
    return tuple(groups)


@contextmanager
def exactly() -> Iterator[None]:
    """One thread, no gradients, denormal numbers kept, float64 for what is made on the way."""
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    torch.set_flush_denormal(False)
    try:
        with torch.no_grad():
            yield
    finally:
        torch.set_num_threads(threads)
        torch.set_default_dtype(dtype)


def _part(of: Any, rows: Any) -> Any:
    return None if of is None else of[rows]
