"""What goes with a prior or a posterior: the choices that it cannot do without, where the user says nothing of them.

Binary latents need a prior of bits and a gradient that is no derivative along z; a posterior without a density needs an
estimate of its rate. A class states such settings as `goes_with`, by name, in the words that a user would take; it
stands beside `cites`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lowerbound import posteriors, priors
from lowerbound.spelling import find, parse

__all__ = ["company"]

_AXES = {"posterior": posteriors, "prior": priors}


def company(given: Mapping[str, Any]) -> dict[str, tuple[Any, str]]:
    """The settings that the prior and the posterior in what the user gave go with, and the reason for each.

    What they bring is asked in turn: a prior of bits brings a posterior of bits, which brings its gradient.
    """
    found: dict[str, tuple[Any, str]] = {}
    waiting = [axis for axis in _AXES if given.get(axis) is not None]
    while waiting:
        axis = waiting.pop()
        words = given[axis] if axis in given else found[axis][0]
        new = {name: value for name, value in _goes_with(axis, words).items() if name not in {**found, **given}}
        found |= {name: (value, f"goes with the {axis} {_called(words)}") for name, value in new.items()}
        waiting += [name for name in new if name in _AXES]
    return found


def _goes_with(axis: str, words: Any) -> Mapping[str, Any]:
    """Nothing for a word that a recipe understands in its own way, or that nobody does, which making the model says."""
    try:
        choice = find(_AXES[axis], parse(words)[0]) if isinstance(words, str) else words
    except ValueError:
        return {}
    return getattr(choice, "goes_with", {})


def _called(words: Any) -> str:
    return parse(words)[0] if isinstance(words, str) else type(words).__name__
