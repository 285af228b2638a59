"""What the model shows at points of walks, printed or written: pictures, tables, texts and molecules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from lowerbound.cli.output import array_of, write_bytes, write_figure, write_npz, write_table
from lowerbound.cli.pictures import check_table, for_picture
from lowerbound.cli.text import printable, say
from lowerbound.data.kinds.strings import texts_in

if TYPE_CHECKING:
    from torch import Tensor

    from lowerbound.fitted import Fitted

__all__ = ["ENDINGS", "cells_of", "check_walks", "print_walks", "write_walks"]

ENDINGS = (".png", ".gif", ".csv", ".parquet", ".npz", ".txt", ".smi")
_MOST_PRINTED, _MOST_TILES = 8, 2000


def check_walks(fitted: Fitted, path: Path | None, num_walks: int, num_steps: int) -> None:
    """Refuse an output that does not go with the data, before any work.

    Raises:
        UsageError: saying which does.
    """
    schema = fitted.schema
    is_image = schema.kind == "image"
    suffix = "" if path is None else path.suffix.lower()
    if suffix == "" and not schema.is_written and len(schema.event_shape) > 1:
        raise click.UsageError("Missing option --out; pictures and series are written to .png, .gif or .npz.")
    if suffix == ".gif" and not is_image:
        raise click.UsageError(
            f"A .gif shows images and {fitted.called_within} is of {schema.kind}; write .png or .npz."
        )
    if suffix in (".txt", ".smi") and not schema.is_written:
        raise click.UsageError(f"{suffix} is for texts and molecules; write .csv, .png or .npz.")
    if suffix == ".png" and schema.text is not None:
        raise click.UsageError("Text has no picture; write .txt or .csv, or leave --out out.")
    if suffix in (".csv", ".parquet") and not schema.is_written:
        check_table(fitted)
    if suffix in (".png", ".gif") and num_walks * num_steps > _MOST_TILES:
        raise click.UsageError(f"A picture shows at most {_MOST_TILES:,} rows; take fewer steps, or write .npz.")


def write_walks(
    path: Path, fitted: Fitted, shown: Tensor, walks: Sequence[str], said: Mapping[str, np.ndarray], title: str
) -> None:
    """Write walks (walk, step, *event) in the format of a file.

    Arguments:
        path: where.
        fitted: the model.
        shown: as the likelihood scores it.
        walks: what each walk is called.
        said: further columns, or arrays, of all points (walk * step,).
        title: of a picture.
    """
    suffix, flat, schema = path.suffix.lower(), shown.flatten(0, 1), fitted.schema
    if suffix in (".txt", ".smi"):
        write_bytes(path, ("\n".join(texts_in(fitted.render(flat))) + "\n").encode())
    elif suffix == ".npz" and schema.is_written:
        write_npz(path, x=fitted.stored(flat).astype(np.int32), **said)
    elif suffix == ".npz":
        write_npz(path, x=array_of(fitted.render(flat, rounded=False)), **said)
    elif suffix == ".gif":
        from lowerbound.plots import image_animation

        write_bytes(path, image_animation(for_picture(shown.transpose(0, 1))))
    elif suffix == ".png":
        _write_picture(path, fitted, shown, walks, title)
    elif schema.series is not None:
        table = fitted.render(flat)
        for place, (name, values) in enumerate(_beside(said, table.columns).items()):
            table.insert(place, name, np.repeat(values, schema.event_shape[0]))
        write_table(path, table)
    else:
        names, columns = cells_of(fitted, flat)
        import pandas

        columns = dict(zip(names, columns, strict=True))
        write_table(path, pandas.DataFrame({**_beside(said, columns), **columns}))


def _beside(said: Mapping[str, np.ndarray], names: Iterable[object]) -> dict[str, np.ndarray]:
    """Columns of a walk beside those of the data: "walk_t" where the data have a column "t"."""
    taken, found = {*map(str, names)}, {}
    for name, values in said.items():
        own = name
        while own in taken:
            own = f"walk_{own}"
        found[own] = values
    return found


def _write_picture(path: Path, fitted: Fitted, shown: Tensor, walks: Sequence[str], title: str) -> None:
    from lowerbound.plots import image_grid, walks_of_columns, walks_of_series

    schema, flat = fitted.schema, shown.flatten(0, 1)
    if schema.molecules is not None:
        from lowerbound.plots.molecules import molecule_png

        write_bytes(path, molecule_png(texts_in(fitted.render(flat)), per_row=shown.shape[1]))
    elif schema.kind == "image":
        write_figure(path, image_grid(for_picture(flat), shown.shape[1], title=title))
    else:
        stored = fitted.stored(flat)
        if len(schema.event_shape) == 1:
            names = schema.column_names or [str(i) for i in range(schema.event_shape[0])]
            kinds = {c.name: c.categories for c in schema.columns or () if c.categories is not None}
            values = stored.reshape(*shown.shape[:2], -1)
            write_figure(path, walks_of_columns(values, names, walks, kinds, title=title))
        else:
            values = stored.reshape(*shown.shape[:2], schema.event_shape[0], -1)
            write_figure(path, walks_of_series(values, walks, title=title))


def print_walks(
    fitted: Fitted, shown: Tensor, walks: Sequence[str], values: np.ndarray | None = None, label: str = "z"
) -> None:
    """Print texts, or a table of the columns that move most, walk by walk.

    Arguments:
        fitted: the model.
        shown: (walk, step, *event).
        walks: what each walk is called.
        values: a number for each point (walk, step), which stands before it.
        label: what that number is.
    """
    from rich.table import Table

    from lowerbound.cli.terminal import open_console

    if fitted.schema.is_written:
        for w, name in enumerate(walks):
            texts = texts_in(fitted.render(shown[w]))
            say(name)
            numbers = [""] * len(texts) if values is None else [f"{v:+.2f}  " for v in values[w]]
            say("\n".join(f"  {number}{text}" for number, text in zip(numbers, texts, strict=True)))
        return
    console = open_console()
    spread = shown.flatten(0, 1).double().std(0).clamp_min(1e-12)
    for w, name in enumerate(walks):
        names, columns = cells_of(fitted, shown[w])
        moved = (shown[w].double().amax(0) - shown[w].double().amin(0)) / spread
        chosen = sorted(moved.argsort(descending=True, stable=True)[:_MOST_PRINTED].tolist())
        more = f"; {len(names) - len(chosen)} further columns move less" if len(names) > len(chosen) else ""
        table = Table(title=printable(name + more), title_justify="left", pad_edge=False)
        if values is not None:
            table.add_column(label, justify="right")
        for place in chosen:
            table.add_column(printable(names[place]), justify="right")
        for step in range(shown.shape[1]):
            number = [] if values is None else [f"{values[w, step]:+.2f}"]
            table.add_row(*number, *(printable(_words(columns[place][step])) for place in chosen))
        console.print(table)


def cells_of(fitted: Fitted, x: Tensor) -> tuple[list[str], list[Any]]:
    """The names of columns and the values of each, in the user's units and words."""
    schema = fitted.schema
    found = fitted.render(x) if schema.is_written else fitted.render(x, rounded=False)
    if schema.is_written:
        return ["text" if schema.molecules is None else "smiles"], [texts_in(found)]
    if hasattr(found, "columns"):
        return [str(name) for name in found.columns], [found[name].tolist() for name in found.columns]
    array = np.asarray(found)
    names = list(schema.column_names or ())
    names = names if len(names) == array.shape[1] else [str(i) for i in range(array.shape[1])]
    return names, list(array.T)


def _words(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float | np.floating) else str(value)
