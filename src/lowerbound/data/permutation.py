"""Random permutations of N rows that are never held in memory as a whole.

Up to `KEYED_ABOVE` rows a permutation is drawn by `torch.randperm` and kept: 8 MiB at most. Above, it is computed where
it is asked for, by a keyed bijection of 0 … N − 1. Let 2^b be the smallest power of two that is N or more, and let a
number of b bits be the pair (l, r) of its upper ⌊b/2⌋ and lower ⌈b/2⌉ bits. Each round replaces one half,

    l ← l ⊕ F(r; k_i)    for even i,        r ← r ⊕ F(l; k_i)    for odd i,

and can be undone whatever F is, so that all rounds together are a bijection of 0 … 2^b − 1 (Feistel 1973; Luby and
Rackoff 1988, SIAM J. Comput. 17(2)). A result of N or more goes through the network again until it is below N ("cycle
walking", Black and Rogaway 2002, CT-RSA, section 5), which is a bijection of 0 … N − 1 and takes less than two passes
on average, because 2^b < 2 N. F is the upper bits of the 64-bit mixer of SplitMix64 (Steele, Lea and Flood 2014).
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

__all__ = ["KEYED_ABOVE", "Permutation", "keyed_bijection"]

KEYED_ABOVE = 2**20
_ROUNDS = 8
_CHUNK = 2**14  # positions computed at once: a call for a single batch costs as much as one for thousands


class Permutation:
    """π of 0 … N − 1, a part at a time.

    >>> sorted(Permutation(4, (0, 0)).part(0, 4).tolist())
    [0, 1, 2, 3]

    Arguments:
        size: N.
        seeds: whole numbers that `numpy.random.SeedSequence` mixes into the key.
        place: tells permutations of equal seeds apart.
        keyed_above: the largest N that is kept in memory.
    """

    def __init__(
        self, size: int, seeds: tuple[int, ...], place: tuple[int, ...] = (), *, keyed_above: int = KEYED_ABOVE
    ):
        self.size = size
        sequence = np.random.SeedSequence(seeds, spawn_key=place)
        self._whole = None if size > keyed_above else _drawn(size, sequence)
        self._keys = sequence.generate_state(_ROUNDS, np.uint64)
        self._chunks: dict[int, Tensor] = {}

    def part(self, start: int, stop: int) -> Int64[Tensor, " row"]:
        """π(start), …, π(stop − 1)."""
        if self._whole is not None:
            return self._whole[start:stop]
        numbers = range(start // _CHUNK, -(-stop // _CHUNK))
        parts = [self._chunk(i)[max(0, start - i * _CHUNK) : stop - i * _CHUNK] for i in numbers]
        return torch.cat(parts) if parts else torch.empty(0, dtype=torch.int64)

    def _chunk(self, number: int) -> Tensor:
        """A run of positions; the one used last is kept."""
        if number not in self._chunks:
            positions = np.arange(number * _CHUNK, min((number + 1) * _CHUNK, self.size))
            self._chunks = {number: torch.from_numpy(keyed_bijection(positions, self.size, self._keys))}
        return self._chunks[number]


def keyed_bijection(positions: np.ndarray, size: int, keys: np.ndarray) -> np.ndarray:
    """Where a bijection of 0 … N − 1 takes some positions.

    Arguments:
        positions: int64 (B,), each from 0 to N − 1.
        size: N, at most 2⁶².
        keys: uint64, one for each round.

    Returns:
        int64 (B,).
    """
    bits = max(2, (size - 1).bit_length())
    found = _network(positions.astype(np.uint64), bits, keys)
    beyond = np.flatnonzero(found >= size)
    while len(beyond):
        found[beyond] = _network(found[beyond], bits, keys)
        beyond = beyond[found[beyond] >= size]
    return found.astype(np.int64)


def _network(x: np.ndarray, bits: int, keys: np.ndarray) -> np.ndarray:
    """All rounds, on numbers of so many bits."""
    upper, lower = bits // 2, bits - bits // 2
    left, right = x >> np.uint64(lower), x & np.uint64(2**lower - 1)
    for i, key in enumerate(keys):
        if i % 2 == 0:
            left = left ^ _mixed(right, key, upper)
        else:
            right = right ^ _mixed(left, key, lower)
    return (left << np.uint64(lower)) | right


def _mixed(x: np.ndarray, key: np.uint64, bits: int) -> np.ndarray:
    """F(x; k): the upper bits of SplitMix64's mixer; products are modulo 2⁶⁴."""
    x = x + key
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (x ^ (x >> np.uint64(31))) >> np.uint64(64 - bits)


def _drawn(size: int, sequence: np.random.SeedSequence) -> Tensor:
    generator = torch.Generator().manual_seed(int(sequence.generate_state(1, np.uint32)[0]))
    return torch.randperm(size, generator=generator)
