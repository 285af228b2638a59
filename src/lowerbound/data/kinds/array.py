"""Arrays: rows of numbers with two axes or more that are no images, such as series (N, time, channels).

NaN marks a number that was not observed, for likelihoods that take gaps; others refuse it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from lowerbound.data.blocks import exact_dtype
from lowerbound.data.checks import check_features, check_finite, check_numeric, numbers_of
from lowerbound.data.contents import Contents, Given
from lowerbound.data.errors import DataError
from lowerbound.data.kinds.kind import Preparation
from lowerbound.data.overrides import Overrides
from lowerbound.data.rows_of_columns import wide_enough
from lowerbound.data.schema import Schema
from lowerbound.data.sparse import DENSE, IN_FILES
from lowerbound.data.sparse import Array as Rows
from lowerbound.data.transform import Identity, Pixels, Standardize, Transform
from lowerbound.support import LikelihoodFacts

if TYPE_CHECKING:
    from lowerbound.data.dataset import Dataset

__all__ = ["Array"]


class Array:
    """Rows of numbers that all have the same meaning."""

    name = "array"

    def matches(self, contents: Contents, overrides: Overrides) -> bool:
        """An array with rows of at least one axis."""
        return isinstance(contents.x, DENSE) and contents.x.ndim >= 2

    def infer(self, contents: Contents, overrides: Overrides) -> Schema:
        """The shape of a row.

        Raises:
            DataError: a DataFrame, an array of one axis, or infinite values.
        """
        x = contents.x
        if not isinstance(x, DENSE) or x.ndim < 2:
            raise DataError(f"{contents.what} is no array of rows; expected numbers with two axes or more: reshape it.")
        check_numeric(x, contents.what)
        check_finite(x, contents.what, missing=True)
        shape = tuple(int(n) for n in x.shape[1:])
        return Schema(kind=self.name, event_shape=shape, container=contents.container, dtype=str(x.dtype))

    def rows(self, given: Given | Rows, schema: Schema, what: str) -> Rows:
        """The numbers, unchanged; rows on disk stay there."""
        x = numbers_of(given, what)
        check_features(x, schema.event_shape, what)
        check_finite(x, what, missing=True)
        if isinstance(x, IN_FILES):
            return x
        return np.ascontiguousarray(x, dtype=np.float32 if x.dtype == np.uint8 else exact_dtype(x.dtype))

    def transform(
        self,
        dataset: Dataset,
        facts: LikelihoodFacts,
        *,
        binarization: Preparation = "auto",
        standardize: bool | Literal["auto"] = "auto",
    ) -> Transform:
        """One mean and one standard deviation for all numbers, if the likelihood standardises."""
        if binarization in ("dynamic", "threshold"):
            return Pixels(scale=None, binarization=binarization)
        wanted = facts.standardized if standardize == "auto" else standardize
        return Standardize.fit_together(dataset.x_train, rows=dataset.train_rows) if wanted else Identity()

    def default_likelihood(self, schema: Schema) -> str:
        """A Gaussian with one scale."""
        return "normal:scale=shared"

    def describe(self, schema: Schema) -> list[str]:
        """The shape of a row."""
        return [f"Arrays of {' x '.join(str(n) for n in schema.event_shape)}."]

    def render(self, x: np.ndarray, schema: Schema) -> np.ndarray:
        """An array of the user's type."""
        x = np.asarray(x)
        if np.dtype(schema.dtype).kind in "iu":
            return np.round(x).astype(wide_enough(x.round(), schema.dtype))
        return (np.round(x) if schema.dtype == "bool" else x).astype(schema.dtype)
