"""Text as tokens: words between spaces, characters, byte pairs or symbols of SELFIES, and back.

A vocabulary numbers them. Number 0 is the end of a text, and fills the rest of its row; number 1 stands for every token
that the vocabulary does not hold. The others follow by their frequency in the training rows. A word that occurs there
only once is left out of the vocabulary, so that the model learns how probable an unknown word is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from lowerbound.data.byte_pairs import byte_pairs, learn_byte_pairs, text_of_byte_pairs
from lowerbound.data.errors import DataError, clipped
from lowerbound.data.schema import TextSchema, Tokens
from lowerbound.data.selfies import selfies_of, smiles_of

__all__ = [
    "END",
    "NOUNS",
    "UNKNOWN",
    "TextOptions",
    "byte_pair_vocabulary",
    "joined",
    "numbered",
    "numbering",
    "split",
    "vocabulary",
]

END, UNKNOWN = 0, 1
NOUNS = {"word": "word", "character": "character", "bpe": "byte pair", "selfies": "symbol"}
_UNKNOWN_AS = {"word": "<unk>", "character": "\ufffd", "bpe": "\ufffd", "selfies": "[nop]"}  # [nop] says nothing
_LEAST_COUNT = {"word": 2, "character": 1, "selfies": 1}
_MOST_SYMBOLS = 1_000_000


@dataclass(frozen=True, kw_only=True)
class TextOptions:
    """What a user says about text.

    Attributes:
        tokens: what it is cut into; None takes characters where most texts have no space, else words.
        longest: the most tokens of a text; longer ones are left out and counted.
        vocabulary: how many different tokens are known, the most frequent ones.
    """

    tokens: Tokens | None = None
    longest: int | None = None
    vocabulary: int | None = None


def split(text: str, tokens: Tokens, schema: TextSchema | None = None) -> Sequence[str]:
    """The tokens of a text.

    Arguments:
        text: the text.
        tokens: what it is cut into.
        schema: of byte pairs, which are learned; not looked at for others.

    >>> split("a model  of text", "word")
    ['a', 'model', 'of', 'text']
    """
    match tokens:
        case "word":
            return text.split()
        case "character":
            return text.strip()
        case "selfies":
            return selfies_of(text)
        case "bpe":
            assert schema is not None
            return byte_pairs(text, schema.symbols[UNKNOWN + 1 :], schema.merges)


def joined(tokens: Iterable[str], kind: Tokens) -> str:
    """The text of some tokens."""
    match kind:
        case "bpe":
            return text_of_byte_pairs([token for token in tokens if token != _UNKNOWN_AS[kind]])
        case "selfies":
            return smiles_of(tokens)
    return (" " if kind == "word" else "").join(tokens)


def byte_pair_vocabulary(texts: Iterable[str], size: int | None) -> TextSchema:
    """The byte pairs of training texts, for `split`.

    Raises:
        DataError: a size without room for them, or the library that finds them is not installed.
    """
    pieces, merges = learn_byte_pairs((text.strip() for text in texts), size)
    return TextSchema(tokens="bpe", symbols=("", _UNKNOWN_AS["bpe"], *pieces), merges=merges)


def vocabulary(counts: Counter[str], tokens: Tokens, size: int | None, what: str) -> tuple[str, ...]:
    """The symbols by number, from the tokens of training texts.

    Arguments:
        counts: how often each occurs.
        tokens: what these are.
        size: how many of them are known; None for all that occur often enough.
        what: the name of the texts in messages.

    Raises:
        DataError: more are asked for than there are, or none occurs often enough.
    """
    counts = Counter({token: count for token, count in counts.items() if token != _UNKNOWN_AS[tokens]})
    if size is not None and not 1 <= size <= len(counts):
        raise DataError(
            f"text got vocabulary={size} and the training part of {what} has {len(counts):,} different "
            f"{NOUNS[tokens]}s; take a number from 1 to that, or leave it out."
        )
    least = 1 if size is not None else _LEAST_COUNT[tokens]
    known = sorted((token for token, count in counts.items() if count >= least), key=lambda t: (-counts[t], t))
    if not known:
        raise DataError(
            f"no {NOUNS[tokens]} occurs twice in the training part of {what}, so there is nothing to learn; give more, "
            "or say kind='text:tokens=character'."
        )
    return ("", _UNKNOWN_AS[tokens], *known[: size or _MOST_SYMBOLS])


def numbering(schema: TextSchema) -> Callable[[str], list[int]]:
    """From a text to the numbers of its tokens."""
    numbers = {symbol: k for k, symbol in enumerate(schema.symbols) if k != END}
    return lambda text: [numbers.get(token, UNKNOWN) for token in split(text, schema.tokens, schema)]


def numbered(texts: Sequence[str], schema: TextSchema, length: int) -> np.ndarray:
    """The rows (N, length) of texts, int32: their symbols, and then the end.

    Raises:
        DataError: a text of `length` tokens or more, which has no room for its end.
    """
    rows, number = np.full((len(texts), length), END, dtype=np.int32), numbering(schema)
    for row, text in zip(rows, texts, strict=True):
        found = number(text)
        if len(found) >= length:
            raise DataError(
                f"'{clipped(text)}' has {len(found)} {NOUNS[schema.tokens]}s and the model takes {length - 1}; leave "
                "it out."
            )
        row[: len(found)] = found
    return rows
