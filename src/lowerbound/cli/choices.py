"""`lowerbound choices`: how every choice is spelled, what it is, and which options it takes."""

from __future__ import annotations

from typing import Any

import click

__all__ = ["choices"]

_AXES = (
    "priors",
    "likelihoods",
    "missingness",
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
@click.option("--json", "as_json", is_flag=True, help="Print what NAME is, takes, needs and cites as JSON.")
def choices(axis: str | None, name: str | None, as_json: bool) -> None:
    """List the choices on AXIS (prior, likelihood, posterior, objective, ..., recipe), or what NAME is and takes.

    Write a choice as NAME or NAME:option=value,option=value. What goes with an objective or an estimator is found by
    trying it on small models, which takes some seconds.
    """
    from lowerbound.cli.terminal import open_console

    if as_json and name is None:
        raise click.UsageError("--json is for one choice; give AXIS and NAME, as in `choices objective iwae --json`.")

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
    if as_json:
        console.print_json(data=_told(found, word, item))
        return
    console.print(f"{word}: {_summary(item)}", markup=False)
    for line in (*_options(item), *_needs_in_words(_needs(found, word, item))):
        console.print(f"  {line}", markup=False)
    for work in _works(found, word, item):
        console.print(f"  cites {work.text}", markup=False)


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


def _told(axis: str, word: str, item: Any) -> dict[str, Any]:
    """All that is known of a choice, as plain values."""
    works = [{"key": work.key, "text": work.text} for work in _works(axis, word, item)]
    what = {"axis": axis, "name": word, "what": _summary(item), "options": _described(item)}
    return {**what, "needs": _needs(axis, word, item), "cites": works}


def _needs(axis: str, word: str, item: Any) -> dict[str, Any]:
    from lowerbound.cli.needs import needs_of

    return needs_of(axis, word, item)


def _needs_in_words(needs: dict[str, Any]) -> list[str]:
    """A line for each thing, and for each kind of latents."""
    lines = []
    for name, value in needs.items():
        if isinstance(value, dict):
            lines += [f"{name}, {kind}: {', '.join(others) or 'refused'}" for kind, others in value.items()]
        elif value != []:
            lines.append(f"{name}: {_in_words(value)}")
    return lines


def _in_words(value: Any) -> Any:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(value) if isinstance(value, list) else value


def _works(axis: str, word: str, item: Any) -> list[Any]:
    """Of a class, or of a recipe."""
    from lowerbound.cited import keys_of
    from lowerbound.recipes import recipe_named
    from lowerbound.references import work_of

    return [work_of(key) for key in (recipe_named(word).cites if axis == "recipes" else keys_of(item))]


def _summary(item: Any) -> str:
    """The first sentence of its own docstring, in one line; nothing where it has none, whatever it inherits from."""
    import inspect

    return " ".join(inspect.cleandoc(item.__doc__ or "").partition("\n\n")[0].split())


def _options(item: Any) -> list[str]:
    """Each option with its default and what it may be."""
    lines = [
        f"{option['name']}: {option['type']} ({'needed' if option['needed'] else 'default ' + option['default']})"
        for option in _described(item)
    ]
    return lines or ["no options"]


def _described(item: Any) -> list[dict[str, Any]]:
    """The options as plain values."""
    import inspect

    from lowerbound.typed import annotations_of, in_words

    annotations = annotations_of(item)
    given = (*_GIVEN, "latent_dim", "posterior", "likelihood") if inspect.isclass(item) else _GIVEN
    return [
        {
            "name": name,
            "type": in_words(annotations[name]),
            "default": "" if parameter.default is parameter.empty else str(parameter.default),
            "needed": parameter.default is parameter.empty,
        }
        for name, parameter in inspect.signature(item).parameters.items()
        if name not in given and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
