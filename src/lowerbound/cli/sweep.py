"""`lowerbound sweep`: a grid of fits, which goes on where it stopped."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lowerbound.cli.described import describe_data
from lowerbound.cli.fit import fit
from lowerbound.cli.text import printable, say

if TYPE_CHECKING:
    from lowerbound.verbs.sweeping import Validated

__all__ = ["sweep"]

_OF_FIT_ALONE = ("data", "resume", "start_from", "freeze", "out", "evaluate", "devices", "strategy")
_OF_DATA = ("label", "kind", "columns", "array", "covariates", "series", "time")
_ALSO = {"learning-rate": "lr"}


@click.command(short_help="Fit a grid of settings and compare the runs.")
@click.argument("data")
@click.option(
    "--over",
    multiple=True,
    required=True,
    metavar="OPTION=VALUE,VALUE,...",
    help='Values of an option of fit; may be repeated. Values that hold commas are parted by ";".',
)
@click.option("--out", required=True, metavar="DIR", help="The folder of the runs.")
@click.option(
    "--num-evidence-samples", type=click.IntRange(1), default=100, show_default=True, help="K of L_K in comparisons."
)
@click.pass_context
def sweep(
    context: click.Context, data: str, over: tuple[str, ...], out: str, num_evidence_samples: int, **given: Any
) -> None:
    """Fit a model to DATA for each combination of values, each in a folder of its own in DIR.

    All other options are those of `lowerbound fit`. The same command goes on where it was stopped: finished runs are
    kept, a stopped one resumes, and further values add runs. Runs that fail are named, and the others go on.

    The best run is that with the highest L_K, nats, on validation rows: the part of the training rows that chose the
    weights. comparison.html in DIR compares all runs on the test rows, which choose nothing; sweep.json has the scores.
    """
    from lowerbound.cli.terminal import open_console
    from lowerbound.verbs.sweeping import folder_name, grid

    wanted = grid(_values(over))
    parsed = [_parsed(context, settings) for settings in wanted]  # all are read before the first is fitted
    described = describe_data(data, **{name: given.pop(name) for name in _OF_DATA})
    recipe = given.pop("recipe")
    _check_plans(described, recipe, [{**given, **own} for own in parsed])
    console = open_console()
    runs: dict[str, Path | str] = {}
    for number, (settings, own) in enumerate(zip(wanted, parsed, strict=True), 1):
        name = folder_name(settings)
        words = ", ".join(f"{key} {value}" for key, value in settings.items())
        console.print(f"Run {number} of {len(wanted)}: {words}")
        chosen = own.pop("recipe", recipe)
        runs[name] = _run(Path(out) / name, described, chosen, {**given, **own})
        if isinstance(runs[name], str):
            say(f"{name} failed: {runs[name]}", err=True)
    _finish(Path(out), runs, wanted, num_evidence_samples)


sweep.params += [parameter for parameter in fit.params if parameter.name not in _OF_FIT_ALONE]


def _values(over: tuple[str, ...]) -> dict[str, list[str]]:
    """The values of each option, from words such as "lr=0.1,0.2".

    Raises:
        UsageError: a word of another form, an option of another name, or one given twice.
    """
    known = {
        option.removeprefix("--"): parameter
        for parameter in fit.params
        for option in parameter.opts
        if parameter.name not in (*_OF_FIT_ALONE, *_OF_DATA)
    }
    values: dict[str, list[str]] = {}
    for word in over:
        name, equals, text = word.partition("=")
        name = name.strip().removeprefix("--").replace("_", "-")
        name = _ALSO.get(name, name)
        if not equals or name not in known:
            raise click.UsageError(
                f"--over is {word[:40]!r}; expected OPTION=VALUE,VALUE with an option of fit, such as lr=0.001,0.0003."
            )
        if name in values:
            raise click.UsageError(f"--over names {name} twice; give all of its values at once.")
        values[name] = [value.strip() for value in text.split(";" if ";" in text else ",")]
    return values


def _parsed(context: click.Context, settings: dict[str, str]) -> dict[str, Any]:
    """The values as `fit` takes them.

    Raises:
        BadParameter: a value that the option does not take.
    """
    found = {}
    for parameter in fit.params:
        for option in parameter.opts:
            if option.removeprefix("--") in settings and parameter.name is not None:
                found[parameter.name] = parameter.process_value(context, settings[option.removeprefix("--")])
    return found


def _check_plans(described: dict[str, Any], recipe: str | None, every: list[dict[str, Any]]) -> None:
    """Refuse what no fit would begin with, before the first is fitted.

    Raises:
        ValueError: the data, or the choices of one of the runs, are not usable.
    """
    from lowerbound.fitting.preparing import prepare
    from lowerbound.fitting.start import plan_from
    from lowerbound.runs import load_dataset

    dataset = load_dataset(described)
    for given in every:
        planned = plan_from(None, dataset, given.pop("recipe", recipe), **given)
        prepare(dataset, planned, planned.engine())


def _run(path: Path, described: dict[str, Any], recipe: str | None, given: dict[str, Any]) -> Path | str:
    """Fit one, or go on with it; its folder, or why it failed.

    Raises:
        UsageError: the folder holds a run of other settings or other data.
        Interrupted: on request, after saving.
    """
    from lowerbound.cli.failures import Interrupted
    from lowerbound.cli.training import begin, carry_out, reopen
    from lowerbound.runs import Run
    from lowerbound.training.history import NonFiniteError

    try:
        if not os.path.exists(path / "run.json"):
            carry_out(begin(described, recipe, path, given), evaluate=False)
            return path
        run = Run.open(path)
        _check_same(run, described, recipe, given)
        if run.failure is not None:
            return run.failure
        if run.finished:
            say(f"{path} is finished and kept.")
            return path
        carry_out(reopen(path), evaluate=False)
        return path
    except NonFiniteError as error:
        return str(error)
    except Interrupted as error:
        raise Interrupted(f"{str(error).split(';')[0]}; give the same sweep again to go on.") from None


def _check_same(run: Any, described: dict[str, Any], recipe: str | None, given: dict[str, Any]) -> None:
    """Refuse to keep a run of other settings under the name of these."""
    from lowerbound.fitting.start import plan_from

    said = {name: run.config["data"].get(name) for name in described}
    planned = plan_from(None, run.dataset, recipe, **given).to_json()
    before = run.plan.to_json()
    other = [name for name in planned if name not in ("given", "reasons") and planned[name] != before.get(name)]
    if said != described or other:
        what = other[0] if other else "its data"
        raise click.UsageError(
            f"{run.path} holds a run that differs in {what}; choose another --out, or give the options of before."
        )


def _finish(out: Path, runs: dict[str, Path | str], wanted: list[dict[str, str]], num_samples: int) -> None:
    """Validate, compare, write and print."""
    import dataclasses
    import json

    from lowerbound.cli.opened import fitted_of
    from lowerbound.cli.output import write_bytes
    from lowerbound.runs import Run
    from lowerbound.verbs.sweeping import validated

    scores: dict[str, Validated | None] = {}
    for name, place in runs.items():
        scores[name] = None if isinstance(place, str) else validated(fitted_of(Run.open(place)), num_samples)
    known = {name: score for name, score in scores.items() if score is not None}
    best = max(known, key=lambda name: known[name].mean) if known else None
    content = {
        "best": best,
        "chosen_by": f"L_{num_samples} of validation rows, nats per row",
        "runs": [
            {
                "run": name,
                "settings": settings,
                "failure": place if isinstance(place, str) else None,
                "validation": None if (score := scores[name]) is None else dataclasses.asdict(score),
            }
            for (name, place), settings in zip(runs.items(), wanted, strict=True)
        ],
    }
    out.mkdir(parents=True, exist_ok=True)
    write_bytes(out / "sweep.json", (json.dumps(content, indent=2) + "\n").encode(), force=True)
    _print(runs, scores, best, num_samples)
    _compare(out, [place for place in runs.values() if isinstance(place, Path)], num_samples)


def _print(
    runs: dict[str, Path | str], scores: dict[str, Validated | None], best: str | None, num_samples: int
) -> None:
    from rich.table import Table

    from lowerbound.cli.terminal import open_console

    console = open_console()
    table = Table(title=f"L_{num_samples:,} of validation rows, nats", title_justify="left", pad_edge=False)
    table.add_column("run")
    table.add_column("validation", justify="right")
    table.add_column("± s.e.", justify="right")
    table.add_column("")
    for name, place in runs.items():
        score = scores[name]
        numbers = ("", "") if score is None else (f"{score.mean:.2f}", f"{score.standard_error:.2f}")
        note = "failed" if isinstance(place, str) else "no validation rows" if score is None else ""
        table.add_row(printable(name), *numbers, "best" if name == best else note)
    console.print(table)
    if best is None:
        console.print("No run has validation rows, so that none is chosen.")
        return
    console.print(f"Best on validation rows: {runs[best]}")


def _compare(out: Path, places: list[Path], num_samples: int) -> None:
    """The page of all runs on test rows, where they can be compared."""
    import lowerbound.verbs.comparison as comparing
    from lowerbound.cli.progress import CountProgress
    from lowerbound.cli.terminal import open_console
    from lowerbound.report import write_comparison

    if len(places) < 2:
        say("There is no page: it compares two finished runs or more.")
        return
    try:
        with CountProgress(open_console(), "Scoring test rows") as progress:
            found = comparing.compare(*places, num_samples=num_samples, progress=progress)
    except ValueError as error:
        say(f"There is no page: {error}", err=True)
        return
    write_comparison(found, out / "comparison.html")
    say(f"Page of all runs on test rows, which chose nothing: {out / 'comparison.html'}")
