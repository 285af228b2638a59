"""Rows of symbols that end at their first 0: where each text ends, and groups of texts of similar length.

A batch of texts is computed in groups, each up to its own longest text: a batch of sentences is otherwise computed at
twice as many positions as it has tokens and more.
"""

from __future__ import annotations

from jaxtyping import Bool, Int, Shaped
from torch import Tensor

__all__ = ["END", "groups_of_length", "is_text"]

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


def groups_of_length(lengths: Int[Tensor, "row"]) -> list[tuple[Int[Tensor, "some"], int]]:
    """The rows in at most four groups from short to long, with the longest length of each, which is at least 1.

    They are one group where they are of nearly the same length.
    """
    order = lengths.argsort(stable=True)
    padded, tokens = len(order) * int(lengths.max()) if len(order) else 0, int(lengths.sum())
    size = len(order) if padded <= _LITTLE * tokens else max(_ROWS, -(-len(order) // 4))
    return [(rows, max(1, int(lengths[rows[-1]]))) for rows in order.split(size) if len(rows)]
