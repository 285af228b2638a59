"""`lowerbound decompress`: the rows of a file that `compress` wrote."""

from __future__ import annotations

from typing import Any

import click

from lowerbound.cli.options import force_option
from lowerbound.cli.text import say

__all__ = ["decompress"]


@click.command(short_help="Give back the rows of a file that compress wrote.")
@click.argument("run")
@click.argument("file")
@click.option(
    "--out",
    required=True,
    metavar="DATA",
    help="A .csv, .parquet, .txt, .smi, .npy or .npz file, or a folder of pictures.",
)
@force_option
def decompress(run: str, file: str, out: str, force: bool) -> None:
    """Write the rows of FILE, which `compress` wrote with the same RUN, in the form of the data of the run.

    Of a run of the recipe rate-distortion these are near to the rows that were given, and no more: it writes with loss.
    Pictures of any sizes are written to a folder DATA as .png, under the names that they had.

    A file that is damaged, or was written with other weights, is refused, and so is one that does not decode to the
    rows that were written, as can be on another machine.
    """
    import io
    from pathlib import Path

    import numpy as np

    from lowerbound.cli.opened import fitted_of
    from lowerbound.cli.output import array_of, check_out, write_bytes, write_npz, write_table
    from lowerbound.cli.pictures import check_table, of_one_size, write_pictures
    from lowerbound.cli.progress import CountProgress
    from lowerbound.cli.terminal import open_console
    from lowerbound.cli.texts import endings_of_lines
    from lowerbound.runs import Run
    from lowerbound.verbs.lossless import decompressed_text
    from lowerbound.verbs.lossy import is_with_loss

    path, opened = Path(out), Run.open(run)
    lines = endings_of_lines(opened) if opened.schema.is_written else ()
    fitted, suffix = fitted_of(opened), path.suffix.lower()
    folder = ("",) if is_with_loss(fitted) and opened.schema.kind == "image" else ()
    check_out(path, opened, file, ".csv", ".parquet", ".npy", ".npz", *lines, *folder, force=force)
    if suffix in (".csv", ".parquet"):
        check_table(fitted)
    with CountProgress(open_console(), "rows") as progress:
        rows: Any
        if suffix in lines:
            rows, text = decompressed_text(fitted, file, progress=progress)
        else:
            rows, text = fitted.decompress(file, progress=progress), ""
    if not suffix:
        write_pictures(path, rows, force=force)
    elif isinstance(rows, dict):
        rows = of_one_size(rows)
    if suffix in lines:
        write_bytes(path, text.encode())
    elif suffix == ".npz":
        write_npz(path, x=array_of(rows))
    elif suffix == ".npy":
        buffer = io.BytesIO()
        np.save(buffer, array_of(rows), allow_pickle=False)
        write_bytes(path, buffer.getvalue())
    elif suffix:
        write_table(path, rows)
    near = ", near to those that were compressed: the file is with loss" if is_with_loss(fitted) else ""
    say(f"Wrote {len(rows)} rows to {path}{near}")
