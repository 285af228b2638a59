"""`lowerbound sample`: draw new data from a fitted model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    import numpy as np

    from lowerbound.runs import Run

__all__ = ["sample"]


@click.command(short_help="Draw new data from a run.")
@click.argument("run")
@click.option("--class", "label", metavar="NAME", help="Of this class, from a run that was told labels. [default: any]")
@click.option("--count", type=click.IntRange(1), default=64, show_default=True, help="How many.")
@click.option("--out", required=True, metavar="FILE", help="A .png picture or an .npz archive.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def sample(run: str, label: str | None, count: int, out: str, seed: int) -> None:
    """Draw z ~ p(z), x ~ p(x | z) from RUN, of a class if it models data given their label.

    An .npz file gets the draws as `x` and E[x | z] as `mean`, in the units of the data. A .png picture shows E[x | z].
    """
    from pathlib import Path

    import torch

    from lowerbound.cli.output import check_suffix, write_figure, write_npz
    from lowerbound.cli.pictures import check_images, for_picture, in_units
    from lowerbound.data.classes import one_hot
    from lowerbound.plots import image_grid
    from lowerbound.randomness import forked
    from lowerbound.runs import Run

    path, opened = Path(out), Run.open(Path(run))
    check_suffix(path, ".png", ".npz")
    if path.suffix.lower() == ".png":
        check_images(opened)
    model, transform = opened.load_model(), opened.load_transform()
    labels = _labels(opened, label, count)
    context = None if labels is None else one_hot(labels, opened.settings.model["num_classes"])
    labelled = {} if labels is None else {"label": labels}
    with torch.no_grad(), forked(torch.device("cpu"), seed):
        x, mean = model.draw(count, context)
    if path.suffix.lower() == ".png":
        write_figure(path, image_grid(for_picture(mean), title=f"E[x | z] at {count} draws of z from the prior"))
    else:
        write_npz(path, x=in_units(transform, x), mean=in_units(transform, mean), **labelled)
    click.echo(f"Wrote {count} samples to {path}")


def _labels(run: Run, label: str | None, count: int) -> np.ndarray | None:
    """The class of each sample; None where the model draws it, or knows none."""
    import numpy as np

    from lowerbound.data.classes import class_named
    from lowerbound.recipes import recipe_named

    if recipe_named(run.settings.recipe).labels == "unused":
        if label is not None:
            raise click.UsageError(f"{run.path} was told no labels; leave out --class.")
        return None
    number = run.settings.model["num_classes"]
    if label is None:
        return np.arange(count) % number if run.is_conditional else None
    return np.full(count, class_named(label, number, run.dataset().label_names))
