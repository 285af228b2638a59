"""What Python may give as data, and the sentence about what it may not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
from sklearn.base import clone

import lowerbound as lb
from lowerbound.data import DataError
from lowerbound.data.given import dataset_of, rows_under
from lowerbound.data.overrides import Overrides
from lowerbound.data.remarks import DataWarning
from lowerbound.sklearn import VAE, FactorAnalysis, ProbabilisticPCA


@pytest.mark.parametrize(
    "data, sentence",
    [
        (None, "X is None; expected rows of numbers"),
        (5, "X is a single int; expected rows of numbers"),
        ({"a": [1, 2]}, "X is a single dict; expected rows of numbers"),
        ([[1, 2], [3]], "X is a list whose rows differ in length"),
        (np.ones(5), r"X has shape \(5,\); .*: a single column is X\[:, None\], a single row X\[None\]"),
        ([["a", "b"], ["c", "d"]], r"X has shape \(2, 2\) and type <U1"),
    ],
)
def test_other_things_are_named(data: Any, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence) as caught:
        dataset_of(data)
    assert len(str(caught.value)) < 300


def test_a_sparse_matrix_is_its_rows() -> None:
    x = np.random.default_rng(0).poisson(0.5, (40, 5))
    sparse, full = dataset_of(scipy.sparse.csr_matrix(x)), dataset_of(x)
    assert sparse.schema == full.schema
    np.testing.assert_array_equal(sparse.x_train, full.x_train)
    np.testing.assert_array_equal(rows_under(scipy.sparse.csr_matrix(x), full.schema).x, x)


def test_a_setting_that_is_none_is_named_without_a_recipe_that_nobody_named() -> None:
    with pytest.raises(ValueError, match="A fit has no setting 'stepz'; it has steps"):
        lb.fit(np.random.default_rng(0).normal(size=(20, 3)), stepz=3)


def test_the_shape_of_images_can_be_said_as_the_command_says_it() -> None:
    x = np.random.default_rng(0).integers(0, 256, (30, 16))
    fitted = lb.fit(x, kind="image:event_shape=[4,4]", steps=1, hidden=[4], latent_dim=1)
    assert fitted.sample(2).shape == (2, 4, 4)


@pytest.mark.parametrize(
    "data, said, part",
    [
        (np.zeros((9, 2)), {"hold_out": "no"}, "hold_out is 'no'; give True or False"),
        ("digits", {"hold_out": False}, "hold_out goes with a DataFrame or an array, and a str was given"),
        ("digits", {"y": [1, 2]}, "y goes with a DataFrame or an array"),
    ],
)
def test_what_would_be_passed_over_is_refused(as_users_run, data, said, part):
    with pytest.raises(DataError, match=part):
        dataset_of(data, **said)


def test_masked_entries_are_missing_and_not_the_values_below_the_mask() -> None:
    x = np.random.default_rng(0).normal(size=(40, 3))
    masked, gaps = np.ma.array(x, mask=x > 1), np.where(x > 1, np.nan, x)
    for road in (lambda X: dataset_of(X).x_train, lambda X: rows_under(X, dataset_of(gaps).schema).x):
        np.testing.assert_array_equal(road(masked), road(gaps))
    assert dataset_of(np.ma.array(x.round().astype(int), mask=x > 1)).schema.columns[0].missing == (x[:, 0] > 1).sum()
    np.testing.assert_array_equal(dataset_of(np.ma.array(x)).x_train, dataset_of(x).x_train)
    estimators = (FactorAnalysis(1), lb.VAE(1, hidden=[2], epochs=1, likelihood="mixed", random_state=0))
    for estimator in estimators:
        scores = [clone(estimator).fit(X).score_samples(X) for X in (masked, gaps)]
        np.testing.assert_array_equal(*scores)
    filled = clone(estimators[1]).fit(gaps).fitted_.impute(masked)
    assert type(filled) is np.ndarray
    np.testing.assert_array_equal(filled[x <= 1], x[x <= 1])
    assert (filled[x > 1] != x[x > 1]).all()


def test_tensors_with_gradients_and_of_half_precision_are_taken_on_every_road() -> None:
    x = torch.randn(30, 2, generator=torch.Generator().manual_seed(0))
    for given in (x.bfloat16(), x.clone().requires_grad_()):
        expected = given.detach().float().numpy()
        data = dataset_of(given)
        np.testing.assert_array_equal(rows_under(given, data.schema).x, expected)
        one, two = (ProbabilisticPCA(1).fit(X).score_samples(X) for X in (given, expected))
        np.testing.assert_array_equal(one, two)


def test_a_structured_array_is_named_as_what_it_is(tmp_path):
    fields = np.array([(1.0, 2), (3.0, 4)], dtype=[("age", "f8"), ("visits", "i4")])
    np.save(tmp_path / "x.npy", fields)
    np.savez(tmp_path / "x.npz", x=fields)
    message = "is a structured array with the fields 'age', 'visits'; .* make one with pandas.DataFrame"
    for given in (fields, tmp_path / "x.npy", tmp_path / "x.npz"):
        with pytest.raises(DataError, match=message):
            dataset_of(given)
    with pytest.raises(ValueError, match=message):
        VAE().fit(fields)


def test_bytes_that_may_be_clips_are_told_how_to_be_some(tmp_path):
    clips = np.random.default_rng(0).integers(0, 256, (12, 5, 6, 6), dtype=np.uint8)
    np.save(tmp_path / "clips.npy", clips)
    for given in (clips, tmp_path / "clips.npy"):
        with pytest.warns(
            DataWarning, match=r"bytes of 5 x 6 x 6, .* give \(N, 5, 1, 6, 6\), which x\[:, :, None\] is"
        ):
            assert dataset_of(given).kind == "array"
    assert dataset_of(clips[:, :, None]).kind == "video"
    dataset_of(clips, overrides=Overrides.said("array"))  # who says so knows it
    dataset_of(clips.astype(np.int16))
    dataset_of(clips[:, :3])


def test_what_is_printed_of_data_has_no_rows():
    rows = np.random.default_rng(0).normal(size=(50, 3))
    data = dataset_of(rows, list("ab") * 25)
    assert repr(data) == "Dataset 'X' (table): 40 training and 10 test rows of 3, with labels of 2 classes"
    assert repr(rows_under(rows, data.schema)) == "Rows of 'X' (table): 50 of 3"
