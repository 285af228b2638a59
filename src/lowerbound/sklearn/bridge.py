"""What the estimators share: the conversion between scikit-learn's arrays and a `Fitted`.

Arrays and frames of numbers pass scikit-learn's own checks, so that its messages and attributes are the usual ones.
Frames with text, categories or dates are read by the schema of the data, by the names of their columns. In both, NaN is
a gap, which the likelihood marginalises or refuses.
"""

from __future__ import annotations

import copy
import math
import operator
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor, nn

from lowerbound import one_call
from lowerbound.data import Dataset, Overrides
from lowerbound.data.foreign_tables import in_pandas
from lowerbound.data.given import dataset_of, texts_of
from lowerbound.data.plain import plain
from lowerbound.fitted import Fitted
from lowerbound.models.recipe import Recipe
from lowerbound.shown import shown
from lowerbound.sklearn.axes import check_two_axes
from lowerbound.training.engine import Device
from lowerbound.training.record import Record

__all__ = [
    "DTYPES",
    "as_given",
    "decode_means",
    "dtype_of",
    "fit_dataset",
    "means",
    "seed_of",
    "to_dataset",
    "validated",
    "whole",
]

DTYPES: Any = [np.float64, np.float32]
_BLOCK = 1024


def seed_of(random_state: int | np.random.RandomState | None) -> int:
    """The int itself; otherwise a number drawn from the generator."""
    if isinstance(random_state, int | np.integer):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31 - 1))


def whole(name: str, value: Any) -> int:
    """A count as an int: searches over parameters also give NumPy's integers.

    Raises:
        ValueError: it is not a whole number.
    """
    try:
        return operator.index(value)
    except TypeError:
        raise ValueError(f"{name} is {value!r}; expected a whole number: give an int.") from None


def to_dataset(
    estimator: Any,
    X: Any,
    y: Any = None,
    *,
    event_shape: Sequence[int] | None = None,
    kind: str | None = None,
    columns: Mapping[Any, str] | None = None,
    series: str | None = None,
    time: str | None = None,
) -> tuple[Dataset, Any]:
    """All rows of a fit, or the series of which a frame holds the steps, as a data set, and the type of the results.

    Raises:
        ValueError: what scikit-learn or the schema refuses.
    """
    X, said = in_pandas(X), Overrides.said(kind, columns, series=series, time=time)
    if series is not None:
        _check_steps(X, series)
        estimator.n_features_in_, estimator.feature_names_in_ = X.shape[1], np.asarray(X.columns, dtype=object)
        return dataset_of(X, y, overrides=said, hold_out=False), np.dtype(np.float64)
    if texts_of(X) is not None:
        estimator.n_features_in_ = 1
        return dataset_of(X, y, overrides=said, hold_out=False), np.dtype(np.float64)
    if _has_text(X):
        estimator.n_features_in_, estimator.feature_names_in_ = X.shape[1], np.asarray(X.columns, dtype=object)
        return dataset_of(X, y, overrides=said, hold_out=False), np.dtype(np.float64)
    check_two_axes(X := plain(X))
    checked: Any = validate_data(
        estimator, X, dtype=DTYPES, reset=True, ensure_min_samples=2, ensure_all_finite="allow-nan"
    )
    names = getattr(estimator, "feature_names_in_", None)
    rows = checked if event_shape is None else _shaped(checked, tuple(event_shape))
    names = None if names is None else tuple(str(name) for name in names)
    return dataset_of(rows, y, overrides=said, names_of_columns=names, hold_out=False), checked.dtype


def validated(estimator: Any, X: Any, event_shape: Sequence[int] | None = None) -> Any:
    """Other rows, in the form that `Fitted` takes.

    Raises:
        NotFittedError: before `fit`.
        ValueError: what scikit-learn refuses.
    """
    check_is_fitted(estimator)
    X = in_pandas(X)
    if estimator.fitted_.schema.series is not None:
        _check_steps(X, estimator.fitted_.schema.series.column)
        return X
    if texts_of(X) is not None or _has_text(X) or (estimator.fitted_.schema.has_names and hasattr(X, "columns")):
        return X
    check_two_axes(X := plain(X))
    checked: Any = validate_data(estimator, X, dtype=DTYPES, reset=False, ensure_all_finite="allow-nan")
    return checked if event_shape is None else _shaped(checked, tuple(event_shape))


def dtype_of(X: Any) -> Any:
    """The type of results about X: float32 for float32, else float64."""
    return np.float32 if getattr(X, "dtype", None) == np.float32 else np.float64


def fit_dataset(
    dataset: Dataset, given: Mapping[str, Any], *, recipe: str | Recipe, seed: int, device: Device, verbose: bool
) -> tuple[Fitted, list[Record]]:
    """Plan, prepare and fit, like the command; given modules are copied, because training changes them."""
    records: list[Record] = []

    def note(record: Record) -> None:
        records.append(record)
        if verbose:
            print(_line(record))

    own: dict[str, Any] = {
        name: copy.deepcopy(value) if isinstance(value, nn.Module) else value for name, value in given.items()
    }
    fitted = one_call.fit_dataset(dataset, recipe, on_record=note, seed=seed, device=device, **own)
    return fitted, records


@torch.no_grad()
def decode_means(fitted: Fitted, latents: np.ndarray) -> Tensor:
    """E[x | z] at latents (N, latent), or what is shown in its place, as the likelihood scores x."""
    z = torch.from_numpy(latents).unflatten(1, fitted.model.prior(None).event_shape)
    return torch.cat([shown(fitted.model.decode(part)).values for part in z.split(_BLOCK)])


def as_given(fitted: Fitted, x: Tensor, dtype: Any) -> Any:
    """Turn draws of what the likelihood scores into the form of the user's X: (N, n_features_in_); a frame if X had
    text.
    """
    return _flat(fitted.render(x), dtype)


def means(fitted: Fitted, x: Tensor, dtype: Any, like: Any = None) -> Any:
    """Turn means of what the likelihood scores into the units of the user's X, without rounding.

    If X had text or categories, the results are the nearest values that X can have. Of series they are a table of
    steps, with the names and times of those that they are made from (`like`), if there are such.
    """
    if fitted.schema.series is not None:
        return fitted.render(x, like=None if like is None else fitted.rows(like))
    return _flat(fitted.render(x, rounded=False), dtype)


def _flat(rendered: Any, dtype: Any) -> Any:
    return rendered.reshape(len(rendered), -1).astype(dtype) if isinstance(rendered, np.ndarray) else rendered


def _has_text(X: Any) -> bool:
    """Whether X is a frame with a column that does not hold numbers."""
    if not hasattr(X, "columns") or not hasattr(X, "iloc"):
        return False
    return any(getattr(dtype, "kind", "O") not in "biuf" for dtype in X.dtypes)


def _check_steps(X: Any, series: str) -> None:
    """Refuse what is no table of steps.

    Raises:
        ValueError: saying what is expected.
    """
    if not hasattr(X, "columns") or not hasattr(X, "iloc"):
        raise ValueError(
            f"series={series[:40]!r} names a column of a table of steps and X is no table; give a DataFrame, or arrays "
            "(series, steps, channels) to lowerbound.fit."
        )


def _shaped(X: np.ndarray, event_shape: tuple[int, ...]) -> np.ndarray:
    if math.prod(event_shape) != X.shape[1]:
        raise ValueError(
            f"event_shape is {event_shape}, which has {math.prod(event_shape)} values, and X has {X.shape[1]} columns; "
            "give one whose product is the number of columns."
        )
    return X.reshape(len(X), *event_shape)


def _line(record: Record) -> str:
    held_out = f", held out {record.held_out['bound']:.2f}" if record.held_out else ""
    return f"step {record.step}: bound {record.terms['bound']:.2f} nats{held_out}"
