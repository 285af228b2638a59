"""Text whose tokens are independent: what every model of text should beat.

    log p(x) = Σ_{t ≤ n} log π(x_t),        π(k) = (count of k in training + 1/K) / (count of all + 1)

The end of a text is a token; where a text is as long as the rows allow it is certain.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound.nets.texts import is_text

__all__ = ["unigram"]


def unigram(
    train: Float[Tensor, "row position"], test: Float[Tensor, "batch position"], *, seed: int = 0
) -> Float[Tensor, "batch"]:
    """log p(x) of test texts (M, T), which end at their first 0, under the frequencies of the training texts, nats.

    Arguments:
        train: rows (N, T) of symbols.
        test: rows to score.
        seed: unused; every baseline takes one.

    >>> unigram(torch.tensor([[1.0, 1, 0], [2, 0, 0]]), torch.tensor([[1.0, 0, 0]])).exp()
    tensor([0.1512])
    """
    k, scored = train.long(), test.long()
    size = int(max(k.max(), scored.max())) + 1
    counts = torch.bincount(_counted(k), minlength=size).double() + 1 / size
    log_p = (counts / counts.sum()).log()
    terms = log_p[scored] * is_text(scored)
    terms[:, -1] = 0
    return terms.sum(1).to(test.dtype)


def _counted(k: Tensor) -> Tensor:
    """The symbols of all texts with their ends."""
    return k[is_text(k)]
