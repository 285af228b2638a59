"""Any command but `fit` with any of its options, as the command itself lists them."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import click

from lowerbound.cli import cli

from .altered import altered_run
from .files import hostile_file

__all__ = ["NAMES", "words_of"]

SMALL = {
    "evaluate": ["--limit", "2", "--num-samples", "2"],
    "score": ["--num-samples", "2"],
    "sample": ["--count", "2"],
    "impute": ["--num-samples", "3"],
    "expression": ["--num-samples", "2"],
    "differential-expression": ["--num-draws", "20", "--groups", "type"],
    "interpolate": ["--steps", "3"],
    "search": ["--draws", "4"],
    "reconstruct": ["--count", "2"],
    "gradients": ["--num-repeats", "4"],
    "diagnose": ["--num-rows", "3"],
    "check": ["--limit", "5", "--num-replicates", "20"],
    "compare": ["--limit", "2", "--num-samples", "2"],
}
"""What keeps a command short; a later word wins."""
ENDINGS = (".npz", ".csv", ".parquet", ".png", ".h5ad", ".txt", ".smi", ".html", ".lb", "")
KNOWN = (
    "batch", "type", "age", "label", "a", "b", "T", "batch=a", "batch=z", "age=40", "age=x", "batch=a,age=nan", "gene0",
    "hmc", "local:num_steps=2", "greedy", "nucleus=0.5", "X", "layers/counts", "counts", "0.5", "median", "mean",
)  # fmt: skip
"""Words that some command knows."""


def _names() -> list[str]:
    context = click.Context(cli)
    return [name for name in cli.list_commands(context) if name != "fit"]


NAMES = _names()
"""The commands."""


def words_of(
    rng: random.Random, runs: Sequence[Path], fitting: dict[str, Path], folder: Path, values: Sequence[str]
) -> list[str]:
    """A command on a run, often one that fits it, with up to three of its options.

    Arguments:
        rng: of all choices.
        runs: any runs.
        fitting: the run that is in the place of the command's own kind of model, by the name of the command.
        folder: to write to.
        values: hostile ones.
    """
    name = rng.choice(NAMES)
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    run = fitting.get(name, rng.choice(runs)) if rng.random() < 0.8 else rng.choice(runs)
    run = run if rng.random() < 0.8 else altered_run(run, folder, rng)
    words = [name, *_arguments(rng, command, run, values), *SMALL.get(name, [])]
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    if any("--out" in option.opts for option in options):
        ending = rng.choice(ENDINGS if rng.random() < 0.3 else _endings(option.help or "" for option in options))
        words += ["--out", str(folder / f"o-{rng.randrange(10**12)}{ending}")]
    for option in rng.sample(options, min(len(options), rng.choice([0, 1, 1, 2, 2]))):
        if "--help" not in option.opts:
            words += [option.opts[0], *([] if option.is_flag else [_value(rng, option, folder, values)])]
    return words


def _arguments(rng: random.Random, command: click.Command, run: Path, values: Sequence[str]) -> list[str]:
    """Each positional word: the run first, then what the command may want."""
    found: list[str] = []
    for parameter in command.params:
        if isinstance(parameter, click.Argument):
            first = str(run) if parameter.name in ("run", "runs") else rng.choice([*values, *KNOWN])
            found += [first] if parameter.nargs == 1 else [first, str(run) if parameter.name == "runs" else first]
    return found


def _value(rng: random.Random, option: click.Option, folder: Path, values: Sequence[str]) -> str:
    if option.opts[0] in ("--data", "--against") and rng.random() < 0.7:
        return str(hostile_file(folder, rng))
    if isinstance(option.type, click.Choice) and rng.random() < 0.7:
        return str(rng.choice(list(option.type.choices)))
    if isinstance(option.type, click.IntRange | click.FloatRange | click.types.IntParamType) and rng.random() < 0.5:
        return rng.choice(["1", "2", "3", "20"])
    return rng.choice(KNOWN if rng.random() < 0.5 else values)


def _endings(helps: Iterable[str]) -> list[str]:
    """The endings of files that the help of a command names."""
    return re.findall(r"\.(?:npz|csv|parquet|png|h5ad|txt|smi|html|lb)\b", " ".join(helps)) or [".npz"]
