"""`lowerbound compress`: rows as a file, without loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lowerbound.cli.options import force_option
from lowerbound.cli.text import say

if TYPE_CHECKING:
    from lowerbound.lossless import Compressed

__all__ = ["compress"]


@click.command(short_help="Write rows to a file in few bits, without loss.")
@click.argument("run")
@click.argument("data")
@click.option("--out", required=True, metavar="FILE", help="A .lb file.")
@force_option
def compress(run: str, data: str, out: str, force: bool) -> None:
    """Write the rows of DATA to a file from which `decompress` gives them back to the last bit.

    A row takes as many bits as its negative ELBO under RUN, which is printed beside what was reached, and beside what
    gzip, bz2, lzma and PNG make of the same rows. The file holds no model, so that RUN must be kept.

    Labels and columns that are no part of the model are not in the file.
    """
    from pathlib import Path

    from lowerbound.cli.opened import fitted_of
    from lowerbound.cli.output import check_out
    from lowerbound.cli.progress import CountProgress
    from lowerbound.cli.terminal import open_console
    from lowerbound.runs import Run

    path, opened = Path(out), Run.open(run)
    check_out(path, opened, data, ".lb", force=force)
    fitted = fitted_of(opened)
    with CountProgress(open_console(), "rows") as progress:
        found = fitted.compress(data, path, force=force, progress=progress)
    say("\n".join(lines_of(found)))
    say(f"Wrote {found.num_rows} rows to {path}")


def lines_of(found: Compressed) -> list[str]:
    """What is printed: bits for each number, and bytes in all."""
    each, part = found.num_numbers, 100 * (found.bits / found.elbo_bits - 1)
    error = 100 * found.standard_error / abs(found.elbo_bits)
    lines = [
        f"{found.num_bytes:>12,} bytes  {8 * found.num_bytes / each:9.4f} bits per number  the file",
        f"{found.bits / 8:>12,.0f}        {found.bits / each:9.4f}                  its rows ({part:+.2f} % of -ELBO, "
        f"± {error:.2f})",
        f"{found.elbo_bits / 8:>12,.0f}        {found.elbo_bits / each:9.4f}                  -ELBO",
        f"{found.start_bits / 8:>12,.0f}                                   start and header",
    ]
    if found.num_held:
        lines.append(f"{found.num_held:>12,} lines that the model cannot write stand in the file as they were written")
    return lines + [
        f"{size:>12,}        {8 * size / each:9.4f}                  {name}" for name, size in found.others.items()
    ]
