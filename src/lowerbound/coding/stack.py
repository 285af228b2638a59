"""Range asymmetric numeral systems on many lanes: a stack of symbols whose size is their information.

A lane holds a number s in [2³², 2⁶⁴). A symbol that takes f of 2³⁰ equal parts, the first of them c, is pushed by

    s ← ⌊s / f⌋ 2³⁰ + c + (s mod f)                      so that log₂ s grows by log₂ (2³⁰ / f)

and popped by the inverse: c ≤ s mod 2³⁰ < c + f says which symbol it was, and s ← f ⌊s / 2³⁰⌋ + (s mod 2³⁰) − c (Duda
2009, arXiv:0902.0271). Where s would leave its range, 32 bits move to or from a list of words that all lanes share.
Lanes are rows of a batch, so that one operation on arrays codes one symbol of each row. Arithmetic is that of 64-bit
integers, which is the same on every machine.

Bits-back coding pops before anything was pushed. What is then missing is taken from a stream that both sides know
(SHAKE-256 of a fixed word); decoding ends with exactly these words, which proves that nothing was lost.
"""

from __future__ import annotations

import hashlib

import numpy as np

__all__ = ["PARTS", "BitStack", "StackError"]

PARTS = 1 << 30
"""The equal parts that the symbols of an alphabet share. The nearer to 2³², the more is lost to the rounding of
⌊s / f⌋: 0.1 to 0.3 % of the bits at 2³², 0.01 % at 2³⁰ (a few hundredths where a symbol takes nearly all parts)."""

_PART_BITS, _PART_MASK = np.uint64(30), np.uint64(PARTS - 1)
_BITS, _MASK, _LOW = np.uint64(32), np.uint64((1 << 32) - 1), np.uint64(1 << 32)
_GOLDEN, _FIRST_FACTOR = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9)
_SECOND_FACTOR = np.uint64(0x94D049BB133111EB)
_WORD, _LENGTH_BITS = "<u4", 5
_FIRST = b"lowerbound: what a file starts from"


class StackError(ValueError):
    """The content of a stack is no such content, or has come to its end."""


class BitStack:
    """The numbers of all lanes and the words that they share.

    Arguments:
        lends: whether words that are missing are taken from the known stream.

    Attributes:
        heads: s of each lane.
        lent: words that were taken from the known stream.
        symbol_bits: Σ log₂ (2³⁰ / f) of what was pushed, less that of what was popped if it lends, as while encoding.
            `num_bits` is this up to the rounding of ⌊s / f⌋, which is some 0.06 bits for a symbol, of either sign.
    """

    def __init__(self, *, lends: bool):
        self.heads = np.empty(0, np.uint64)
        self._words, self._count = np.empty(1024, np.uint32), 0
        self._lends, self.lent, self._start_bits = lends, 0, 0.0
        self.symbol_bits = 0.0

    @property
    def num_bits(self) -> float:
        """Bits that were pushed and not popped: the size beyond what was lent and what lanes started from."""
        return 32.0 * (self._count - self.lent) + _information(self.heads) - self._start_bits

    def widen(self, lanes: int) -> None:
        """Make so many lanes; each further one starts from a word of the stack."""
        missing = lanes - len(self.heads)
        if missing > 0:
            further = self._take(missing).astype(np.uint64) | _LOW
            self._start_bits += _information(further) - 32.0 * missing
            self.heads = np.concatenate([self.heads, further])

    def narrow(self, lanes: int) -> None:
        """Undo `widen`.

        Raises:
            StackError: the further lanes are not where they started.
        """
        further = self.heads[lanes:]
        if (further >> _BITS != 1).any():
            raise StackError("a lane does not end where it started")
        self._put((further & _MASK).astype(np.uint32))
        self.heads = self.heads[:lanes]

    def push(self, start: np.ndarray, width: np.ndarray, lanes: np.ndarray | slice) -> None:
        """Push a symbol on each of some lanes: parts start, …, start + width − 1, width in [1, 2³⁰], uint64."""
        head = self.heads[lanes]
        full = head >> np.uint64(64 - 30) >= width
        if full.any():
            self._put((head[full] & _MASK).astype(np.uint32))
            head = np.where(full, head >> _BITS, head)
        self.symbol_bits += _symbol_bits(width)
        whole, rest = np.divmod(head, width)
        self.heads[lanes] = (whole << _PART_BITS) + rest + start

    def stir(self, lanes: np.ndarray | slice) -> None:
        """Change s mod 2³⁰ on each of some lanes by a hash of ⌊s / 2³⁰⌋ and of the lane; twice undoes it.

        A symbol that is popped under another distribution than that of the last push would depend on what was pushed,
        for s mod 2³⁰ is a part that this took. Stirred, it is like a draw.
        """
        head = self.heads[lanes]
        which = np.arange(len(self.heads), dtype=np.uint64)[lanes]
        self.heads[lanes] = head ^ (_hashed((head >> _PART_BITS) ^ (which << np.uint64(40))) & _PART_MASK)

    def peek(self, lanes: np.ndarray | slice) -> np.ndarray:
        """A part of the symbol that is on top of each of some lanes."""
        return self.heads[lanes] & _PART_MASK

    def pop(self, start: np.ndarray, width: np.ndarray, lanes: np.ndarray | slice) -> None:
        """Remove the symbols that were pushed with these parts.

        Raises:
            StackError: the stack is empty and lends nothing.
        """
        if self._lends:
            self.symbol_bits -= _symbol_bits(width)
        head = self.heads[lanes]
        head = width * (head >> _PART_BITS) + (head & _PART_MASK) - start
        short = head < _LOW
        count = int(np.count_nonzero(short))
        if count:
            head[short] = head[short] << _BITS | self._take(count).astype(np.uint64)
        self.heads[lanes] = head

    def to_bytes(self) -> bytes:
        """The words, then the heads, each in as many bits as it has, with 5 bits for their number."""
        packed, length = 0, 0
        for head in map(int, self.heads):
            size = head.bit_length() - 33
            packed = (packed << (size + 32) | head - (1 << size + 32)) << _LENGTH_BITS | size
            length += size + 32 + _LENGTH_BITS
        return self._words[: self._count].astype(_WORD).tobytes() + packed.to_bytes(-(-length // 8), "big")

    @classmethod
    def from_bytes(cls, content: bytes, words: int, lanes: int) -> BitStack:
        """Read what `to_bytes` gave.

        Raises:
            StackError: the content has not the stated number of words and lanes.
        """
        if len(content) < 4 * words:
            raise StackError("it is cut off")
        stack, packed, heads = cls(lends=False), int.from_bytes(content[4 * words :], "big"), []
        for _ in range(lanes):
            size, packed = packed & 31, packed >> _LENGTH_BITS
            heads.append((1 << size + 32) | packed & ((1 << size + 32) - 1))
            packed >>= size + 32
        stack.heads = np.array(heads[::-1], np.uint64)
        stack._put(np.frombuffer(content, _WORD, words))
        if stack.to_bytes() != content:
            raise StackError("it is no stack of so many lanes")
        return stack

    @property
    def num_words(self) -> int:
        """How many words there are besides the lanes."""
        return self._count

    def is_what_was_lent(self, lent: int) -> bool:
        """Whether nothing is left but the first words of the known stream."""
        return (
            not len(self.heads)
            and lent == self._count
            and np.array_equal(self._words[: self._count], _known(lent)[::-1])
        )

    def _put(self, words: np.ndarray) -> None:
        end = self._count + len(words)
        if end > len(self._words):
            self._words = np.concatenate([self._words, np.empty(max(end, len(self._words)), np.uint32)])
        self._words[self._count : end] = words
        self._count = end

    def _take(self, count: int) -> np.ndarray:
        missing = count - self._count
        if missing > 0:
            if not self._lends:
                raise StackError("it ends too early")
            new = _known(self.lent + missing)[self.lent :][::-1]
            words = np.concatenate([new, self._words[: self._count]])
            self.lent, self._count = self.lent + missing, 0
            return words
        self._count -= count
        return self._words[self._count : self._count + count].copy()


def _hashed(x: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64 (Steele, Lea & Flood 2014, figure 12), on each of some numbers, uint64."""
    x = x + _GOLDEN
    x = (x ^ x >> np.uint64(30)) * _FIRST_FACTOR
    x = (x ^ x >> np.uint64(27)) * _SECOND_FACTOR
    return x ^ x >> np.uint64(31)


def _symbol_bits(width: np.ndarray) -> float:
    """Σ log₂ (2³⁰ / f)."""
    return 30.0 * len(width) - float(np.log2(width.astype(np.float64)).sum())


def _information(heads: np.ndarray) -> float:
    """Σ log₂ s, bits."""
    return float(np.log2(heads.astype(np.float64)).sum())


def _known(count: int) -> np.ndarray:
    """The first words of the stream that both sides know."""
    return np.frombuffer(hashlib.shake_256(_FIRST).digest(4 * count), _WORD)
