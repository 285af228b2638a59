"""What goes with a prior or a posterior: the choices that it cannot do without, where the user says nothing of them.

Binary latents need a prior of bits and a gradient that is no derivative along z; a posterior without a density needs an
estimate of its rate. A class states such settings as `goes_with`, by name, in the words that a user would take; it
stands beside `cites`. A posterior that needs more than settings, such as nets of another shape, states as `recipe`
which recipe has these.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from lowerbound import posteriors, priors
from lowerbound.spelling import find, parse, spelled, takes

__all__ = ["company"]

_AXES = {"posterior": posteriors, "prior": priors}


def company(given: Mapping[str, Any]) -> dict[str, tuple[Any, str]]:
    """The settings that the prior and the posterior in what the user gave go with, and the reason for each.

    What they bring is asked in turn: a prior of bits brings a posterior of bits, which brings its gradient.

    Raises:
        ValueError: a posterior of codes without a prior of them, which a recipe of its own has.
    """
    _check_recipe(given)
    found: dict[str, tuple[Any, str]] = {}
    waiting = [axis for axis in _AXES if given.get(axis) is not None]
    while waiting:
        axis = waiting.pop()
        words = given[axis] if axis in given else found[axis][0]
        new = {name: value for name, value in _goes_with(axis, words).items() if name not in {**found, **given}}
        found |= {name: (value, f"goes with the {axis} {_called(words)}") for name, value in new.items()}
        waiting += [name for name in new if name in _AXES]
    return found


def _check_recipe(given: Mapping[str, Any]) -> None:
    words = given.get("posterior")
    recipe = getattr(_choice("posterior", words), "recipe", None)
    if recipe is not None and given.get("prior") is None:
        raise ValueError(
            f"The posterior {_called(words)} gives codes, which need nets and a prior of their own; take the recipe "
            f"{recipe}, which has them, and leave the posterior out."
        )


def _goes_with(axis: str, words: Any) -> dict[str, Any]:
    """What a choice states; where it brings the other part, with its own options that decide the shape of z, which
    both have.
    """
    found = dict(getattr(_choice(axis, words), "goes_with", {}))
    for other in found.keys() & _AXES.keys():
        brought = found[other]
        shape_of = getattr(_choice("posterior", words if axis == "posterior" else brought), "parameter_shape", None)
        deciding = [] if shape_of is None else list(inspect.signature(shape_of).parameters)[1:]  # after latent_dim
        own = parse(words)[1] if isinstance(words, str) else vars(words)
        shared = {key: own[key] for key in deciding if key in own and takes(_AXES[other], brought, key)}
        name, options = parse(brought)
        found[other] = spelled(name, {**shared, **options})
    return found


def _choice(axis: str, words: Any) -> Any:
    """The class, or the object that was given; None for a word that a recipe understands in its own way, or that nobody
    does, which making the model says.
    """
    if not isinstance(words, str):
        return words
    try:
        return find(_AXES[axis], parse(words)[0])
    except ValueError:
        return None


def _called(words: Any) -> str:
    return parse(words)[0] if isinstance(words, str) else type(words).__name__
