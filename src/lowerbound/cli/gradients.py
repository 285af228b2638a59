"""`lowerbound gradients`: how noisy the gradient of a run is, with its own estimator and with others."""

from __future__ import annotations

import click

from lowerbound.cli.options import force_option, own_data_option
from lowerbound.cli.text import say

__all__ = ["gradients"]


@click.command(short_help="Compare the noise of gradient estimators on a run.")
@click.argument("run")
@own_data_option
@click.option(
    "--estimator",
    "estimators",
    metavar="NAME",
    multiple=True,
    help="Compare the run's own estimator with this one, e.g. score-function:baseline=learned; may be repeated. "
    "[default: every exact or unbiased one that goes with the run's objective and posterior]",
)
@click.option("--num-samples", type=click.IntRange(1), help="Latents drawn per datum. [default: as in training]")
@click.option("--num-repeats", type=click.IntRange(4), default=64, show_default=True, help="Gradients of each.")
@click.option("--batch-size", type=click.IntRange(1), help="Test rows in the batch. [default: as in training]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--out", metavar="FILE", help="A .png picture. [default: RUN/gradients.png, which is replaced]")
@force_option
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def gradients(
    run: str,
    data: str | None,
    estimators: tuple[str, ...],
    num_samples: int | None,
    num_repeats: int,
    batch_size: int | None,
    as_json: bool,
    out: str | None,
    force: bool,
    seed: int,
) -> None:
    """Repeat the gradient of one batch of RUN's test rows with several estimators, and describe its noise.

    For the parameters of the prior, the likelihood and the posterior each: the norm of the expected gradient, the
    variance of one (summed over the parameters), their signal-to-noise ratio, and the cosine of one and the expected.
    """
    import json
    from pathlib import Path

    from lowerbound.cli.gradient_noise import compare, print_comparison, to_json
    from lowerbound.cli.opened import fitted_of
    from lowerbound.cli.output import check_out, write_figure
    from lowerbound.cli.terminal import open_console
    from lowerbound.plots import gradient_noise
    from lowerbound.runs import Run

    opened = Run.open(run)
    path = opened.path / "gradients.png" if out is None else Path(out)
    if out is not None:
        check_out(path, opened, None, ".png", force=force)
    console = None if as_json else open_console()
    comparison = compare(
        opened,
        fitted_of(opened, data),
        console,
        names=estimators,
        num_samples=num_samples,
        num_repeats=num_repeats,
        batch_size=batch_size,
        seed=seed,
    )
    content = to_json(comparison)
    write_figure(path, gradient_noise(content["estimators"]), force=force or out is None)
    if console is None:
        click.echo(json.dumps(content, indent=2))
    else:
        print_comparison(console, comparison)
        say(f"Picture: {path}")
