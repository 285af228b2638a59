"""Codes that are whole numbers, as bits: what a rate–distortion autoencoder writes to a file.

    C_k = ⌊F_k (2³⁰ − K)⌋ + k − low + 1,     k = low, …, high,     K = high − low + 1,     C_high = 2³⁰

Each number k takes the parts C_{k−1}, …, C_k − 1 of 2³⁰, so that all numbers together take −log₂ p̃(z) bits to within
some 10⁻⁴ of it, but where p̃(k) is below 2⁻³⁰: such a number takes 30 bits and no more,

    p̂(k) = (1 − K/2³⁰) p̃(k) + 2⁻³⁰

is what is coded. The file holds the least and the greatest number of all rows; one more on each side stands for what p̃
gives to numbers beyond, and never comes. Nothing is popped before it was pushed: there are no bits back, and the
numbers come back as they were.

Layers of a hierarchy, or frames of a clip, come in turn: the distribution of each is computed from the numbers of those
before it, while encoding and again while decoding, on the same rows together. Numbers of one turn lie on several lanes
of the stack, one after another, as many lanes as cost less than a thousandth of the bits.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from lowerbound.coding.bits_back import exactly
from lowerbound.coding.stack import PARTS, BitStack, StackError
from lowerbound.hooks import ChosenInTurn, Latents, OverWholeNumbers
from lowerbound.model import LatentVariableModel

__all__ = [
    "MOST_CELLS",
    "CodedNumbers",
    "Parts",
    "Range",
    "WholeNumberCodec",
    "lanes_for",
    "note_parts",
    "pop_numbers",
    "ranges_of",
    "stack_of",
]

_ONE = torch.Size((1,))
_BITS_OF_A_LANE = 1 << 16
_MOST_LANES = 256
MOST_CELLS = 1 << 14
"""Numbers from the least to the greatest that a file may hold; a range has one more on each side."""
_TABLE = 1 << 21
Progress = Callable[[int, int], None]
Range = tuple[int, int]
Parts = list[tuple[np.ndarray, np.ndarray]]
"""The first of the parts that numbers take, and how many, in the order in which they are decoded."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CodedNumbers:
    """The codes of some rows.

    Attributes:
        stack: their bits.
        ranges: from one below the least to one above the greatest number of each layer, or other part coded in turn.
        net_bits: what they added to the stack.
        information: −log₂ p̂(z) of all rows, bits: what the codes should take.
        above_information: that of the latents on which the others depend: the upper layer, or the codes of whole clips.
        model_information: −log₂ p̃(z) of the same, more where p̃ excludes numbers.
        decoded: the mean of p(x | z) of each row (N, *event), float64.
    """

    stack: BitStack
    ranges: tuple[Range, ...]
    net_bits: float
    information: float
    above_information: float
    model_information: float
    decoded: Tensor


class WholeNumberCodec:
    """Codes the latents of a model.

    Arguments:
        model: with a posterior that rounds and a prior of whole numbers.
        batch: rows that the nets see together.

    Raises:
        ValueError: a prior of something else.
    """

    def __init__(self, model: LatentVariableModel, batch: int):
        self.model, self.batch = copy.deepcopy(model).double().eval(), batch

    def encode(self, x: Tensor, progress: Progress | None = None) -> CodedNumbers:
        """Code the latents of rows x (N, *event), float64.

        Raises:
            ValueError: numbers too far apart for a table.
        """
        with exactly():
            p = self.model.prior(None)
            codes = []
            for rows in _blocks(len(x), self.batch):
                codes.append(_parts(p, self.model.infer(x[rows]).sample(_ONE)))
                if progress is not None:
                    progress(rows.stop // 2, len(x))
            ranges = ranges_of(codes)
            pushed = Parts()
            exact, information, decoded = 0.0, [[0.0] for _ in ranges], []
            for done, z in enumerate(codes, 1):
                p = self.model.prior(None)
                walked = _in_turn(
                    p, lambda part, d, z=z: note_parts(pushed, information[part], d, z[part], ranges[part])
                )
                exact -= float(p.log_prob(walked).sum()) / math.log(2)  # type: ignore[arg-type]
                decoded.append(self.model.decode(walked).mean[0])
                if progress is not None:
                    progress((len(x) + min(done * self.batch, len(x))) // 2, len(x))
            each = [bits for (bits,) in information]
            stack = stack_of(pushed, sum(each))
        return CodedNumbers(
            stack=stack,
            ranges=ranges,
            net_bits=stack.num_bits,
            information=sum(each),
            above_information=each[-1] if isinstance(walked, tuple) else 0.0,
            model_information=exact,
            decoded=torch.cat(decoded),
        )

    def decode(
        self, stack: BitStack, num_rows: int, ranges: tuple[Range, ...], progress: Progress | None = None
    ) -> Tensor:
        """The mean of p(x | z) of each row (N, *event), float64, from the stack, which is empty afterwards.

        Raises:
            StackError: the stack is not of this model and these rows.
        """
        found, lanes = [], len(stack.heads)
        with exactly():
            for rows in _blocks(num_rows, self.batch):
                size = rows.stop - rows.start
                p = self.model.prior(None)
                z = _in_turn(p, lambda part, d, size=size: pop_numbers(stack, d, size, ranges[part], lanes))
                found.append(self.model.decode(z).mean[0])
                if progress is not None:
                    progress(rows.stop, num_rows)
            stack.narrow(0)
        return torch.cat(found)


def stack_of(pushed: Parts, bits: float) -> BitStack:
    """A stack of what `note_parts` noted, which takes so many bits."""
    stack = BitStack(lends=True)
    stack.widen(lanes_for(bits))
    for start, width in reversed(list(_chunks(pushed, len(stack.heads)))):
        stack.push(start, width, slice(0, len(start)))
    return stack


def lanes_for(bits: float) -> int:
    """As many lanes as take less than a thousandth of the bits, each some 38.

    >>> lanes_for(1000), lanes_for(1e6)
    (1, 15)
    """
    return max(1, min(_MOST_LANES, int(bits) // _BITS_OF_A_LANE))


def _parts(p: Distribution, z: Latents) -> tuple[Tensor, ...]:
    """Layers, or what else is coded in turn."""
    return p.parts_of(z) if isinstance(p, ChosenInTurn) else (cast(Tensor, z),)


def _in_turn(p: Distribution, choose: Callable[[int, Distribution], Tensor]) -> Latents:
    """Latents (1, B, *event) whose parts are chosen one after another, each given those before it."""
    return p.chosen_in_turn(choose) if isinstance(p, ChosenInTurn) else choose(0, p)


def note_parts(pushed: Parts, information: list[float], d: Distribution, z: Tensor, bounds: Range) -> Tensor:
    """Remember the parts of z, in the order in which they are decoded, and add −log₂ p̂(z)."""
    information[0] += _bits_at_least_possible(d, z, bounds)
    number = z[0].numpy().astype(np.int64) - bounds[0]
    for rows, table in _tables(d, tuple(number.shape), bounds):
        k = number[rows].reshape(-1, 1)
        end = np.take_along_axis(table, k, 1)[:, 0]
        start = np.where(k[:, 0] > 0, np.take_along_axis(table, np.maximum(k - 1, 0), 1)[:, 0], 0)
        pushed.append((start.astype(np.uint64), (end - start).astype(np.uint64)))
    return z


def _bits_at_least_possible(d: Distribution, z: Tensor, bounds: Range) -> float:
    """−log₂ p̂(z), from log p̃ and not from the tables."""
    if not isinstance(d, OverWholeNumbers):
        raise _no_whole_numbers(d)
    size = bounds[1] - bounds[0] + 1
    p = d.log_mass(z).double().exp() * (1 - size / PARTS) + 1 / PARTS
    return -float(p.log2().sum())


def _no_whole_numbers(d: Distribution) -> ValueError:
    return ValueError(f"{type(d).__name__} is over no whole numbers, which a file needs; fit rate-distortion.")


def _blocks(num_rows: int, size: int) -> Iterator[slice]:
    for start in range(0, num_rows, size):
        yield slice(start, min(start + size, num_rows))


def ranges_of(codes: Sequence[Sequence[Tensor]]) -> tuple[Range, ...]:
    """From one below the least to one above the greatest number of each part."""
    found = []
    for part in zip(*codes, strict=True):
        low, high = min(float(z.min()) for z in part), max(float(z.max()) for z in part)
        if not high - low < MOST_CELLS:  # or NaN
            raise ValueError(
                f"The codes run from {low:g} to {high:g}, and a file takes at most {MOST_CELLS:,} different numbers; "
                "fit with a larger weight of the rate: --objective beta-elbo:beta=BETA."
            )
        found.append((int(low) - 1, int(high) + 1))
    return tuple(found)


def _tables(d: Distribution, shape: tuple[int, ...], bounds: Range) -> Iterator[tuple[slice, np.ndarray]]:
    """Blocks of rows, each with the ends C_k of the parts of its elements (elements, K)."""
    if not isinstance(d, OverWholeNumbers):
        raise _no_whole_numbers(d)
    low, high = bounds
    size = high - low + 1
    f = np.maximum.accumulate(d.cumulative_at(low, high), -1)
    if not np.isfinite(f).all():
        raise StackError("the model gives no finite probability")
    ends = np.floor(f * (PARTS - size)).astype(np.int64) + np.arange(1, size + 1)
    ends[..., -1] = PARTS
    ends = np.broadcast_to(ends[0] if ends.ndim > len(shape) + 1 else ends, (*shape, size))  # of the one draw
    for rows in _blocks(shape[0], max(1, _TABLE // (int(np.prod(shape[1:])) * size))):
        yield rows, ends[rows].reshape(-1, size)


def pop_numbers(stack: BitStack, d: Distribution, rows: int, bounds: Range, lanes: int) -> Tensor:
    """Numbers (1, rows, *event) of one turn."""
    shape = (rows, *d.event_shape)
    number = np.zeros(shape, np.int64)
    for block, table in _tables(d, shape, bounds):
        flat = np.empty(len(table), np.int64)
        for first in range(0, len(table), lanes):
            ends = table[first : first + lanes]
            on = slice(0, len(ends))
            part = stack.peek(on).astype(np.int64)
            k = (ends <= part[:, None]).sum(1)
            end = np.take_along_axis(ends, k[:, None], 1)[:, 0]
            start = np.where(k > 0, np.take_along_axis(ends, np.maximum(k - 1, 0)[:, None], 1)[:, 0], 0)
            stack.pop(start.astype(np.uint64), (end - start).astype(np.uint64), on)
            flat[first : first + lanes] = k
        number[block] = flat.reshape(number[block].shape)
    return torch.from_numpy(number + bounds[0]).double()[None]


def _chunks(pushed: Parts, lanes: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for start, width in pushed:
        for first in range(0, len(start), lanes):
            yield start[first : first + lanes], width[first : first + lanes]
