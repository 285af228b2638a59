"""From the options of `fit` to a description of the data and the `Settings` of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from lowerbound.data import Dataset
    from lowerbound.fitting import Settings

__all__ = ["data_description", "default_epochs", "default_likelihood", "make_settings"]

_OF_THE_MODEL = ("prior", "likelihood", "posterior", "network", "activation", "latent_dim", "hidden")
_FEWEST_EPOCHS, _FEWEST_STEPS = 100, 8000


def data_description(data: str, label: str | None) -> dict[str, Any]:
    """How to get the data again: a name of the catalogue, or the absolute path of a file.

    Raises:
        DataError: it is neither a name nor looks like a file.
        UsageError: a label for a named data set, which has its own.
    """
    from lowerbound.data import entry, names
    from lowerbound.data.readers import SUFFIXES

    if data not in names() and (Path(data).exists() or "/" in data or data.lower().endswith(SUFFIXES)):
        return {"path": str(Path(data).resolve()), "label": label}
    known = entry(data)
    if label is not None:
        raise click.UsageError(f"--label is for files, and {known.name} has its labels already; leave it out.")
    return {"name": known.name}


def make_settings(options: dict[str, Any], dataset: Dataset) -> Settings:
    """Settings of a run, with what was left open decided by the data.

    Arguments:
        options: of `fit`, by the names of `Settings` and of `models.vae`; None where it was left open.
        dataset: the data.

    Raises:
        UsageError: both epochs and steps.
    """
    from lowerbound.fitting import Settings, takes_gradient
    from lowerbound.models import parse

    if options["epochs"] is not None and options["steps"] is not None:
        raise click.UsageError("--epochs and --steps both say how long to train; give one of them.")
    model = {name: options[name] for name in _OF_THE_MODEL}
    model["likelihood"] = model["likelihood"] or default_likelihood(dataset)
    weighted = parse(options["objective"])[0] == "iwae"
    rest: dict[str, Any] = {"num_samples": 8} if weighted else {}
    if weighted and takes_gradient(options["loss"]):
        rest["gradient"] = "dreg"
    rest |= {name: value for name, value in options.items() if name not in _OF_THE_MODEL and value is not None}
    if "steps" not in rest and "epochs" not in rest:
        rest["epochs"] = default_epochs(dataset, rest["batch_size"])
    return Settings(model=model, **rest)


def default_likelihood(dataset: Dataset) -> str:
    """Bernoulli for images and for tables of 0 and 1; a Gaussian with a scale for each column for other tables."""
    from lowerbound.data.blocks import row_blocks

    if dataset.kind == "image":
        return "bernoulli"
    blocks = (block for _, block in row_blocks(dataset.x_train, dataset.train_rows))
    return "bernoulli" if all(((b == 0) | (b == 1)).all() for b in blocks) else "normal:scale=per-dimension"


def default_epochs(dataset: Dataset, batch_size: int) -> int:
    """A hundred, and more for little data, so that there are 8,000 steps at least."""
    return max(_FEWEST_EPOCHS, -(-_FEWEST_STEPS * batch_size // dataset.num_train))
