"""`lowerbound fit`: fit a model to data, score it on the test rows, and write a report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["fit"]

_WITH_RESUME = ("resume", "evaluate")


def _widths(context: click.Context, parameter: click.Parameter, value: str) -> list[int]:
    """From "256,256" to [256, 256]."""
    try:
        widths = [int(part) for part in value.split(",")]
    except ValueError:
        widths = []
    if not widths or min(widths) < 1:
        raise click.BadParameter(f"{value!r} is not a list of positive whole numbers such as 256,256.")
    return widths


@click.command(short_help="Fit a model to data, score it and write a report.")
@click.argument("data", required=False)
@click.option("--resume", metavar="RUN", help="Go on with this run folder instead of beginning one.")
@click.option("--label", help="Column (or array) of labels in a file; it is not part of the data.")
@click.option(
    "--recipe", metavar="NAME", default="vae", show_default=True, help="Which model, with options of its own."
)
@click.option("--labelled", type=click.IntRange(1), help="Tell training this many labels only. [default: all of them]")
@click.option("--likelihood", metavar="NAME", help="p(x | z). [default: bernoulli for images, normal for tables]")
@click.option("--prior", metavar="NAME", default="standard-normal", show_default=True, help="p(z).")
@click.option("--posterior", metavar="NAME", default="diagonal-normal", show_default=True, help="q(z | x).")
@click.option("--network", type=click.Choice(["mlp", "convolution"]), default="mlp", show_default=True)
@click.option(
    "--activation", type=click.Choice(["relu", "tanh", "elu", "silu", "softplus"]), default="relu", show_default=True
)
@click.option("--latent-dim", type=click.IntRange(1), default=16, show_default=True, help="Length of z.")
@click.option("--hidden", callback=_widths, default="256,256", show_default=True, help="Widths of the hidden layers.")
@click.option("--objective", metavar="NAME", default="iwae", show_default=True, help="elbo, iwae, ... with options.")
@click.option("--gradient", metavar="NAME", help="Its estimator. [default: dreg for iwae, pathwise for others]")
@click.option("--penalty", metavar="NAME", help="On the codes of a batch: mmd, total-correlation, ... with options.")
@click.option("--loss", metavar="NAME", default="variational", show_default=True, help="Or wake-sleep.")
@click.option("--inference", metavar="NAME", help="How q(z | x) is reached, if not by the encoder: semi-amortised, ...")
@click.option(
    "--num-samples", type=click.IntRange(1), help="Latents per datum and step. [default: 8 for iwae, 1 for others]"
)
@click.option(
    "--binarization", type=click.Choice(["auto", "dynamic", "threshold", "none"]), default="auto", show_default=True
)
@click.option("--batch-size", type=click.IntRange(1), default=128, show_default=True, help="Rows per step.")
@click.option(
    "--epochs",
    type=click.FloatRange(0, min_open=True),
    help="Passes over the data. [default: 100, for little data more]",
)
@click.option("--steps", type=click.IntRange(1), help="Optimisation steps, instead of epochs.")
@click.option("--lr", type=click.FloatRange(0, min_open=True), default=2e-3, show_default=True, help="Learning rate.")
@click.option(
    "--lr-schedule", type=click.Choice(["constant", "cosine", "exponential"]), default="cosine", show_default=True
)
@click.option("--clip-norm", type=click.FloatRange(0, min_open=True), help="Largest norm of the gradient.")
@click.option("--patience", type=click.IntRange(1), help="Evaluations without a better held-out bound before stopping.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), default="auto", show_default=True)
@click.option("--precision", type=click.Choice(["fp32", "bf16", "fp16"]), default="fp32", show_default=True)
@click.option("--devices", type=click.IntRange(1), default=1, show_default=True, help="Processes on this machine.")
@click.option("--compile/--no-compile", default=None, help="Compile the training step. [default: for long runs]")
@click.option("--out", metavar="RUN", help="The run folder. [default: runs/DATA-TIME]")
@click.option("--evaluate/--no-evaluate", default=True, help="Score the test rows and write a report afterwards.")
@click.pass_context
def fit(
    context: click.Context,
    data: str | None,
    resume: str | None,
    label: str | None,
    out: str | None,
    evaluate: bool,
    **options: Any,  # the rest, by the names of `Settings` and of the recipe
) -> None:
    """Fit a model to DATA: a name (see `lowerbound datasets`) or a .npy, .npz, .csv, .csv.gz or .parquet file.

    A NAME may carry options, as in normal:scale=shared,min_scale=0.01; docs/choose.md says which to take when. Recipes
    are listed in docs/models. Ctrl-C stops and saves; `lowerbound fit --resume RUN` goes on to the same result.
    """
    from lowerbound.cli.training import begin, carry_out, reopen

    if resume is not None:
        _refuse_other_options(context)
        job = reopen(_path(resume))
    elif data is None:
        raise click.UsageError("Missing argument DATA; name a data set or a file, or give --resume RUN.")
    else:
        given = {name for name in options if context.get_parameter_source(name) is ParameterSource.COMMANDLINE}
        job = begin(data, label, None if out is None else _path(out), options, given)
    carry_out(job, evaluate=evaluate)


def _refuse_other_options(context: click.Context) -> None:
    """A run goes on as it was begun."""
    for parameter in context.command.params:
        name = str(parameter.name)
        given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if given and name not in _WITH_RESUME:
            words = "DATA" if name == "data" else parameter.opts[0]
            raise click.UsageError(
                f"{words} cannot be given with --resume, which goes on with what the run began with."
            )


def _path(text: str) -> Path:
    from pathlib import Path

    return Path(text)
