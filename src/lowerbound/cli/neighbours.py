"""`lowerbound neighbours`: the rows that are nearest in the latent space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from lowerbound.cli.options import force_option
from lowerbound.cli.others import Other, other_data, other_data_options
from lowerbound.cli.text import printable, say

if TYPE_CHECKING:
    import numpy as np

    from lowerbound.data import Rows
    from lowerbound.fitted import Fitted
    from lowerbound.latent_space import Neighbours

__all__ = ["neighbours"]

_MOST_SHOWN = 100


@click.command(short_help="Find the rows nearest in the latent space.")
@click.argument("run")
@click.argument("rows", metavar="ROW,ROW,...")
@other_data_options("Search another file or data set. [default: the run's test rows]", "; written beside the rows.")
@click.option("--count", type=click.IntRange(1), default=5, show_default=True, help="Neighbours of each row.")
@click.option(
    "--distance",
    type=click.Choice(["euclid", "symmetric-kl"]),
    default="euclid",
    show_default=True,
    help="Of means of q(z | x), or of q(z | x), nats.",
)
@click.option("--out", metavar="FILE", help="A .png of images or molecules, or a .csv, .parquet or .npz file.")
@force_option
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def neighbours(
    run: str, rows: str, other: Other, count: int, distance: str, out: str | None, force: bool, seed: int
) -> None:
    """Find the rows whose latents are nearest to those of each ROW (a place in the same data, from 0).

    Each neighbour is printed with its distance and what it is; `row` is its number in the file, as `encode` counts. A
    .png has a line of pictures for each ROW, itself first.
    """
    from pathlib import Path

    import numpy as np

    from lowerbound.cli.opened import fitted_of
    from lowerbound.cli.output import check_out
    from lowerbound.latent_space import neighbours as nearest
    from lowerbound.latent_space import taken
    from lowerbound.runs import Run

    path, opened = None if out is None else Path(out), Run.open(run)
    if path is not None:
        check_out(path, opened, other.data, ".png", ".csv", ".parquet", ".npz", force=force)
    places = _places(rows)
    fitted = fitted_of(opened)
    drawn = opened.schema.kind == "image" or opened.schema.molecules is not None
    if path is not None and path.suffix.lower() == ".png" and (not drawn or len(places) * count > 2000):
        raise click.UsageError(
            f"A .png shows up to 2,000 images or molecules, and {run} is of {opened.schema.kind}; write .csv or .npz."
        )
    searched = other_data(fitted, other) or fitted.test_rows()
    found = nearest(
        fitted,
        taken(searched, places),
        searched,
        count,
        distance="euclid" if distance == "euclid" else "symmetric-kl",
        exclude=places,
        seed=seed,
    )
    numbers = np.arange(len(searched.x)) if searched.numbers is None else searched.numbers
    if path is None:
        _print(fitted, searched, places, numbers, found)
        return
    if path.suffix.lower() == ".png":
        _draw(path, fitted, searched, np.concatenate([places[:, None], found.places], 1))
    else:
        _write(path, fitted, searched, places, numbers, found)
    say(f"Wrote {count} neighbours of {len(places)} rows to {path}")


def _places(text: str) -> np.ndarray:
    import numpy as np

    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and len(part) < 19 for part in parts):
        raise click.BadParameter(f"{text[:40]!r} is no list of places of rows, from 0, as in 0,5.", param_hint="ROW")
    return np.array([int(part) for part in parts])


def _labels(rows: Rows, places: np.ndarray) -> list[str] | None:
    """The labels of rows in the user's words."""
    if rows.y is None:
        return None
    classes = rows.schema.classes
    return ["" if value < 0 else classes[value] if classes else f"{value:g}" for value in rows.y[places].tolist()]


def _what(fitted: Fitted, rows: Rows, places: np.ndarray) -> tuple[list[str], list[list]]:
    """The columns of rows in the user's words; none of images and series."""
    import numpy as np

    from lowerbound.data.kinds import kind_named
    from lowerbound.data.kinds.strings import texts_in

    schema = fitted.schema
    if len(schema.event_shape) > 1 and not schema.is_written:
        return [], []
    stored = rows.x[places]
    found: Any = kind_named(schema.kind).render(np.asarray(stored), schema)
    if schema.is_written:
        return ["text" if schema.molecules is None else "smiles"], [texts_in(found)]
    if hasattr(found, "columns"):
        return [str(name) for name in found.columns], [found[name].tolist() for name in found.columns]
    return [str(i) for i in range(found.shape[1])], [column.tolist() for column in found.T]


def _print(fitted: Fitted, rows: Rows, places: np.ndarray, numbers: np.ndarray, found: Neighbours) -> None:
    import numpy as np
    from rich.table import Table

    from lowerbound.cli.terminal import open_console

    console = open_console()
    for place, near, distances in list(zip(places, found.places, found.distances, strict=True))[:_MOST_SHOWN]:
        everyone = np.concatenate([[place], near])
        names, columns = _what(fitted, rows, everyone)
        labels = _labels(rows, everyone)
        table = Table(title=f"Nearest to row {numbers[place]}", title_justify="left", pad_edge=False)
        table.add_column("row", justify="right")
        table.add_column(found.distance, justify="right")
        named = ([] if labels is None else [(rows.schema.label or "label", labels)]) + list(
            zip(names, columns, strict=True)
        )[:8]
        for name, _ in named:
            table.add_column(printable(name))
        for i, at in enumerate(everyone):
            far = "itself" if i == 0 else f"{distances[i - 1]:.3f}"
            table.add_row(str(numbers[at]), far, *(printable(str(column[i])) for _, column in named))
        console.print(table)


def _write(
    path: object, fitted: Fitted, rows: Rows, places: np.ndarray, numbers: np.ndarray, found: Neighbours
) -> None:
    """A row for each neighbour: of which row, its number, its distance, its label and its columns."""
    from pathlib import Path

    from lowerbound.cli.output import write_npz, write_table

    out, near = Path(str(path)), found.places.reshape(-1)
    said = {
        "of": numbers[places].repeat(found.places.shape[1]),
        "row": numbers[near],
        "distance": found.distances.reshape(-1),
    }
    labels = _labels(rows, near)
    if out.suffix.lower() == ".npz":
        write_npz(out, **{n: v.reshape(found.places.shape) for n, v in said.items()})
        return
    import pandas

    names, columns = _what(fitted, rows, near)
    labelled = {} if labels is None else {rows.schema.label or "label": labels}
    own = {name: column for name, column in zip(names, columns, strict=True) if name not in said}
    write_table(out, pandas.DataFrame({**said, **labelled, **own}))


def _draw(path: object, fitted: Fitted, rows: Rows, places: np.ndarray) -> None:
    from pathlib import Path

    import numpy as np

    from lowerbound.cli.output import write_bytes, write_figure
    from lowerbound.plots import image_grid

    flat, across = places.reshape(-1), places.shape[1]
    if fitted.schema.molecules is not None:
        from lowerbound.plots.molecules import molecule_png

        _, (smiles,) = _what(fitted, rows, flat)
        write_bytes(Path(str(path)), molecule_png(smiles, per_row=across))
        return
    x = np.asarray(rows.x[flat]).astype(float)
    scale = 1.0 if fitted.schema.pixel_levels is None else fitted.schema.pixel_levels - 1
    title = "Rows (left) and their nearest in the latent space"
    write_figure(Path(str(path)), image_grid(x / scale, across, title=title))
