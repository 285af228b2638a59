"""The words of topics and whether they belong together: normalised pointwise mutual information (Bouma 2009).

    NPMI(i, j) = log (p_ij / p_i p_j) / −log p_ij          p: the fraction of texts that hold word i, or both

It is 1 for words that are in the same texts, 0 for independent ones and −1 for words that are never together. The
coherence of a topic is its mean over the pairs of its first words (Lau, Newman & Baldwin 2014).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from lowerbound.cited import cited

__all__ = ["Topic", "describe_topics"]


@dataclass(frozen=True, kw_only=True)
class Topic:
    """A topic of a fitted model.

    Attributes:
        words: its most probable words, the first first.
        probabilities: of these words in it.
        coherence: the mean NPMI of their pairs, in [−1, 1].
    """

    words: tuple[str, ...]
    probabilities: tuple[float, ...]
    coherence: float


@cited("bouma2009normalized", "lau2014machine")
def describe_topics(
    topics: Float[Tensor, "topic word"], x: Shaped[Tensor, "text word"], names: Sequence[str], *, num_words: int = 10
) -> list[Topic]:
    """The words of each topic and their coherence in some texts.

    Arguments:
        topics: probabilities of words, a row for each topic.
        x: counts of words in texts, of which a pair of words is counted once in each.
        names: the words.
        num_words: how many of each topic.

    Raises:
        ValueError: fewer than two words, no texts, or names of another number of words.

    >>> x = torch.tensor([[1.0, 2, 0], [3, 1, 0], [0, 0, 1], [0, 0, 2]])
    >>> describe_topics(torch.tensor([[0.5, 0.4, 0.1]]), x, ["ice", "cold", "sun"], num_words=2)[0].coherence
    1.0
    """
    if not (num_words >= 2 and len(x) and x.shape[1] == topics.shape[1] == len(names)):
        raise ValueError(
            f"describe_topics got {num_words} words of each topic, {len(x)} texts and {len(names)} names of "
            f"{topics.shape[1]} words; expected at least 2, one, and a name for each word."
        )
    found = []
    for row in topics:
        value, first = row.topk(min(num_words, len(row)))
        words = tuple(str(names[i]) for i in first.tolist())
        coherence = _npmi((x[:, first] > 0).double())
        found.append(Topic(words=words, probabilities=tuple(value.tolist()), coherence=coherence))
    return found


def _npmi(held: Float[Tensor, "text word"]) -> float:
    """The mean over pairs of words."""
    together = held.mT @ held / len(held)
    i, j = torch.triu_indices(*together.shape, offset=1)
    both, alone = together[i, j], together.diag()
    value = (both / (alone[i] * alone[j])).log() / -both.log()
    value = torch.where(both == 0, -1.0, value)  # never together
    return float(torch.where(both == 1, 1.0, value).mean())  # always
