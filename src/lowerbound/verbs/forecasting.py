"""What follows the series of a fitted model, with intervals, in the user's own units (`Fitted.forecast`).

The mathematics is `evaluate.forecasts`. Forecasts begin after the last step of a series of which anything was observed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lowerbound.data import DataError
from lowerbound.data.frame_of_series import channels_of, frame_of_series
from lowerbound.data.schema import Column, Schema
from lowerbound.data.steps_of_series import seen_until
from lowerbound.evaluate.forecasts import next_steps
from lowerbound.fitted import Fitted
from lowerbound.randomness import derive_seed
from lowerbound.spelling import check_options
from lowerbound.verbs.imputing import are_classes

__all__ = ["Forecast", "forecast", "require_series"]

_FORECAST = 22  # a stream of random numbers beside those of other modules
_KINDS = ("series", "array")
_NAMED = ("", "_median", "_lower", "_upper")


@dataclass(frozen=True, kw_only=True, eq=False)
class Forecast:
    """The next steps of series, in the units of the user's data.

    Attributes:
        mean: E[x_{t+h} | x_1, …, x_t].
        median: the middle of p(x_{t+h} | x_1, …, x_t), number by number.
        lower: the lower end of the interval.
        upper: its upper end.
        interval: the probability between them, half of the rest on each side.
        exact: whether these are those of the model itself; otherwise they are those of draws.
        begins: the number of the first of these steps in each series.
        names: of the series, as text, or None.
        starts: the time of the first step of each series, on the scale of the schema, or None.
        schema: of the fit.
    """

    mean: Float[np.ndarray, "series step channel"]
    median: Float[np.ndarray, "series step channel"]
    lower: Float[np.ndarray, "series step channel"]
    upper: Float[np.ndarray, "series step channel"]
    interval: float
    exact: bool
    begins: Int[np.ndarray, "series"]
    names: tuple[str, ...] | None
    starts: Float[np.ndarray, "series"] | None
    schema: Schema

    def table(self) -> Any:
        """A DataFrame of steps: the columns of the series and of the time, each channel with its mean, and beside it
        its median and the ends of the interval, as `NAME_median`, `NAME_lower` and `NAME_upper`.

        Raises:
            DataError: the model is of arrays, whose numbers have no names, or two columns would have one name.
        """
        series = self.schema.series
        if series is None:
            raise DataError("the model is of arrays, whose steps have no table; take mean, median, lower and upper.")
        columns = [
            Column(name=f"{channel.name}{ending}", kind="continuous")
            for channel in channels_of(series)
            for ending in _NAMED
        ]
        names = [series.column, series.time, *(column.name for column in columns)]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise DataError(f"the forecasts of one column would be named '{twice[:40]}' as another is; rename it.")
        x = np.stack([self.mean, self.median, self.lower, self.upper], -1)
        return frame_of_series(
            x.reshape(*x.shape[:2], -1),
            self.schema,
            names=self.names,
            starts=self.starts,
            offsets=self.begins,
            columns=columns,
        )


def forecast(fitted: Fitted, data: Any, steps: int, *, interval: float, num_samples: int, seed: int | None) -> Forecast:
    """The next steps of series, as `Fitted.forecast` says."""
    check_options(forecast.__name__, forecast, {"steps": steps, "interval": interval, "num_samples": num_samples})
    require_series(fitted)
    if not 0 < interval < 1:
        raise ValueError(f"interval is {interval}; expected the probability within it, such as 0.9.")
    if num_samples < 1:
        raise ValueError(f"forecast got num_samples={num_samples} and needs at least 1.")
    rows = fitted.rows(data)
    stored, levels = np.asarray(rows.x, dtype=np.float64), [0.5, 0.5 - interval / 2, 0.5 + interval / 2]
    begins = seen_until(stored)
    if not begins.all():
        row = int(np.flatnonzero(begins == 0)[0])
        name = str(row) if rows.row_names is None else f"'{rows.row_names[row][:30]}'"
        raise DataError(f"series {name} of {rows.name} has no step of which anything was observed; leave it out.")
    called = fitted.called if fitted.plan is None else f"{fitted.called} ({fitted.plan.recipe})"
    first = derive_seed(fitted.seed if seed is None else seed, _FORECAST)
    found = next_steps(
        fitted.model, _events(fitted, stored, seed), steps, levels, num_samples=num_samples, seed=first, called=called
    )
    median, lower, upper = (_in_units(fitted, part) for part in found.quantiles)
    return Forecast(
        mean=_in_units(fitted, found.mean),
        median=median,
        lower=lower,
        upper=upper,
        interval=interval,
        exact=found.exact,
        begins=begins,
        names=rows.row_names,
        starts=rows.starts,
        schema=fitted.schema,
    )


def require_series(fitted: Fitted) -> None:
    """Refuse a model whose rows are no series of numbers.

    Raises:
        ValueError: saying what it is of.
    """
    schema = fitted.schema
    if schema.kind not in _KINDS or len(schema.event_shape) != 2:
        raise ValueError(
            f"{fitted.called} is of {schema.rows_called}, which have no next step; fit series: a table of steps with "
            "series='COLUMN' (--series COLUMN), or an array (series, steps, channels)."
        )
    if any(are_classes(fitted.model.likelihood, schema.event_shape[1])):
        raise ValueError(f"{fitted.called} is of classes, which have no mean and no interval.")


def _events(fitted: Fitted, stored: Float[np.ndarray, "series step channel"], seed: int | None) -> Tensor:
    """Series as the likelihood scores them, checked where they were observed: others are NaN."""
    gap, known = np.isnan(stored), np.where(np.isnan(stored), -np.inf, stored).max((0, 1))
    x = fitted.events(np.where(gap, np.where(np.isfinite(known), known, 0.0), stored), seed)
    return torch.where(torch.from_numpy(gap), torch.nan, x)


def _in_units(fitted: Fitted, x: Tensor) -> Float[np.ndarray, "series step channel"]:
    return np.asarray(fitted.stored(fitted.finite(x.to(torch.float64))), dtype=np.float64)
