"""`lowerbound encode`: the codes of data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from torch import Tensor
    from torch.distributions import Distribution

    from lowerbound.cli.rows import Rows
    from lowerbound.runs import Run

__all__ = ["encode"]

_BLOCK, _DRAWS = 4096, 256


@click.command(short_help="Write the codes of data.")
@click.argument("run")
@click.option("--data", help="Encode another file or data set, all of it. [default: the run's test rows]")
@click.option("--label", help="Column (or array) of labels in --data; they are written beside the codes.")
@click.option("--out", required=True, metavar="FILE", help="A .npz, .csv or .parquet file.")
@click.option(
    "--refine", type=click.IntRange(0), default=0, metavar="STEPS", help="Improve each q(z | x) by optimisation."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the binarization of pixels.")
def encode(run: str, data: str | None, label: str | None, out: str, refine: int, seed: int) -> None:
    """Write the mean and the standard deviation of q(z | x) of each row of data, with its label if it has one, and as
    `assigned` the class or cluster that the model gives it, if it gives one.

    Rows come in the order of the file; of data with a training and a test part, the training part comes first.
    """
    from pathlib import Path

    from lowerbound.cli.output import check_suffix
    from lowerbound.cli.rows import all_rows
    from lowerbound.runs import Run

    path, opened = Path(out), Run.open(Path(run))
    check_suffix(path, ".npz", ".csv", ".parquet")
    opened.load_model()
    rows = all_rows(opened, data, label)
    mean, scale = _codes(opened, rows, refine, seed)
    _write(path, mean, scale, rows, _assigned(opened, rows, seed))
    click.echo(f"Wrote the codes of {len(mean)} rows of {rows.name} to {path}")


def _codes(run: Run, rows: Rows, refine: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Means and scales (N, latent_dim), a block of rows at a time."""
    import numpy as np
    import torch

    from lowerbound.inference import Local, with_inference
    from lowerbound.randomness import forked

    model, parts = run.load_model(), []
    if refine:
        model = with_inference(model, Local(num_steps=refine))
    for start in range(0, len(rows.x), _BLOCK):
        x = run.transformed(np.asarray(rows.x[start : start + _BLOCK]), seed + start)
        labels = None if rows.y is None else rows.y[start : start + _BLOCK]
        with torch.no_grad(), forked(torch.device("cpu"), seed, start):
            parts.append(_moments(model.infer(x, run.context(labels, rows.name))))
    mean, scale = (torch.cat(column).numpy() for column in zip(*parts, strict=True))
    return mean, scale


def _assigned(run: Run, rows: Rows, seed: int) -> dict[str, np.ndarray]:
    """The class or cluster of each row, from a model that says one."""
    import numpy as np

    from lowerbound.recipes import recipe_named
    from lowerbound.scoring import assignments

    if not recipe_named(run.settings.recipe).assigns:
        return {}
    model, blocks = run.load_model(), range(0, len(rows.x), _BLOCK)
    parts = [
        assignments(model, run.transformed(np.asarray(rows.x[i : i + _BLOCK]), seed + i), seed=seed) for i in blocks
    ]
    return {"assigned": np.concatenate(parts)}


def _moments(q: Distribution) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of z (B, latent): in closed form, or of 256 draws where q has none (flows)."""
    import torch

    from lowerbound.model import flat_latents
    from lowerbound.weights import latents_of

    try:
        mean, scale = q.mean, q.stddev
    except NotImplementedError:
        draws = flat_latents(latents_of(q, q.sample(torch.Size((_DRAWS,)))))
        scale, mean = torch.std_mean(draws, dim=0)
    return mean.flatten(1), scale.flatten(1)


def _write(path: Path, mean: np.ndarray, scale: np.ndarray, rows: Rows, assigned: dict[str, np.ndarray]) -> None:
    import numpy as np

    from lowerbound.cli.output import write_bytes, write_npz

    suffix = path.suffix.lower()
    if suffix == ".npz":
        labels = {} if rows.y is None else {"label": rows.y}
        names = {} if rows.label_names is None else {"label_names": np.array(rows.label_names)}
        write_npz(path, mean=mean, scale=scale, **assigned, **labels, **names)
    else:
        columns = {**_columns(mean, scale, rows), **assigned}
        write_bytes(path, _csv(columns) if suffix == ".csv" else _parquet(columns))


def _columns(mean: np.ndarray, scale: np.ndarray, rows: Rows) -> dict[str, np.ndarray]:
    """A table's columns by name; labels that are classes with names get them."""
    import numpy as np

    columns = {f"mean_{i}": mean[:, i] for i in range(mean.shape[1])}
    columns |= {f"scale_{i}": scale[:, i] for i in range(scale.shape[1])}
    if rows.y is not None:
        columns["label"] = rows.y if rows.label_names is None else np.array(rows.label_names)[rows.y]
    return columns


def _csv(columns: dict[str, np.ndarray]) -> bytes:
    """Comma-separated, with as many digits as tell one float32 from the next."""
    import csv
    import io

    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return stream.getvalue().encode()


def _parquet(columns: dict[str, np.ndarray]) -> bytes:
    import io

    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise click.ClickException("Writing .parquet needs pyarrow: pip install 'lowerbound[tables]'.") from None
    stream = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), stream)
    return stream.getvalue()
