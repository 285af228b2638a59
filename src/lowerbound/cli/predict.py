"""`lowerbound predict`: what comes next, in series with intervals and after the first frames of clips."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from lowerbound.cli.options import force_option
from lowerbound.cli.others import Other, other_data, other_data_options, tell_all_are_taken
from lowerbound.cli.text import say

if TYPE_CHECKING:
    from pathlib import Path

    from lowerbound.data import Rows
    from lowerbound.fitted import Fitted

__all__ = ["predict"]

_OF_CLIPS, _OF_SERIES = ("given_frames",), ("steps", "interval", "num_samples")


@click.command(short_help="Forecast series, or continue clips.")
@click.argument("run")
@click.option("--steps", type=click.IntRange(1), help="Of series: how many steps to forecast.")
@click.option(
    "--interval",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.9,
    show_default=True,
    help="Of series: the probability within the interval.",
)
@click.option(
    "--num-samples",
    type=click.IntRange(1),
    default=1000,
    show_default=True,
    help="Of series: draws for each, where a model is not exact.",
)
@click.option("--given-frames", type=click.IntRange(1), help="Of clips: how many frames of each are given.")
@other_data_options("Take another file or data set. [default: the run's test rows]", ", which is left out.")
@click.option("--count", type=click.IntRange(1), help="How many, from the first. [default: all series, 8 clips]")
@click.option(
    "--out", required=True, metavar="FILE", help="Of series .csv, .parquet, .npz or .png; of clips .gif, .png or .npz."
)
@force_option
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def predict(
    run: str,
    steps: int | None,
    interval: float,
    num_samples: int,
    given_frames: int | None,
    other: Other,
    count: int | None,
    out: str,
    force: bool,
    seed: int,
) -> None:
    """Say what follows in series, with intervals, or in clips.

    Of series `--steps 12 --interval 0.9` gives the mean, the median and the ends of an interval of 90 % of each number
    of the next 12 steps, after the last step of which anything was observed. hidden-markov gives them exactly, and
    mixture-of-factor-analysers up to the length of the series of its fit; state-space and autoregressive-rows without a
    latent by draws. A .csv or .parquet file has a row for each step with the columns of the data: each channel is the
    mean, and beside it stand NAME_median, NAME_lower and NAME_upper. An .npz file gets `mean`, `median`, `lower` and
    `upper` (series, step, channel). A .png shows the first three series.

    Of clips, which the recipe rate-distortion-video fitted, the codes of the given frames are those of the encoder.
    Those after them are drawn one after another, each given the ones before it, and all are decoded: what is shown is
    E[x | z], and another seed gives another future. A .gif file shows each clip beside its prediction, a .png their
    frames from left to right in pairs of lines. An .npz file gets the clips as `x` and the predictions as `prediction`,
    in the units of the data.
    """
    from pathlib import Path

    from lowerbound.cli.opened import fitted_of
    from lowerbound.cli.output import check_out
    from lowerbound.runs import Run

    path, opened = Path(out), Run.open(run)
    is_clips = opened.schema.kind == "video"
    if not is_clips and opened.schema.kind not in ("series", "array"):
        raise click.UsageError(
            f"{run} is of {opened.schema.rows_called}; predict is for series, and for clips that the recipe "
            "rate-distortion-video fitted."
        )
    _check_said(_OF_SERIES if is_clips else _OF_CLIPS, opened.schema.rows_called)
    if is_clips and given_frames is None:
        raise click.UsageError("Missing option --given-frames: how many frames of each clip are given.")
    if not is_clips and steps is None:
        raise click.UsageError("Missing option --steps: how many steps of each series to forecast.")
    endings = (".gif", ".png", ".npz") if is_clips else (".csv", ".parquet", ".npz", ".png")
    check_out(path, opened, other.data, *endings, force=force)
    fitted = fitted_of(opened)
    rows = other_data(fitted, other) or fitted.test_rows()
    if given_frames is not None:
        _of_clips(path, fitted, rows, given_frames, count or 8, seed)
    elif steps is not None:
        _of_series(path, fitted, rows, steps, interval, count, num_samples, seed)
    if count is not None:
        tell_all_are_taken(rows, count)


def _check_said(names: tuple[str, ...], what: str) -> None:
    """Refuse options of other data.

    Raises:
        UsageError: naming one.
    """
    context = click.get_current_context()
    for name in names:
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT:
            raise click.UsageError(f"--{name.replace('_', '-')} does not go with {what}; leave it out.")


def _of_series(
    path: Path, fitted: Fitted, rows: Rows, steps: int, interval: float, count: int | None, num_samples: int, seed: int
) -> None:
    import numpy as np

    from lowerbound.cli.output import write_figure, write_npz, write_table
    from lowerbound.data.series_of_rows import first_rows
    from lowerbound.plots import series_with_forecasts

    if fitted.schema.kind == "array" and path.suffix.lower() in (".csv", ".parquet"):
        raise click.UsageError(f"{fitted.called} is of arrays, which no {path.suffix} file holds; write .npz.")
    rows = rows if count is None else first_rows(rows, count)
    found = fitted.forecast(rows, steps, interval=interval, num_samples=num_samples, seed=seed)
    if path.suffix.lower() == ".npz":
        named = {} if found.names is None else {"series": np.array(found.names)}
        write_npz(path, **named, mean=found.mean, median=found.median, lower=found.lower, upper=found.upper)
    elif path.suffix.lower() == ".png":
        write_figure(path, series_with_forecasts(np.asarray(rows.x, dtype=np.float64), found))
    else:
        write_table(path, found.table())
    how = "exact" if found.exact else f"by {num_samples:,} draws of each"
    say(f"Wrote {steps} steps of {len(found.mean)} series with intervals of {100 * interval:g} %, {how}, to {path}")


def _of_clips(path: Path, fitted: Fitted, rows: Rows, given_frames: int, count: int, seed: int) -> None:
    import numpy as np

    from lowerbound.cli.output import array_of, write_bytes, write_figure, write_npz
    from lowerbound.cli.pictures import check_clips, for_picture
    from lowerbound.data.kinds import kind_named
    from lowerbound.plots import clip_animation, image_grid
    from lowerbound.verbs.predicting import predicted_events

    check_clips(fitted, min(count, len(rows.x)))
    x = np.asarray(rows.x[:count])
    seen = fitted.events(x, seed)
    again = predicted_events(fitted, seen, given_frames, seed=seed)
    if path.suffix.lower() == ".npz":
        stored = kind_named(fitted.schema.kind).render(x, fitted.schema)
        write_npz(path, x=array_of(stored), prediction=array_of(fitted.render(again)))
    elif path.suffix.lower() == ".gif":
        pairs = np.concatenate([part.numpy().clip(0, 1) for part in (seen, again)], -1)
        write_bytes(path, clip_animation(pairs))
    else:
        title = f"Clips, and below each what follows its first {given_frames} frames at one draw of z"
        both = np.stack([for_picture(seen), for_picture(again)], 1).reshape(-1, *for_picture(seen).shape[1:])
        write_figure(path, image_grid(both, 1, title=title))
    say(f"Wrote {len(x)} predictions after {given_frames} frames to {path}")
