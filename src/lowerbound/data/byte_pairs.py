"""Byte pairs: pieces of words, learned from training texts, so that rare words are written and none is unknown.

The 256 bytes are tokens. Then, again and again, the pair of neighbouring tokens that is most frequent in the training
texts becomes a token of its own (Sennrich, Haddow & Birch 2016, arXiv:1508.07909, §3.2; on bytes as in GPT-2). No pair
goes beyond the end of a word. A piece is written in the letters that GPT-2 has for bytes, "Ġ" for a space.

The library `tokenizers` finds the pairs and cuts texts by them; it is imported here and nowhere else.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from typing import Any

from lowerbound.data.errors import DataError

__all__ = ["byte_pairs", "learn_byte_pairs", "text_of_byte_pairs"]

_NUM_BYTES, _SIZE, _LEAST_COUNT = 256, 2048, 2


@cache
def _library() -> Any:
    """The module `tokenizers`.

    Raises:
        DataError: it is not installed.
    """
    try:
        import tokenizers  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError:
        raise DataError(
            "byte pairs are found by the library tokenizers, which is not installed; run pip install "
            "'lowerbound[text]', or take tokens=word or character."
        ) from None
    return tokenizers


def learn_byte_pairs(texts: Iterable[str], size: int | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The pieces, bytes first, and the pairs that were joined, in their order, each as "LEFT RIGHT".

    Arguments:
        texts: to learn from.
        size: how many pieces, with the bytes; None for 2,048, or fewer if no further pair occurs twice.

    Raises:
        DataError: no room for a pair, or the library is not installed.
    """
    library = _library()
    if size is not None and size <= _NUM_BYTES:
        raise DataError(
            f"text got vocabulary={size} and the {_NUM_BYTES} bytes are known to byte pairs already; take a larger "
            "number, or leave it out."
        )
    made = library.Tokenizer(library.models.BPE())
    made.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = library.trainers.BpeTrainer(
        vocab_size=size or _SIZE,
        min_frequency=_LEAST_COUNT,
        initial_alphabet=library.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(texts, trainer)
    model = json.loads(made.to_str())["model"]
    return tuple(sorted(model["vocab"], key=model["vocab"].__getitem__)), tuple(" ".join(p) for p in model["merges"])


def byte_pairs(text: str, pieces: tuple[str, ...], merges: tuple[str, ...]) -> list[str]:
    """The pieces of a text, from those that `learn_byte_pairs` gave."""
    return _made(pieces, merges).encode(text.strip()).tokens


def text_of_byte_pairs(pieces: Sequence[str]) -> str:
    """The text of some pieces; bytes that are no text become U+FFFD."""
    return _library().decoders.ByteLevel().decode(list(pieces))


@lru_cache(maxsize=4)
def _made(pieces: tuple[str, ...], merges: tuple[str, ...]) -> Any:
    library = _library()
    pairs = [tuple(pair.split(" ")) for pair in merges]
    try:
        made = library.Tokenizer(library.models.BPE(vocab={piece: k for k, piece in enumerate(pieces)}, merges=pairs))
    except Exception as error:  # the library raises no class of its own
        raise DataError(f"the byte pairs of the model do not fit together ({error}); run.json was altered.") from None
    made.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    return made
