"""From the options of `fit` to a description of the data and the `Settings` of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from lowerbound.data import Dataset
    from lowerbound.fitting import Settings
    from lowerbound.recipes import Recipe

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


def make_settings(options: dict[str, Any], given: set[str], dataset: Dataset) -> Settings:
    """Settings of a run, with what was left open decided by the recipe and the data.

    Arguments:
        options: of `fit`, by the names of `Settings` and of `models.vae`; None where it was left open.
        given: the names of those that the user gave, which a recipe must take or refuse.
        dataset: the data.

    Raises:
        UsageError: both epochs and steps, or an option that the recipe does not take.
    """
    from lowerbound.fitting import Settings, takes_gradient
    from lowerbound.recipes import recipe_named
    from lowerbound.spelling import parse

    if options["epochs"] is not None and options["steps"] is not None:
        raise click.UsageError("--epochs and --steps both say how long to train; give one of them.")
    name, own = parse(options["recipe"])
    recipe = recipe_named(name)
    rest = {key: value for key, value in options.items() if key not in _OF_THE_MODEL and value is not None}
    rest |= {key: value for key, value in recipe.defaults.items() if key not in given}
    weighted = parse(rest["objective"])[0] == "iwae"
    if weighted:
        rest.setdefault("num_samples", 8)
        if takes_gradient(rest["loss"]):
            rest.setdefault("gradient", "dreg")
    if "steps" not in rest and "epochs" not in rest:
        rest["epochs"] = default_epochs(dataset, rest["batch_size"])
    if "epochs" in given:
        rest.pop("steps", None)
    model = {**_model_options(name, recipe, options, given, dataset), **own}
    return Settings(**{**rest, "recipe": name, "model": model})


def _model_options(
    name: str, recipe: Recipe, options: dict[str, Any], given: set[str], dataset: Dataset
) -> dict[str, Any]:
    """The keyword values of a recipe: for a plain autoencoder all of them; else those given, for others have defaults.

    Raises:
        UsageError: one that the recipe does not take.
    """
    from lowerbound.data.classes import num_classes

    strange = sorted((given & set(_OF_THE_MODEL)) - set(recipe.options))
    if strange:
        raise click.UsageError(
            f"--{strange[0].replace('_', '-')} is not an option of the {name} recipe, which has "
            f"{', '.join(recipe.options)}; write them as {name}:option=value."
        )
    wanted = _OF_THE_MODEL if name == "vae" else [key for key in _OF_THE_MODEL if key in given]
    model = {key: options[key] for key in wanted}
    if "likelihood" in recipe.options:
        model["likelihood"] = model.get("likelihood") or default_likelihood(dataset)
    if recipe.needs_classes:
        model["num_classes"] = num_classes(dataset, some_unlabelled=recipe.labels == "partial")
    return model


def default_likelihood(dataset: Dataset) -> str:
    """What the kind of data takes if nobody says."""
    return dataset.default_likelihood


def default_epochs(dataset: Dataset, batch_size: int) -> int:
    """A hundred, and more for little data, so that there are 8,000 steps at least."""
    return max(_FEWEST_EPOCHS, -(-_FEWEST_STEPS * batch_size // dataset.num_train))
