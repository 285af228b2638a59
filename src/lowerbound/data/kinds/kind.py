"""The interface of a kind of data: what images, tables, counts, … must provide.

A kind recognises the contents of a file, infers the meaning of its numbers (a `Schema`), stores rows under a given
schema, makes the transform from stored rows to what a likelihood scores, and renders rows in the form that the user
gave. It has no state: all that depends on the data is in the schema.

A new kind is one file here with a class that does this, exported from `kinds/__init__`, and one test; from another
package, an entry point in the group "lowerbound.kinds".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np

from lowerbound.data.contents import Contents, Given
from lowerbound.data.overrides import Overrides
from lowerbound.data.schema import Schema
from lowerbound.data.transform import Binarization, Transform
from lowerbound.support import LikelihoodFacts

if TYPE_CHECKING:
    from lowerbound.data.dataset import Dataset

from lowerbound.data.sparse import Array

__all__ = ["ComparesParts", "Kind", "LeavesOut", "Preparation"]

Preparation: TypeAlias = Literal["auto"] | Binarization
"""How intensities become 0 or 1; "auto" is dynamic for images under a likelihood of 0 and 1, none otherwise."""


@runtime_checkable
class Kind(Protocol):
    """One kind of data."""

    @property
    def name(self) -> str:
        """The name in a schema and for `--kind`."""
        ...

    def matches(self, contents: Contents, overrides: Overrides) -> bool:
        """Whether these contents are of this kind, unless the user says otherwise; kinds are asked in order."""
        ...

    def infer(self, contents: Contents, overrides: Overrides) -> Schema:
        """The schema of the contents, without the label.

        Raises:
            DataError: the contents cannot be of this kind.
        """
        ...

    def rows(self, given: Given, schema: Schema, what: str) -> Array:
        """Stored rows (N, *event_shape) of the data of a fit, or of other data, under the schema of the fit.

        Raises:
            DataError: the data do not have the columns, the shape or the values that the schema says.
        """
        ...

    def transform(
        self,
        dataset: Dataset,
        facts: LikelihoodFacts,
        *,
        binarization: Preparation = "auto",
        standardize: bool | Literal["auto"] = "auto",
    ) -> Transform:
        """From stored rows to what a likelihood with these facts scores; measured on the training rows."""
        ...

    def default_likelihood(self, schema: Schema) -> str:
        """The default likelihood, as `spelling` spells it."""
        ...

    def describe(self, schema: Schema) -> list[str]:
        """A few lines for the terminal: the schema, and what was left out."""
        ...

    def render(self, x: np.ndarray, schema: Schema) -> Given:
        """Turn stored rows (N, *event_shape), drawn or reconstructed and therefore not rounded, into the form of the
        user's data.
        """
        ...


@runtime_checkable
class LeavesOut(Protocol):
    """A kind that cannot take every record of a file, as text has empty ones and ones that are too long."""

    def usable(self, contents: Contents, schema: Schema, *, refuse: bool) -> tuple[Contents, np.ndarray | None]:
        """The contents without the records that cannot be taken, which a remark counts, and which rows these are; None
        for all of them.

        Raises:
            DataError: nothing is left, or `refuse` and something would be left out.
        """
        ...

    def notes(self, x: Array, schema: Schema, what: str) -> tuple[str, ...]:
        """Sentences about stored rows of other data, such as how many tokens are unknown."""
        ...


@runtime_checkable
class ComparesParts(Protocol):
    """A kind of which the same row in both parts is no chance."""

    def in_both(self, train: Array, test: np.ndarray, what: str) -> tuple[str, ...]:
        """A sentence if some test rows are training rows too, with their number and what to do."""
        ...
