"""Series that a table of steps holds: rows (T, C) of steps and channels, each channel in its own units.

The table is read by `data.steps_of_series`, which finds the columns of series, times and channels. NaN marks a number
that was not observed. Channels are standardised one by one, where a likelihood wants that.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from lowerbound.data.checks import check_array
from lowerbound.data.contents import Contents, Given
from lowerbound.data.errors import DataError
from lowerbound.data.frame_of_series import frame_of_series
from lowerbound.data.kinds.array import Array
from lowerbound.data.kinds.kind import Preparation
from lowerbound.data.overrides import Overrides
from lowerbound.data.schema import Schema
from lowerbound.data.sparse import Array as Rows
from lowerbound.data.times_of_steps import step_in_words
from lowerbound.data.transform import Identity, Pixels, Standardize, Transform
from lowerbound.support import LikelihoodFacts

if TYPE_CHECKING:
    from lowerbound.data.dataset import Dataset

__all__ = ["Series"]

_ARRAY = Array()
_SHOWN = 8


class Series:
    """Series of steps with named channels."""

    name = "series"

    def matches(self, contents: Contents, overrides: Overrides) -> bool:
        """What `steps_of_series` has put together."""
        return contents.series is not None

    def infer(self, contents: Contents, overrides: Overrides) -> Schema:
        """The shape of a row, and the columns it came from.

        Raises:
            DataError: nobody said which column names the series.
        """
        if contents.series is None:
            raise DataError(
                f"{contents.what} is said to be series and no column of series is named; name it with series='COLUMN' "
                "(--series COLUMN), and the column of times with time= (--time), or say kind 'array' of an array."
            )
        return replace(_ARRAY.infer(contents, overrides), kind=self.name, series=contents.series)

    def rows(self, given: Given | Rows, schema: Schema, what: str) -> Rows:
        """The numbers, unchanged."""
        return _ARRAY.rows(given, schema, what)

    def transform(
        self,
        dataset: Dataset,
        facts: LikelihoodFacts,
        *,
        binarization: Preparation = "auto",
        standardize: bool | Literal["auto"] = "auto",
    ) -> Transform:
        """A mean and a standard deviation for each channel, if the likelihood standardises."""
        if binarization in ("dynamic", "threshold"):
            return Pixels(scale=None, binarization=binarization)
        wanted = facts.standardized if standardize == "auto" else standardize
        if not wanted:
            return Identity()
        x = np.asarray(dataset.x_train if dataset.train_rows is None else dataset.x_train[dataset.train_rows])
        check_array(x, "the series to standardise", missing=True)
        steps = x.reshape(-1, x.shape[-1])
        scale = np.nanstd(steps, axis=0)
        still = np.flatnonzero(~(scale > 0))
        if len(still):
            assert dataset.schema.series is not None
            name = dataset.schema.series.channels[int(still[0])]
            raise DataError(
                f"channel '{name[:40]}' has one value in the training series; leave it out by '{name}=drop'."
            )
        return Standardize(torch.from_numpy(np.nanmean(steps, axis=0)), torch.from_numpy(scale))

    def default_likelihood(self, schema: Schema) -> str:
        """A Gaussian with a scale for each number."""
        return "normal:scale=per-dimension"

    def describe(self, schema: Schema) -> list[str]:
        """Steps and channels, by name, and the columns that were left out."""
        series = schema.series
        assert series is not None
        names = ", ".join(series.channels[:_SHOWN]) + (", …" if len(series.channels) > _SHOWN else "")
        order = "rows in their order" if series.time is None else f"'{series.time}', {step_in_words(series)} apart"
        count = len(series.channels)
        lines = [
            f"Series of '{series.column}', up to {schema.event_shape[0]} steps ({order}) of "
            f"{'1 channel' if count == 1 else f'{count} channels'}: {names}."
        ]
        if schema.left_out:
            lines.append(
                f"  left out: {', '.join(f'{item.name} ({item.reason})' for item in schema.left_out[:_SHOWN])}"
            )
        return lines

    def render(self, x: np.ndarray, schema: Schema) -> Any:
        """A table of steps, its series numbered from 1."""
        return frame_of_series(x, schema)
