"""How a command names data: a name of the catalogue, or a path with what the user said about it."""

from __future__ import annotations

import os
from typing import Any

import click

__all__ = ["describe_data"]


def describe_data(
    data: str,
    *,
    label: str | None = None,
    kind: str | None = None,
    columns: str | None = None,
    array: str | None = None,
    covariates: list[str] | None = None,
    series: str | None = None,
    time: str | None = None,
) -> dict[str, Any]:
    """What a run folder holds to find the data again: only values that were given.

    Arguments:
        data: a name of the catalogue, or a path.
        label: the column or array of labels.
        kind: of the data.
        columns: "name=kind,name=kind".
        array: the array of rows of an archive.
        covariates: columns that the model is given.
        series: of a table of steps, the column that names the series of each row.
        time: its column of times.

    Raises:
        DataError: it is neither a name nor looks like a file.
        UsageError: an option of files is given for a named data set, or `columns` cannot be read.
    """
    from lowerbound.data import entry, names
    from lowerbound.data.readers import suffixes

    said = {"label": label, "kind": kind, "columns": _columns(columns), "array": array, "covariates": covariates}
    said |= {"series": series, "time": time}
    said = {name: value for name, value in said.items() if value is not None}
    if data not in names() and (os.path.lexists(data) or "/" in data or data.lower().endswith(suffixes())):
        return {"path": os.path.realpath(data), **said}
    known = entry(data)
    if said:
        raise click.UsageError(f"--{next(iter(said))} is for files, and {known.name} is known by name; leave it out.")
    return {"name": known.name}


def _columns(text: str | None) -> dict[str, str] | None:
    """From "age=count,name=drop" to a dictionary."""
    if text is None:
        return None
    pairs = [part.rpartition("=") for part in text.split(",")]
    if not all(name.strip() and kind.strip() for name, _, kind in pairs):
        raise click.BadParameter(f"{text!r} is not of the form NAME=KIND,NAME=KIND.", param_hint="'--columns'")
    return {name.strip(): kind.strip() for name, _, kind in pairs}
