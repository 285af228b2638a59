"""`lowerbound fit`: fit a model to data, score it on the test rows, and write a report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from lowerbound.cli.described import describe_data

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["fit"]

_WITH_RESUME = ("resume", "evaluate", "out", "logger")


def _widths(context: click.Context, parameter: click.Parameter, value: str | None) -> list[int] | None:
    """From "256,256", or "256-256" as a plan is printed, to [256, 256]."""
    if value is None:
        return None
    try:
        widths = [int(part) for part in value.replace("-", ",").split(",")]
    except ValueError:
        widths = []
    if not widths or min(widths) < 1:
        raise click.BadParameter(f"{value!r} is not a list of positive whole numbers such as 256,256.")
    return widths


def _words(context: click.Context, parameter: click.Parameter, value: str | None) -> list[str] | None:
    """From "prior,likelihood" to ["prior", "likelihood"]."""
    return None if value is None else value.split(",")


@click.command(short_help="Fit a model to data, score it and write a report.")
@click.argument("data", required=False)
@click.option(
    "--resume", metavar="RUN", help="Continue this run; in a new folder if settings such as --lr are changed."
)
@click.option(
    "--from",
    "start_from",
    metavar="RUN",
    help="Begin at the weights of this run; new batches of cells alone are learned.",
)
@click.option(
    "--freeze", callback=_words, metavar="PARTS", help="With --from, hold these fixed: prior, likelihood, posterior."
)
@click.option("--label", help="Column (or array) of labels in a file; it is not part of the data.")
@click.option("--kind", metavar="KIND", help="What the data are: image, table, counts, ... [default: inferred]")
@click.option("--columns", metavar="NAME=KIND,...", help="Kinds of columns whose inferred kind is wrong.")
@click.option("--series", metavar="COLUMN", help="Of a table of steps: the column that names the series of each row.")
@click.option(
    "--time", metavar="COLUMN", help="Of a table of steps: the column that orders each series. [default: the rows]"
)
@click.option("--array", metavar="NAME", help="Which array of an .npz file, or layer of an .h5ad file, holds the rows.")
@click.option("--covariates", callback=_words, metavar="NAMES", help="Columns that the model is given: batch,donor.")
@click.option("--recipe", metavar="NAME", help="Which model, with options of its own. [default: by the data]")
@click.option(
    "--blocks", metavar="NAME=COLUMNS;...", help="Groups of columns, each with nets of its own: rna=gene_*;..."
)
@click.option("--pictures", metavar="NAME=HxW;...", help="Blocks that are pictures: image=28x28.")
@click.option("--labelled", type=click.IntRange(1), help="Use only this many labels in training. [default: all]")
@click.option("--likelihood", metavar="NAME", help="p(x | z). [default: by the kind of data]")
@click.option("--missingness", metavar="NAME", help="p(s | x) of gaps that depend on what they hide: self-masking.")
@click.option("--prior", metavar="NAME", help="p(z).")
@click.option("--posterior", metavar="NAME", help="q(z | x).")
@click.option("--network", type=click.Choice(["mlp", "convolution"]), help="Nets of both directions.")
@click.option("--activation", type=click.Choice(["relu", "tanh", "elu", "silu", "softplus"]))
@click.option("--latent-dim", type=click.IntRange(1), help="Length of z.")
@click.option("--hidden", callback=_widths, help="Widths of the hidden layers, such as 256,256.")
@click.option("--objective", metavar="NAME", help="elbo, iwae, ... with options.")
@click.option("--gradient", metavar="NAME", help="Its estimator. [default: dreg for iwae, pathwise for others]")
@click.option("--penalty", metavar="NAME", help="On the latents of a batch: mmd, total-correlation, ... with options.")
@click.option("--loss", metavar="NAME", help="variational, wake-sleep, ...")
@click.option("--inference", metavar="NAME", help="How q(z | x) is found, if not by the encoder: semi-amortised, ...")
@click.option("--num-samples", type=click.IntRange(1), help="Latents per datum and step.")
@click.option("--binarization", type=click.Choice(["dynamic", "threshold", "none"]), help="Of pixels.")
@click.option("--standardize/--no-standardize", default=None, help="Columns to mean 0 and standard deviation 1.")
@click.option(
    "--log-columns", callback=_words, metavar="NAMES", help="Columns taken as logarithms: names, auto or none."
)
@click.option("--batch-size", type=click.IntRange(1), help="Rows per step.")
@click.option("--epochs", type=click.FloatRange(0, min_open=True), help="Passes over the data.")
@click.option("--steps", type=click.IntRange(1), help="Optimisation steps, instead of epochs.")
@click.option("--lr", type=click.FloatRange(0, min_open=True), help="Learning rate.")
@click.option("--lr-schedule", type=click.Choice(["constant", "cosine", "exponential"]))
@click.option("--optimizer", metavar="NAME", help="adam, adamw, adamax, sgd, with options. [default: adam]")
@click.option("--accumulate", type=click.IntRange(1), help="Parts into which a batch is cut, for less memory.")
@click.option(
    "--ema", type=click.FloatRange(0, 1, True, True), help="Decay of an average of the weights, such as 0.999."
)
@click.option("--clip-norm", type=click.FloatRange(0, min_open=True), help="Largest norm of the gradient.")
@click.option(
    "--skip-above",
    type=click.FloatRange(1, min_open=True),
    help="Skip updates of so many times the usual norm.",
)
@click.option("--patience", type=click.IntRange(1), help="Evaluations without a better held-out bound before stopping.")
@click.option("--seed", type=click.IntRange(0), help="Of everything random. [default: 0]")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]))
@click.option("--precision", type=click.Choice(["auto", "fp32", "bf16", "fp16"]), help="Of the products of nets.")
@click.option("--devices", type=click.IntRange(1), help="Processes on this machine.")
@click.option(
    "--strategy",
    type=click.Choice(["ddp", "fsdp"]),
    help="Each process holds the model (ddp), or a part of its large layers (fsdp). [default: ddp]",
)
@click.option("--compile/--no-compile", default=None, help="Compile the training step. [default: if it pays]")
@click.option("--out", metavar="RUN", help="The run folder. [default: runs/DATA-TIME]")
@click.option("--logger", metavar="NAME", help="Log training too by csv, tensorboard, wandb or mlflow, with options.")
@click.option("--evaluate/--no-evaluate", default=True, help="Score the test rows and write a report afterwards.")
@click.pass_context
def fit(
    context: click.Context,
    data: str | None,
    resume: str | None,
    start_from: str | None,
    label: str | None,
    kind: str | None,
    columns: str | None,
    array: str | None,
    covariates: list[str] | None,
    series: str | None,
    time: str | None,
    out: str | None,
    logger: str | None,
    evaluate: bool,
    recipe: str | None,
    **given: Any,  # the rest, by the names of `Plan` and of the recipe; None where it was left open
) -> None:
    """Fit a model to DATA: a name (see `lowerbound datasets`), a file or a folder of images.

    What is left open is decided from the data and printed. A NAME may carry options, as in
    normal:scale=shared,min_scale=0.01; docs/choose.md says which to take when. Recipes are listed in docs/models.
    Ctrl-C stops and saves; `lowerbound fit --resume RUN` goes on to the same result. With other settings, as in
    `lowerbound fit --resume RUN --lr 0.0005`, it goes on in a new folder, which says where it came from.
    """
    from lowerbound.cli.training import begin, carry_out, go_on_otherwise, reopen
    from lowerbound.loggers import check_logger

    if logger is not None:
        check_logger(logger)
    where = None if out is None else _path(out)
    if resume is not None:
        changes = _changes(context, given)
        if out is not None and not changes:
            raise click.UsageError("--out goes with --resume only where a setting is changed, as in --lr 0.0005.")
        job = go_on_otherwise(_path(resume), where, changes) if changes else reopen(_path(resume))
    elif data is None:
        raise click.UsageError("Missing argument DATA; name a data set or a file, or give --resume RUN.")
    else:
        said = {"label": label, "kind": kind, "array": array, "series": series, "time": time}
        described = describe_data(data, columns=columns, covariates=covariates, **said)
        job = begin(described, recipe, where, given, None if start_from is None else _path(start_from))
    carry_out(job, evaluate=evaluate, logger=logger)


def _changes(context: click.Context, given: dict[str, Any]) -> dict[str, Any]:
    """The settings that change when a run continues; those of its data and of its model stay."""
    from lowerbound.runs.branching import CHANGEABLE

    changes = {}
    for parameter in context.command.params:
        name = str(parameter.name)
        if context.get_parameter_source(name) is not ParameterSource.COMMANDLINE or name in _WITH_RESUME:
            continue
        if name not in CHANGEABLE:
            words = "DATA" if name == "data" else parameter.opts[0]
            raise click.UsageError(
                f"{words} cannot be given with --resume, which continues with the options of the run; --from RUN "
                "begins anew at its weights."
            )
        changes[name] = given[name]
    return changes


def _path(text: str) -> Path:
    from pathlib import Path

    return Path(text)
