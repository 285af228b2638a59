"""Differences between fits, against closed forms; runs that cannot be compared are refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch

import lowerbound as lb
from lowerbound.data import Dataset
from lowerbound.exact import LinearGaussian
from lowerbound.fitted import Fitted
from lowerbound.report import render_comparison
from lowerbound.verbs import comparison
from lowerbound.verbs.comparison import Comparison, compare, holm

EXACT = LinearGaussian.random(3, 1, seed=1, dtype=torch.float32)
SMALL: dict[str, Any] = {"latent_dim": 1, "hidden": [4], "steps": 3, "num_samples": 2, "device": "cpu"}
RNG = np.random.default_rng(0)
REAL, OTHER, COUNTS = RNG.normal(size=(60, 3)), RNG.normal(size=(60, 3)), RNG.poisson(3, size=(60, 3))


def by_hand(exact: LinearGaussian, data: Any, name: str) -> Fitted:
    return Fitted(exact.model(), data=data, name=name)


@pytest.fixture(scope="module")
def pair() -> tuple[Comparison, np.ndarray]:
    """The true model and one whose offset is wrong, and log p of each on the test rows."""
    torch.manual_seed(3)
    data = Dataset.from_array(EXACT.sample(400).numpy())
    wrong = LinearGaussian(EXACT.weight, EXACT.offset + 0.3, EXACT.scale)
    rows = torch.from_numpy(data.x_test).float()
    known = torch.stack([one.log_evidence(rows) for one in (wrong, EXACT)]).double().numpy()
    return compare(by_hand(wrong, data, "wrong"), by_hand(EXACT, data, "right"), num_samples=8), known


def test_scores_and_differences_are_those_of_the_closed_form(pair):
    found, known = pair  # q is exact, so that L_K is log p(x)
    np.testing.assert_allclose(found.scores, known, atol=1e-4)
    assert (found.names, found.best) == (("wrong", "right"), 1)
    apart = known[0] - known[1]
    error = apart.std(ddof=1) / math.sqrt(apart.size)
    wrong, right = found.differences
    assert wrong.mean == pytest.approx(apart.mean(), abs=1e-4)
    assert wrong.standard_error == pytest.approx(error, rel=1e-3)
    assert wrong.p_value == pytest.approx(2 * scipy.stats.norm.sf(-apart.mean() / error), rel=0.02)
    assert (right.mean, right.standard_error, right.p_value) == (0, 0, 1)
    assert wrong.standard_error < 0.5 * found.standard_errors.min()  # what pairing is for


def test_equal_models_do_not_differ():
    data = Dataset.from_array(REAL)
    found = compare(*(by_hand(EXACT, data, "same") for _ in range(3)), num_samples=4)
    assert found.names == ("same", "same (2)", "same (3)")
    assert all(d.mean == 0 and d.p_value == 1 for d in found.differences)
    assert "2 comparisons" in found.note
    assert not found.settings


def test_holm_against_its_definition():
    p = np.array([0.01, 0.04, 0.03, 0.005])
    np.testing.assert_allclose(holm(p), [0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.9, 0.8])).tolist() == [1.0, 1.0]


def test_the_settings_that_differ_and_no_others():
    one, two = (lb.fit(REAL, "vae", lr=lr, **SMALL) for lr in (1e-3, 2e-3))
    found = compare(one, two, num_samples=4)
    assert found.settings == {"lr": (1e-3, 2e-3)}
    assert found.units == "densities"
    assert compare(one, two, num_samples=4, limit=5).scores.shape == (2, 5)
    page = render_comparison(found)
    assert page.count("<img") == 2
    assert "<td>0.001</td><td>0.002</td>" in page
    assert "<td>best</td>" in page


def test_the_page_escapes_names(pair):
    found, _ = pair
    hostile = Comparison(**{**vars(found), "names": ("<script>", "b")})
    assert "<script" not in render_comparison(hostile)


def test_other_kinds_of_densities_of_one_table_are_of_like_units():
    one = lb.fit(REAL, "vae", likelihood="normal", **SMALL)
    two = lb.fit(REAL, "vae", likelihood="mixed:columns=3*continuous", **SMALL)
    assert compare(one, two, num_samples=4).scores.shape == (2, 12)


@pytest.mark.parametrize(
    "one, two, sentence",
    [
        ((REAL, {}), (OTHER, {}), "is of other data"),
        ((REAL, {}), (REAL, {"hold_out": False}), "holds out 0 rows and vae 12"),
        ((REAL, {"hold_out": False}), (REAL, {"hold_out": False}), "has no test rows"),
        ((COUNTS, {"likelihood": "poisson"}), (COUNTS, {"likelihood": "normal"}), "densities and of vae probabilities"),
    ],
)
def test_runs_that_cannot_be_compared(one, two, sentence):
    fits = [lb.fit(rows, "vae", **SMALL, **options) for rows, options in (one, two)]
    with pytest.raises(ValueError, match=sentence):
        compare(*fits, num_samples=2)


def test_binarizations_are_other_units():
    grey = RNG.random((60, 4, 4)).astype(np.float32)
    fits = [lb.fit(grey, "vae", binarization=how, **SMALL) for how in ("dynamic", "threshold", "none")]
    with pytest.raises(ValueError, match=r"0 or 1 \(threshold\) and of vae probabilities of pixels made 0 or 1 \(dyn"):
        compare(fits[0], fits[1])
    with pytest.raises(ValueError, match="expected log-probabilities of grey values"):
        compare(fits[0], fits[2])


@pytest.mark.parametrize("runs", [[], {"a": 1}, 5], ids=str)
def test_runs_are_given_one_after_another(runs):
    with pytest.raises(ValueError, match=rf"compare got a {type(runs).__name__}; give .* as in compare\(a, b\)"):
        comparison._opened([runs])


def test_one_run_is_too_few():
    with pytest.raises(ValueError, match="got 1 run and needs at least two"):
        compare(by_hand(EXACT, REAL, "a"))
