"""How the next symbol is chosen from its scores θ (K,), when a sequence is written one symbol after another.

    sample              k ~ softmax(θ): a draw from the model
    temperature=τ       k ~ softmax(θ / τ)
    nucleus=p           k ~ softmax(θ) restricted to the fewest symbols that have probability p together, renormalised
                        (Holtzman et al. 2020, arXiv:1904.09751, eq. 2)
    greedy              k = argmax θ
    beam=N              of all texts the most probable one that a search with N beginnings finds (`likelihoods.beam`)

Only `sample` draws from p(x | z); the others show what the model holds for likely. These never choose symbol 1, which
stands for every unknown word and is none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["Choice", "beam_of", "choice_of", "draw", "greedy", "known", "nucleus", "tempered"]

_UNKNOWN, _WIDEST = 1, 1000

Choice: TypeAlias = Callable[[Tensor], Tensor]
"""From scores (N, K) to symbols (N,)."""


def draw(scores: Float[Tensor, "row symbol"]) -> Tensor:
    """One symbol for each row, with its probability."""
    return torch.multinomial(torch.softmax(scores, -1), 1)[:, 0]


def greedy(scores: Float[Tensor, "row symbol"]) -> Tensor:
    """The most probable known symbol."""
    return known(scores).argmax(-1)


def tempered(temperature: float) -> Choice:
    """Draws from probabilities to the power of 1 / temperature, renormalised."""
    temperature = min(max(temperature, 1e-300), 1e300)  # beyond, its reciprocal is no float64

    def choose(scores: Tensor) -> Tensor:
        scores = known(scores)
        apart = (scores - scores.amax(-1, keepdim=True)).double()  # at most 0, so that nothing overflows to infinity
        return draw((apart / temperature).to(scores.dtype))

    return choose


def nucleus(mass: float) -> Choice:
    """Draws from the fewest symbols whose probabilities add up to `mass`."""

    def choose(scores: Tensor) -> Tensor:
        p, order = torch.softmax(known(scores), -1).sort(-1, descending=True)
        before = p.cumsum(-1) - p
        kept = torch.where(before < mass, p, 0.0)
        kept[..., 0] = p[..., 0]  # also where the mass is 0 as a float32
        return order.gather(-1, torch.multinomial(kept, 1))[:, 0]

    return choose


def known(scores: Float[Tensor, "row symbol"]) -> Tensor:
    """The scores without that of the unknown symbol."""
    return scores.index_fill(-1, torch.tensor([_UNKNOWN], device=scores.device), -torch.inf)


def choice_of(words: str) -> Choice:
    """The choice that words describe: "sample", "greedy", "temperature=0.7" or "nucleus=0.9".

    Raises:
        ValueError: other words, or a number out of range.
    """
    name, _, value = words.partition("=")
    if not value and name in ("sample", "greedy"):
        return draw if name == "sample" else greedy
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if name == "temperature" and 0 < number < float("inf"):
        return tempered(number)
    if name == "nucleus" and 0 < number <= 1:
        return nucleus(number)
    raise ValueError(
        f"decoding is {words[:40]!r}; expected sample, greedy, temperature=T with T above 0, nucleus=P with P in "
        f"(0, 1], or beam=N with N from 1 to {_WIDEST:,}."
    )


def beam_of(words: str) -> int | None:
    """N of "beam=N"; None for other words, or a number that is out of range, which `choice_of` refuses.

    >>> beam_of("beam=5"), beam_of("greedy")
    (5, None)
    """
    name, _, value = words.partition("=")
    number = int(value) if name == "beam" and value.isascii() and value.isdigit() and len(value) < 5 else 0
    return number if 1 <= number <= _WIDEST else None
