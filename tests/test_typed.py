"""Values against annotations: each allowed value passes, each other one is a sentence that says what is expected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pytest
from torch import nn

from lowerbound import baselines, gradients, inference, likelihoods, losses, objectives, penalties, posteriors, priors
from lowerbound.nets import MLP
from lowerbound.spelling import build, choices
from lowerbound.typed import WrongType, annotations_of, as_annotated, in_words

AXES = (priors, likelihoods, posteriors, objectives, gradients, penalties, losses, inference, baselines)


@pytest.mark.parametrize(
    "value, annotation, expected",
    [
        (3, int, 3),
        (3.0, int, 3),
        (np.int64(3), int, 3),
        (3, float, 3.0),
        (True, bool, True),
        ("true", bool, True),
        ("a", str, "a"),
        (None, int | None, None),
        ([1, 2], tuple[int, ...], (1, 2)),
        ((1, 2.0), Sequence[int], [1, 2]),
        ([[1], [2, 3]], Sequence[Sequence[int]], [[1], [2, 3]]),
        ("rows", Literal["rows", "means"], "rows"),
        (2, float | Literal["shared"], 2.0),
        ("shared", float | Literal["shared"], "shared"),
    ],
)
def test_what_an_annotation_allows_passes(value: Any, annotation: Any, expected: Any) -> None:
    found = as_annotated(value, annotation)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    "value, annotation, words",
    [
        (2.5, int, "a whole number"),
        (True, int, "a whole number"),
        ("3", int, "a whole number"),
        (float("nan"), float, "a finite number"),
        (float("inf"), float, "a finite number"),
        (10**400, float, "a finite number"),
        ("abc", float, "a number"),
        (1, bool, "true or false"),
        (1, str, "a word"),
        ("row", Literal["rows", "means"], "rows or means"),
        (64, Sequence[int], "a list of whole numbers"),
        ([1, "2"], Sequence[int], "a list of whole numbers"),
        ([1, [2]], Sequence[int], "a list of whole numbers"),
        ("x", nn.Module, "only Python can give"),
        ({}, nn.Module, "only Python can give"),
        (b"", nn.Module, "only Python can give"),
        (None, int, "a whole number"),
    ],
)
def test_everything_else_is_refused_with_what_is_expected(value: Any, annotation: Any, words: str) -> None:
    with pytest.raises(WrongType, match=words):
        as_annotated(value, annotation)


def _numeric_options() -> list[tuple[Any, str, str]]:
    return [
        (axis, name, option)
        for axis in AXES
        for name, cls in choices(axis).items()
        for option, annotation in annotations_of(cls).items()
        if any(word in in_words(annotation) for word in ("number", "true"))
        and option not in ("latent_dim", "latent_shape", "event_shape", "num_data")
    ]


@pytest.mark.parametrize("axis, name, option", _numeric_options(), ids=lambda v: v if isinstance(v, str) else "")
@pytest.mark.parametrize("value", ["abc", [1, [2]], "''"])
def test_every_numeric_option_of_every_choice_refuses_a_word(axis: Any, name: str, option: str, value: Any) -> None:
    """The report: of 78 numeric options given "abc" 61 raised a bare TypeError and 16 accepted it."""
    given = {"net": MLP(3, [4], (2, 2)), "latent_dim": 2, "latent_shape": 2, "event_shape": (3,), "num_data": 10}
    with pytest.raises(ValueError, match=f"{name} got {option}="):
        build(axis, name, {option: value}, **given)
