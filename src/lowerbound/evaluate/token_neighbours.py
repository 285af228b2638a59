"""Which tokens a net of text holds for alike: those whose embeddings point the same way.

    cos(E_i, E_j) = E_i · E_j / |E_i| |E_j|

Where the embedding is the output layer too (`nets.TokenNet`), tokens that lie close are read alike and written in the
same places.
"""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

__all__ = ["nearest_tokens"]


def nearest_tokens(
    embedding: Float[Tensor, "token width"], of: Sequence[int], *, num_nearest: int = 5, first: int = 0
) -> list[list[int]]:
    """The numbers of the nearest tokens by the cosine, the nearest first.

    Arguments:
        embedding: a vector for each token.
        of: the numbers of the tokens whose neighbours are looked for.
        num_nearest: how many, or as many as there are.
        first: the number of the first token that may be found; those before it stand for no word.

    Raises:
        ValueError: fewer than one, or a number that is no token.

    >>> import torch
    >>> nearest_tokens(torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 1.0], [-1.0, 0.0]]), [0], num_nearest=2)
    [[2, 1]]
    """
    wrong = [k for k in of if not 0 <= k < len(embedding)]
    if num_nearest < 1 or wrong:
        raise ValueError(
            f"nearest_tokens got num_nearest={num_nearest} and the tokens {list(of)[:8]}; expected 1 or more, and "
            f"numbers from 0 to {len(embedding) - 1}."
        )
    unit = normalize(embedding.detach().double(), dim=-1)
    found = []
    for k in of:
        alike = unit[first:] @ unit[k]
        order = (alike.argsort(descending=True, stable=True) + first).tolist()
        found.append([j for j in order if j != k][:num_nearest])
    return found
