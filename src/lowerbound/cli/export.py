"""`lowerbound export`: encoder and decoder as programs of their own."""

from __future__ import annotations

import os

import click

from lowerbound.cli.options import force_option
from lowerbound.cli.text import say

__all__ = ["export"]


@click.command(short_help="Write encoder and decoder as programs.")
@click.argument("run")
@click.option("--out", required=True, metavar="DIR", help="The folder to write to.")
@force_option
def export(run: str, out: str, force: bool) -> None:
    """Write the encoder and the decoder of RUN by torch.export (.pt2), and as ONNX where that is installed.

    The encoder takes rows in the units of the data, with the standardisation inside, and gives mean and standard
    deviation of q(z | x); the decoder takes z and gives E[x | z]. export.json says shapes, types, columns and units.
    Each file is loaded, run and compared with the run before it is written. What cannot be exported is refused by name.
    """
    from pathlib import Path

    from lowerbound.cli.opened import fitted_of
    from lowerbound.runs import Run
    from lowerbound.runs.folders import is_of_a_run
    from lowerbound.verbs.exporting import onnx_is_there

    opened, path = Run.open(run), Path(out)
    if is_of_a_run(path) or os.path.realpath(path) == os.path.realpath(opened.path):
        raise click.BadParameter(f"{out!r} is a place of a run; choose another folder.", param_hint="'--out'")
    described = fitted_of(opened).export(path, force=force)
    for name, difference in described["largest_difference_from_the_run"].items():
        say(f"{path / name}: differs from the run by at most {difference:.1e} of its largest number (float32)")
    if not onnx_is_there():
        say("No ONNX files: they need pip install 'lowerbound[export]'.")
    say(f"Inputs and outputs: {path / 'export.json'}")
