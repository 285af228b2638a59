"""A softmax over many symbols in two steps: frequent ones and groups of rare ones, then the symbols of a group.

    log p(k) = log p_head(k)                        k one of the first, frequent symbols
    log p(k) = log p_head(g) + log p_g(k)           k in a group g of rare ones

(Grave et al. 2017, arXiv:1609.04309, §4). The scores of a group are of rank d / 4, d / 16, … and are computed at the
symbols of that group alone, so that training costs a fraction of a softmax over all. The density is normalised by
itself: it is the same one in training and in evaluation. It is best where symbols are numbered by their frequency.
"""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar, cast

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lowerbound.on_host import on_host, to_device

__all__ = ["AdaptiveSoftmax"]

_HEAD, _MIDDLE, _SHRINK = 20, 4, 4  # a 20th of the symbols is frequent, a quarter lies before the last group


class AdaptiveSoftmax(nn.Module):
    """log p of symbols from features.

    Arguments:
        width: d, of the features.
        num_symbols: K.

    Raises:
        ValueError: fewer than three symbols, or features that are too few for a group of rare symbols.
    """

    cites: ClassVar[tuple[str, ...]] = ("grave2017efficient",)

    def __init__(self, width: int, num_symbols: int):
        super().__init__()
        cutoffs = sorted({max(2, -(-num_symbols // _HEAD)), max(2, -(-num_symbols // _MIDDLE))})
        if num_symbols < 3 or width < _SHRINK ** len(cutoffs):
            raise ValueError(
                f"An adaptive softmax got {num_symbols} symbols and features of width {width}; expected at least 3, "
                f"and {_SHRINK ** len(cutoffs)}; take the full one (softmax=full)."
            )
        self.layers = nn.AdaptiveLogSoftmaxWithLoss(
            width, num_symbols, cutoffs, div_value=float(_SHRINK), head_bias=True
        )

    def forward(self, h: Float[Tensor, "*lead width"]) -> Float[Tensor, "*lead symbol"]:
        """log p of every symbol, nats."""
        return self.layers.log_prob(h.flatten(0, -2)).unflatten(0, h.shape[:-1])

    def of(self, h: Float[Tensor, "row width"], k: Int[Tensor, "row"]) -> Float[Tensor, "row"]:
        """log p of symbol k of each row, nats, at the cost of the groups that occur.

        It is that of torch's `forward`, which asks the device where the symbols of each group are.
        """
        symbols, cutoffs = on_host(k), [0, *self.layers.cutoffs]
        of_head, of_group = k, torch.zeros_like(h[:, 0])
        for group, (low, high) in enumerate(pairwise(cutoffs)):
            rows = np.flatnonzero((low <= symbols) & (symbols < high))
            if group == 0 or not len(rows):
                continue
            at = to_device(rows, k.device)
            scores = self.layers.tail[group - 1](h.index_select(0, at))
            log_p = scores.log_softmax(1).gather(1, (k.index_select(0, at) - low)[:, None])
            of_head = of_head.index_fill(0, at, self.layers.shortlist_size + group - 1)
            of_group = of_group.index_copy(0, at, log_p[:, 0])
        return of_group + self.layers.head(h).log_softmax(1).gather(1, of_head[:, None])[:, 0]

    @torch.no_grad()
    def start_at(self, log_p: Float[Tensor, "symbol"]) -> None:
        """Set the offsets of frequent symbols and of groups to their log-frequencies."""
        first = self.layers.shortlist_size
        sizes = [b - a for a, b in zip(self.layers.cutoffs[:-1], self.layers.cutoffs[1:], strict=True)]
        groups = torch.stack([part.logsumexp(0) for part in log_p[first:].split(sizes)])
        cast(Tensor, self.layers.head.bias).copy_(torch.cat([log_p[:first], groups]))
