"""`lowerbound choices`: how every choice is spelled, what it is, and which options it takes."""

from __future__ import annotations

from typing import Any

import click

__all__ = ["choices"]

_AXES = (
    "priors",
    "likelihoods",
    "posteriors",
    "objectives",
    "gradients",
    "baselines",
    "penalties",
    "losses",
    "inference",
    "optimizers",
    "schedules",
    "loggers",
)
_GIVEN = ("event_shape", "net", "num_data", "num_classes", "covariate_sizes", "model")
"""Arguments that the fit answers, not the user."""


@click.command(short_help="List the choices on each axis, and their options.")
@click.argument("axis", required=False)
@click.argument("name", required=False)
def choices(axis: str | None, name: str | None) -> None:
    """List the choices on AXIS (prior, likelihood, posterior, objective, ..., recipe), or what NAME is and takes.

    Write a choice as NAME or NAME:option=value,option=value.
    """
    from lowerbound.cli.terminal import open_console

    console = open_console()
    if axis is None:
        for each in (*_AXES, "recipes"):
            console.print(f"{each}: {', '.join(_known(each))}", markup=False)
        console.print(
            "\n`lowerbound choices AXIS` says what each is; `lowerbound choices AXIS NAME` its options.", markup=False
        )
        return
    found = _axis(axis)
    known = _known(found)
    if name is None:
        for each, item in known.items():
            console.print(f"{each}: {_summary(item)}", markup=False)
        return
    word, item = _chosen(found, known, name)
    console.print(f"{word}: {_summary(item)}", markup=False)
    for line in _options(item):
        console.print(f"  {line}", markup=False)


def _axis(text: str) -> str:
    """The axis of a singular or plural name."""
    wanted = text.lower().replace("_", "-")
    for axis in (*_AXES, "recipes"):
        if wanted in (axis, axis.removesuffix("s"), {"penalties": "penalty", "losses": "loss"}.get(axis)):
            return axis
    raise click.BadParameter(f"there is no axis {text[:40]!r}; choose one of {', '.join((*_AXES, 'recipes'))}.")


def _known(axis: str) -> dict[str, Any]:
    """The classes of an axis, or the functions of the recipes, by name."""
    import importlib

    from lowerbound.recipes import recipes
    from lowerbound.spelling import choices as of_package

    if axis == "recipes":
        return {name: recipe.make for name, recipe in recipes().items()}
    return dict(sorted(of_package(importlib.import_module(f"lowerbound.{axis}")).items()))


def _chosen(axis: str, known: dict[str, Any], name: str) -> tuple[str, Any]:
    import importlib

    from lowerbound.recipes import recipe_named
    from lowerbound.spelling import find

    if axis == "recipes":
        recipe = recipe_named(name)
        return recipe.name, recipe.make
    cls = find(importlib.import_module(f"lowerbound.{axis}"), name)
    return next(word for word, item in known.items() if item is cls), cls


def _summary(item: Any) -> str:
    """The first sentence of its own docstring, in one line; nothing where it has none, whatever it inherits from."""
    import inspect

    return " ".join(inspect.cleandoc(item.__doc__ or "").partition("\n\n")[0].split())


def _options(item: Any) -> list[str]:
    """Each option with its default and what it may be."""
    import inspect

    from lowerbound.typed import annotations_of, in_words

    annotations = annotations_of(item)
    given = (*_GIVEN, "latent_dim", "posterior") if inspect.isclass(item) else _GIVEN
    parameters = {n: p for n, p in inspect.signature(item).parameters.items() if n not in given}
    lines = []
    for name, parameter in parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        default = "needed" if parameter.default is parameter.empty else f"default {parameter.default}"
        lines.append(f"{name}: {in_words(annotations[name])} ({default})")
    return lines or ["no options"]
