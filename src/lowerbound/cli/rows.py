"""Which rows a command works on: the run's own test rows, or those of other data that fit its model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

from lowerbound.cli.choices import data_description
from lowerbound.data import DataError, Pixels, check_features
from lowerbound.data.split import num_held_out, split_rows
from lowerbound.fitting import check_support
from lowerbound.runs import load_dataset

if TYPE_CHECKING:
    from lowerbound.data import Dataset
    from lowerbound.runs import Run

__all__ = ["Rows", "all_rows", "held_out_rows"]


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Stored rows, and their labels if there are any.

    Attributes:
        x: rows (N, *event_shape) as stored; a memory map if their file is large.
        y: labels (N,) or None.
        label_names: names of the classes, or None.
        name: of the data.
    """

    x: np.ndarray
    y: np.ndarray | None
    label_names: tuple[str, ...] | None
    name: str


def held_out_rows(run: Run, data: str | None, label: str | None, limit: int | None = None) -> Rows:
    """The test rows of the run, or of other data; all rows of a file that has no test part of its own.

    Raises:
        ValueError: the data cannot be read, or does not fit the model.
    """
    dataset = _dataset(run, data, label)
    if data is not None and _is_unsplit_file(data, label):
        rows = _together(dataset, in_file_order=True)
    else:
        rows = Rows(x=dataset.x_test, y=dataset.y_test, label_names=dataset.label_names, name=dataset.name)
    y = None if rows.y is None else rows.y[:limit]
    return Rows(x=rows.x[:limit], y=y, label_names=rows.label_names, name=rows.name)


def all_rows(run: Run, data: str | None, label: str | None) -> Rows:
    """The test rows of the run, or every row of other data: in the order of the file, or its training part first.

    Raises:
        ValueError: the data cannot be read, or does not fit the model.
    """
    if data is None:
        return held_out_rows(run, data, label)
    return _together(_dataset(run, data, label), in_file_order=_is_unsplit_file(data, label))


def _dataset(run: Run, data: str | None, label: str | None) -> Dataset:
    """The run's data, or other data after the checks that it fits the run's model."""
    if data is None:
        if label is not None:
            raise click.UsageError("--label goes with --data; the run's own data has the labels it was begun with.")
        return run.dataset()
    dataset = load_dataset(data_description(data, label))
    check_features(dataset.x_test, tuple(run.config["event_shape"]), dataset.name)
    _check_scale(run, dataset)
    check_support(dataset, run.settings.likelihood_class)
    return dataset


def _check_scale(run: Run, dataset: Dataset) -> None:
    """Bytes and intensities must not be taken for one another."""
    transform = run.load_transform()
    if isinstance(transform, Pixels) and transform.scale != dataset.pixel_scale:
        expected = "numbers in [0, 1]" if transform.scale is None else "bytes (uint8)"
        raise DataError(
            f"{dataset.name} has type {dataset.x_test.dtype}; the model was fitted to {expected}: convert it first."
        )


def _is_unsplit_file(data: str, label: str | None) -> bool:
    """Whether the data is a file that does not say which of its rows are for testing."""
    path = data_description(data, label).get("path")
    if path is None or not path.lower().endswith(".npz"):
        return path is not None
    with np.load(Path(path), allow_pickle=False) as archive:
        return "x" in archive.files


def _together(dataset: Dataset, *, in_file_order: bool) -> Rows:
    """Training and test rows in one array."""
    if dataset.train_rows is not None:  # a memory map holds both, in the order of the file
        return Rows(x=dataset.x_train, y=None, label_names=None, name=dataset.name)
    x = np.concatenate([dataset.x_train, dataset.x_test])
    labelled = dataset.y_train is not None and dataset.y_test is not None
    y = np.concatenate([dataset.y_train, dataset.y_test]) if labelled else None  # type: ignore[list-item]
    if in_file_order:
        train, test = split_rows(len(x), num_held_out(len(x)))
        place = np.argsort(np.concatenate([np.sort(train), np.sort(test)]), kind="stable")
        x, y = x[place], None if y is None else y[place]
    return Rows(x=x, y=y, label_names=dataset.label_names, name=dataset.name)
