"""What the data decide about a likelihood that the user names: classes, levels, columns; and what stays in units."""

from __future__ import annotations

import numpy as np
import pandas
import pytest

import lowerbound as lb
from lowerbound.data.given import dataset_of
from lowerbound.data.overrides import Overrides
from lowerbound.fitting.from_data import completed
from lowerbound.fitting.planning import plan

DRAWS = np.random.default_rng(0)
CLASSES = DRAWS.integers(0, 4, (60, 3))
IMAGES = DRAWS.integers(0, 6, (60, 4, 4)).astype(np.uint8)
TINY = {"steps": 2, "latent_dim": 1, "hidden": [4]}


@pytest.mark.parametrize(
    "said, data, whole",
    [
        ("categorical", CLASSES, "categorical:num_classes=4"),
        ("categorical", CLASSES + 300, "categorical:num_classes=304"),
        ("categorical:num_classes=9", CLASSES, "categorical:num_classes=9"),
        ("categorical", CLASSES + 0.5, "categorical"),
        ("mixed", CLASSES.astype(float) + 0.25, "mixed:columns=3*continuous"),
        ("normal:scale=shared", CLASSES, "normal:scale=shared"),
    ],
)
def test_the_data_decide_what_is_not_said(said, data, whole):
    assert completed(said, dataset_of(data)) == whole


@pytest.mark.parametrize("name", ["categorical", "discretized-logistic", "autoregressive:site=categorical"])
def test_images_have_as_many_classes_or_levels_as_their_schema(name):
    dataset = dataset_of(IMAGES)
    levels = dataset.schema.pixel_levels
    assert str(levels) in completed(name, dataset)
    assert plan(dataset, likelihood=name, **TINY).model["likelihood"] == completed(name, dataset)


@pytest.mark.parametrize("kind, rows", [("text", ["a b", "b c", "c a"] * 4), ("molecules", ["CCO", "CCN", "CC"] * 4)])
def test_tokens_have_the_symbols_of_the_data(kind, rows):
    dataset = dataset_of(rows, overrides=Overrides.said(kind))
    assert completed("tokens:layers=1", dataset) == dataset.default_likelihood.replace("tokens:", "tokens:layers=1,")


def test_a_class_that_the_data_do_not_have_is_refused():
    fitted = lb.fit(CLASSES, likelihood="categorical", **TINY)
    assert fitted.sample(200).max() <= 3
    with pytest.raises(ValueError, match=r"holds 7 at row 1, column '0'; Categorical takes class numbers 0, …, 3"):
        fitted.score(np.array([[0, 1, 2], [7, 0, 0]]))


@pytest.mark.parametrize(
    "likelihood, data",
    [
        ("poisson", DRAWS.poisson(20_000, (60, 2))),
        ("poisson", DRAWS.integers(250, 254, (60, 2))),
        ("categorical", DRAWS.integers(300, 304, (60, 2))),
        ("beta", DRAWS.normal(0.5, 0.0005, (60, 2))),
    ],
)
def test_columns_that_hardly_vary_keep_their_units_where_the_support_needs_them(likelihood, data):
    """They were centred like time stamps, and refused for values that nobody had given."""
    fitted = lb.fit(data, likelihood=likelihood, **TINY)
    assert type(fitted.transform).__name__ == "Identity"
    assert np.isfinite(fitted.score(data[:3], num_samples=2)).all()


def test_a_refused_number_is_that_of_the_user():
    frame = pandas.DataFrame(DRAWS.normal(50, 5, (60, 2)), columns=["a", "b"])
    fitted = lb.fit(frame, likelihood="normal", **TINY)
    frame.loc[4, "b"] = 1e25
    with pytest.raises(ValueError, match=r"holds 1e\+25 at row 4, column 'b'"):
        fitted.score(frame)


def test_a_second_stage_is_no_longer_than_a_first_whose_length_is_said():
    dataset = dataset_of(IMAGES)
    assert plan(dataset, "fsq").model["prior_epochs"] == 100
    assert plan(dataset, "fsq", steps=3).model["prior_epochs"] == 3
    assert plan(dataset, "fsq", steps=3, prior_epochs=7).model["prior_epochs"] == 7
