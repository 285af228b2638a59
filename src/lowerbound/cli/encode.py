"""`lowerbound encode`: the latents of data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lowerbound.cli.options import force_option
from lowerbound.cli.others import Other, other_data, other_data_options
from lowerbound.cli.text import say

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from lowerbound.data import Rows
    from lowerbound.verbs.of_rows import Encoded

__all__ = ["encode"]


@click.command(short_help="Write the latents of data.")
@click.argument("run")
@other_data_options(
    "Encode another file or data set, all of it. [default: the run's test rows]",
    "; they are written beside the latents.",
)
@click.option(
    "--out", required=True, metavar="FILE", help="A .npz, .csv or .parquet file; of an .h5ad file also .h5ad."
)
@force_option
@click.option(
    "--refine", type=click.IntRange(0), default=0, metavar="STEPS", help="Improve each q(z | x) by optimisation."
)
@click.option("--inference", metavar="NAME", help="How q(z | x) is reached, if not by the encoder: hmc, local, ...")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the binarization of pixels.")
def encode(
    run: str,
    other: Other,
    out: str,
    force: bool,
    refine: int,
    inference: str | None,
    seed: int,
) -> None:
    """Write the mean and the standard deviation of q(z | x) of each row of data, with its label if it has one, and as
    `assigned` the class or cluster that the model gives it, if it gives one, with its `probability`.

    Of quantised latents `codes` are the numbers of their codes (row, stage, position), and the means are the vectors
    that these stand for.

    Of a chain of states `states` are their numbers along the most probable path (row, step), and the means are the
    probabilities of the states, step by step.

    Of latents with names, as those of the tree and of the graph of a molecule, columns have these names, and a .npz
    file has them as `latent_names`.

    Where chains of hmc, or several starts of local, are not to be trusted, stderr says which rows and why.

    A .csv or .parquet file of cells also gets the name of each, and one of series that of each in their column.
    An .h5ad file is a copy of that of --data with the means in `obsm` as X_lowerbound, and with types that the model
    gives to cells in `obs`.

    `row` is the number of the row in the file, from 0. Rows come in the order of the file; of data with a training and
    a test part, the training part comes first.
    """
    from pathlib import Path

    from lowerbound.cli.opened import fitted_of
    from lowerbound.cli.output import check_out, write_bytes
    from lowerbound.runs import Run

    path, opened = Path(out), Run.open(run)
    check_out(path, opened, other.data, ".npz", ".csv", ".parquet", ".h5ad", force=force)
    is_h5ad = path.suffix.lower() == ".h5ad"
    if is_h5ad and (other.data is None or not other.data.lower().endswith(".h5ad")):
        raise click.UsageError("--out .h5ad is a copy of --data with the latents; name an .h5ad file, or write .csv.")
    fitted = fitted_of(opened)
    rows = other_data(fitted, other) or fitted.test_rows()
    encoded = fitted.encode(rows, refine=refine, inference=inference, seed=seed)
    if is_h5ad:
        from lowerbound.data.formats.h5ad import with_latents

        of_cells = {"assigned": encoded.assigned, "probability": encoded.probability}
        write_bytes(path, with_latents(Path(str(other.data)), encoded.mean, of_cells))
    else:
        _write(path, encoded, rows)
    say(f"Wrote the latents of {len(encoded.mean)} rows of {rows.name} to {path}")


def _write(path: Path, encoded: Encoded, rows: Rows) -> None:
    import numpy as np

    from lowerbound.cli.formulas import tell_formulas
    from lowerbound.cli.output import write_bytes, write_npz
    from lowerbound.cli.row_names import named_rows, series_as_text

    suffix, y, classes = path.suffix.lower(), rows.y, rows.schema.classes
    row = np.arange(len(encoded.mean)) if rows.numbers is None else rows.numbers
    assigned = {
        n: v for n, v in (("assigned", encoded.assigned), ("probability", encoded.probability)) if v is not None
    }
    codes = encoded.codes
    if suffix == ".npz":
        labels = {} if y is None else {"label": y}
        names = {} if y is None or classes is None else {"label_names": np.array(classes)}
        own = {n: v for n, v in (("codes", codes), ("states", encoded.states)) if v is not None}
        own |= {"latent_names": np.array(encoded.names)} if encoded.parts else {}
        write_npz(
            path,
            row=row,
            **series_as_text(rows),
            mean=encoded.mean,
            scale=encoded.scale,
            **own,
            **assigned,
            **labels,
            **names,
        )
    else:
        flat = () if codes is None else codes.reshape(len(codes), -1).T
        found = {f"code_{i}": column for i, column in enumerate(flat)}
        found |= {} if encoded.states is None else {f"state_{t}": k for t, k in enumerate(encoded.states.T)}
        found |= {**_columns(encoded, y, classes), **assigned}
        names = named_rows(rows, ("row", *found))
        columns = {"row": row, **names, **found}
        if suffix == ".csv":
            of_text = ("name", "label", "assigned", *names)
            tell_formulas(path, (*names, *(cell for name in of_text for cell in columns.get(name, ()))))
        write_bytes(path, _csv(columns) if suffix == ".csv" else _parquet(columns))


def _columns(encoded: Encoded, y: np.ndarray | None, classes: tuple[str, ...] | None) -> dict[str, np.ndarray]:
    """A table's columns by name; labels that are classes with names get them."""
    import numpy as np

    columns = {f"mean_{name}": column for name, column in zip(encoded.names, encoded.mean.T, strict=True)}
    columns |= {f"scale_{name}": column for name, column in zip(encoded.names, encoded.scale.T, strict=True)}
    if y is not None:
        columns["label"] = y if classes is None else np.array([*classes, ""], dtype=object)[y]  # −1 is no label
    return columns


def _csv(columns: dict[str, np.ndarray]) -> bytes:
    """Comma-separated, with as many digits as float32 needs."""
    import csv
    import io

    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return stream.getvalue().encode()


def _parquet(columns: dict[str, np.ndarray]) -> bytes:
    import io

    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise click.ClickException("Writing .parquet needs pyarrow: pip install 'lowerbound[tables]'.") from None
    stream = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), stream)
    return stream.getvalue()
