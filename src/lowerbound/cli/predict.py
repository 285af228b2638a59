"""`lowerbound predict`: what comes after the first frames of clips."""

from __future__ import annotations

import click

from lowerbound.cli.options import force_option
from lowerbound.cli.others import Other, other_data, other_data_options, tell_all_are_taken
from lowerbound.cli.text import say

__all__ = ["predict"]


@click.command(short_help="Draw the frames that follow in clips.")
@click.argument("run")
@click.option("--given-frames", type=click.IntRange(1), required=True, help="How many frames of each clip are given.")
@other_data_options("Take clips of another file or data set. [default: the run's test rows]", ", which is left out.")
@click.option("--count", type=click.IntRange(1), default=8, show_default=True, help="How many clips, from the first.")
@click.option("--out", required=True, metavar="FILE", help="A .gif, .png or .npz file.")
@force_option
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def predict(run: str, given_frames: int, other: Other, count: int, out: str, force: bool, seed: int) -> None:
    """Draw the frames of clips after the first ones from RUN, which the recipe rate-distortion-video fitted.

    The codes of the given frames are those of the encoder. Those after them are drawn one after another, each given the
    ones before it, and all are decoded: what is shown is E[x | z], and another seed gives another future.

    A .gif file shows each clip beside its prediction, a .png their frames from left to right in pairs of lines. An .npz
    file gets the clips as `x` and the predictions as `prediction`, in the units of the data.
    """
    from pathlib import Path

    import numpy as np

    from lowerbound.cli.opened import fitted_of
    from lowerbound.cli.output import array_of, check_out, write_bytes, write_figure, write_npz
    from lowerbound.cli.pictures import check_clips, for_picture
    from lowerbound.data.kinds import kind_named
    from lowerbound.plots import clip_animation, image_grid
    from lowerbound.predicting import predicted_events
    from lowerbound.runs import Run

    path, opened = Path(out), Run.open(run)
    if opened.schema.kind != "video":
        raise click.UsageError(
            f"{run} is of kind {opened.schema.kind}; predict is for clips, fitted by the recipe rate-distortion-video."
        )
    check_out(path, opened, other.data, ".gif", ".png", ".npz", force=force)
    fitted = fitted_of(opened)
    rows = other_data(fitted, other) or fitted.test_rows()
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
    tell_all_are_taken(rows, count)
    say(f"Wrote {len(x)} predictions after {given_frames} frames to {path}")
