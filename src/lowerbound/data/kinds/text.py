"""Text: records of words or characters, of any length up to a limit.

A row is the numbers of its tokens and then the end, whose number 0 fills the rest of the row (`data.tokens`). The limit
is the longest record (of byte pairs twice that, as rare words of other records take more of them), or 200 words or
symbols, or 500 characters or byte pairs, if that is longer. Records beyond it and empty ones are left out,
counted and said; none is cut.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from itertools import compress, islice
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from lowerbound.data.blocks import row_blocks
from lowerbound.data.contents import Contents, Given
from lowerbound.data.errors import DataError
from lowerbound.data.kinds.kind import Preparation
from lowerbound.data.kinds.strings import (
    are_texts,
    as_they_came,
    column_of_strings,
    keep_rows,
    left_out,
    other_columns,
    rows_of_symbols,
    strings_of,
    training_rows,
    untransformed,
)
from lowerbound.data.lines import Lines
from lowerbound.data.on_disk import OnDisk
from lowerbound.data.overrides import Overrides
from lowerbound.data.schema import Schema, TextSchema, Tokens
from lowerbound.data.sparse import Array
from lowerbound.data.token_files import token_files
from lowerbound.data.tokens import (
    END,
    NOUNS,
    UNKNOWN,
    byte_pair_vocabulary,
    joined,
    numbered,
    numbering,
    split,
    vocabulary,
)
from lowerbound.data.transform import Transform
from lowerbound.support import LikelihoodFacts

if TYPE_CHECKING:
    from lowerbound.data.dataset import Dataset

__all__ = ["Text"]

_MOST_TOKENS = {"word": 200, "character": 500, "bpe": 500, "selfies": 200}
_LOOKED_AT = 100


class Text:
    """Sentences, or other short records of text."""

    name = "text"

    def matches(self, contents: Contents, overrides: Overrides) -> bool:
        """Strings, or a table one of whose columns is said to be text."""
        return are_texts(contents.x) or "text" in overrides.columns.values()

    def infer(self, contents: Contents, overrides: Overrides) -> Schema:
        """Tokens, the longest record and the vocabulary of the training part.

        Raises:
            DataError: no text, no column of text, or limits that leave nothing.
        """
        column = None if are_texts(contents.x) else column_of_strings(contents.x, overrides, contents.what, "text")
        texts, asked = _texts(contents.x, column, contents.what), overrides.text
        if overrides.kind is None and contents.container == "txt" and _are_numbers(islice(texts, _LOOKED_AT)):
            raise DataError(f"{contents.what} holds numbers in columns; save it as .csv, or say kind='text'.")
        tokens = asked.tokens or _tokens_of(texts)
        made = None
        if tokens == "bpe":  # learned before it is known which texts are too long
            filled = np.fromiter((bool(one.strip()) for one in texts), bool, len(texts))
            made = byte_pair_vocabulary(compress(texts, training_rows(filled, contents)), asked.vocabulary)
        lengths = np.fromiter((len(split(text, tokens, made)) for text in texts), np.int32, len(texts))
        room = int(lengths.max(initial=0)) * (2 if tokens == "bpe" else 1)
        longest = asked.longest or min(room, _MOST_TOKENS[tokens])
        kept = (lengths > 0) & (lengths <= longest)
        if kept.sum() < 2:
            raise DataError(
                f"{contents.what} has {kept.sum()} usable text{'s' * int(kept.sum() != 1)} (of 1 to {longest} "
                f"{NOUNS[tokens]}s); a model is fitted to at least two: give more."
            )
        training = training_rows(kept, contents)
        counts = Counter(token for text in compress(texts, training) for token in split(text, tokens, made))
        symbols = vocabulary(counts, tokens, asked.vocabulary, contents.what) if made is None else made.symbols
        known = set(symbols[2:])
        return Schema(
            kind=self.name,
            event_shape=(longest + 1,),
            container=contents.container,
            dtype="str",
            left_out=other_columns(contents, column, "not the text"),
            text=TextSchema(
                tokens=tokens,
                symbols=symbols,
                column=column,
                num_tokens=counts.total(),
                num_unknown=sum(count for token, count in counts.items() if token not in known),
                merges=() if made is None else made.merges,
            ),
        )

    def rows(self, given: Given, schema: Schema, what: str) -> Array:
        """The numbers of the tokens (N, longest + 1), int32. Rows of numbers are taken as they are, also on disk.

        Raises:
            DataError: no text, no such column, a text that is too long, or numbers that are none of the vocabulary.
        """
        text = _text_of(schema)
        rows = rows_of_symbols(given, schema, len(text.symbols), what, "text")
        if rows is not None:
            return rows
        return numbered(strings_of(given, text.column, what, "text"), text, schema.event_shape[0])

    def transform(
        self,
        dataset: Dataset,
        facts: LikelihoodFacts,
        *,
        binarization: Preparation = "auto",
        standardize: bool | Literal["auto"] = "auto",
    ) -> Transform:
        """The numbers of tokens as they are.

        Raises:
            DataError: a likelihood of something else, to which the numbers of tokens mean nothing.
        """
        return untransformed(facts, dataset.name, "is text", "sentence-vae")

    def default_likelihood(self, schema: Schema) -> str:
        """Tokens of that vocabulary."""
        return f"tokens:num_symbols={len(_text_of(schema).symbols)}"

    def describe(self, schema: Schema) -> list[str]:
        """The tokens, the limit and the vocabulary; the share of unknown tokens."""
        text = _text_of(schema)
        share = text.num_unknown / max(1, text.num_tokens)
        noun = NOUNS[text.tokens]
        lines = [
            f"Text of at most {schema.event_shape[0] - 1} {noun}s; {len(text.symbols) - 2:,} are known.",
            f"  Of the {text.num_tokens:,} {noun}s to train on, {share:.1%} are unknown ({text.symbols[1]}).",
        ]
        if schema.left_out:
            lines.append(f"  left out: {', '.join(item.name for item in schema.left_out[:8])} (not the text)")
        return lines

    def render(self, x: np.ndarray, schema: Schema) -> Any:
        """The text of each row, up to its end: a list, or a DataFrame where the text was a column of a table."""
        text = _text_of(schema)
        x = np.asarray(x).astype(np.int64)
        lengths = np.where((x == END).any(1), (x == END).argmax(1), x.shape[1])
        found = [
            joined((text.symbols[k] for k in row[:n]), text.tokens) for row, n in zip(x.tolist(), lengths, strict=True)
        ]
        return as_they_came(found, text.column, schema.container)

    def usable(self, contents: Contents, schema: Schema, *, refuse: bool) -> tuple[Contents, np.ndarray | None]:
        """The contents without empty texts and those beyond the limit, and which of the rows these are.

        Arguments:
            contents: as a reader found them.
            schema: of text; of rows of numbers nothing is left out.
            refuse: whether to refuse them instead, where results have to be as many as the rows given.

        Returns:
            The contents, with a remark that counts what was left out; the rows that are left, or None for all.

        Raises:
            DataError: nothing is left, or `refuse` and something would be left out.
        """
        x: Any = contents.x
        text = _text_of(schema)
        if isinstance(x, np.ndarray | OnDisk) and x.dtype.kind in "biuf":
            return contents, None
        if isinstance(x, Lines):
            return _on_disk(contents, x, schema)
        texts = strings_of(x, text.column, contents.what, "text")
        lengths = np.array([len(split(one, text.tokens, text)) for one in texts])
        empty, long = lengths == 0, lengths > schema.event_shape[0] - 1
        said = _left_out(int(empty.sum()), int(long.sum()), len(lengths), schema, contents.what)
        return keep_rows(contents, texts, empty | long, said, "taken", refuse=refuse)

    def notes(self, x: Array, schema: Schema, what: str) -> tuple[str, ...]:
        """A note that counts the tokens of rows (N, T) that the vocabulary does not hold, if there are any."""
        unknown = known = 0
        for _, block in row_blocks(x):
            unknown, known = unknown + int((block == UNKNOWN).sum()), known + int((block != END).sum())
        if not unknown:
            return ()
        return (f"{unknown:,} of the {known:,} {NOUNS[_text_of(schema).tokens]}s of {what} are unknown to the model.",)


def _texts(given: Any, column: str | None, what: str) -> list[str] | Lines:
    """The texts, which are gone through more than once."""
    return given if isinstance(given, Lines) else strings_of(given, column, what, "text")


def _on_disk(contents: Contents, lines: Lines, schema: Schema) -> tuple[Contents, np.ndarray | None]:
    """The contents with rows that stay on disk, of the texts that can be taken, and which these are."""
    text = _text_of(schema)
    found = token_files(lines, text, schema.event_shape[0], numbering(text))
    remarks = contents.remarks
    if found.used is not None:
        said = _left_out(found.empty, found.long, found.lines, schema, contents.what)
        remarks = (*remarks, left_out(said, np.setdiff1d(np.arange(found.lines), found.used, assume_unique=True)))
    rows: Any = found.rows
    return replace(contents, x=rows, remarks=remarks), found.used


def _left_out(empty: int, long: int, total: int, schema: Schema, what: str) -> str:
    """How many texts are left out, and why."""
    text = _text_of(schema)
    nothing = "no molecules" if text.tokens == "selfies" else "empty"
    reasons = ((empty, nothing), (long, f"beyond {schema.event_shape[0] - 1} {NOUNS[text.tokens]}s"))
    return f"{' and '.join(f'{n:,} {word}' for n, word in reasons if n)} of the {total:,} texts of {what}"


def _text_of(schema: Schema) -> TextSchema:
    assert schema.text is not None
    return schema.text


def _are_numbers(texts: Iterable[str]) -> bool:
    """Whether every word is a number."""
    try:
        return all(math.isfinite(float(word)) for text in texts for word in text.split())
    except ValueError:
        return False


def _tokens_of(texts: list[str] | Lines) -> Tokens:
    """Characters if most texts have no space inside, as formulas and names; else words."""
    with_space = sum(len(text.split(None, 1)) > 1 for text in texts)
    return "word" if 2 * with_space >= len(texts) else "character"
