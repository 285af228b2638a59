"""Rows of symbols that end at their first 0: where each text ends, and groups of texts of similar length.

A batch of texts is computed in groups, each up to its own longest text: a batch of sentences is otherwise computed at
twice as many positions as it has tokens and more. Groups are made on the host, of what it knows of the rows
(`lowerbound.on_host`).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from lowerbound.on_host import on_host

__all__ = ["END", "groups_of_length", "is_text", "lengths_of", "symbols_on_host"]

END = 0
_ROWS = 16  # of a group at least; smaller ones cost more in calls than they save
_LITTLE = 1.1  # positions for each token that are not worth a group


def is_text(k: Shaped[Tensor, "row position"]) -> Bool[Tensor, "row position"]:
    """True at the tokens of each text and at its end, False after it.

    >>> import torch
    >>> is_text(torch.tensor([[3, 2, 0, 0], [1, 2, 3, 4]])).long()
    tensor([[1, 1, 1, 0],
            [1, 1, 1, 1]])
    """
    ended = (k == END).long()
    return (ended.cumsum(1) - ended) == 0


def symbols_on_host(x: Float[Tensor, "..."] | Int[Tensor, "..."]) -> Int[np.ndarray, "row position"]:
    """The symbols of texts (..., T) as whole numbers, with all leading axes in one."""
    rows = on_host(x)
    with np.errstate(invalid="ignore"):  # NaN is no symbol
        return rows.reshape(-1, rows.shape[-1]).astype(np.int64, copy=False)


def lengths_of(k: Int[np.ndarray, "row position"]) -> Int[np.ndarray, "row"]:
    """How many tokens each text has, with its end.

    >>> lengths_of(np.array([[3, 2, 0, 0], [1, 2, 3, 4]])).tolist()
    [3, 4]
    """
    ended = k == END
    return np.where(ended.any(1), ended.argmax(1) + 1, k.shape[1])


def groups_of_length(lengths: Int[np.ndarray, "row"]) -> list[tuple[Int[np.ndarray, "some"], int]]:
    """The rows in at most four groups from short to long, with the longest length of each, which is at least 1.

    They are one group where they are of nearly the same length.
    """
    order = lengths.argsort(kind="stable")
    padded, tokens = len(order) * int(lengths.max(initial=0)), int(lengths.sum())
    size = len(order) if padded <= _LITTLE * tokens else max(_ROWS, -(-len(order) // 4))
    groups = [order[first : first + size] for first in range(0, len(order), max(1, size))]
    return [(rows, max(1, int(lengths[rows[-1]]))) for rows in groups]
