from __future__ import annotations

import numpy as np
import pytest

from lowerbound.sklearn.decide import decide_binarization, decide_columns, decide_likelihood, whole

BINARY = np.array([[0.0, 1.0], [1.0, 1.0]])
GREY = np.array([[0.0, 0.5], [0.25, 1.0]])
REAL = np.array([[0.0, 1.0], [-1.0, 3.0]])


@pytest.mark.parametrize("X, name", [(BINARY, "bernoulli"), (GREY, "bernoulli"), (REAL, "normal")])
def test_auto_likelihood_follows_the_range_of_the_data(X: np.ndarray, name: str) -> None:
    assert decide_likelihood("auto", X) == name


def test_a_likelihood_that_is_asked_for_is_kept() -> None:
    assert decide_likelihood("normal:scale=0.5", BINARY) == "normal:scale=0.5"


@pytest.mark.parametrize("name", ["Bernoulli", "bernoulli"])
def test_bernoulli_is_known_by_its_class(name: str) -> None:
    assert decide_likelihood(name, GREY) == "bernoulli"
    assert decide_binarization("auto", name, GREY) == "dynamic"


@pytest.mark.parametrize(
    "likelihood, X, expected",
    [("bernoulli", BINARY, "none"), ("bernoulli", GREY, "dynamic"), ("normal", GREY, "none")],
)
def test_auto_binarization(likelihood: str, X: np.ndarray, expected: str) -> None:
    assert decide_binarization("auto", likelihood, X) == expected


def test_a_binarization_without_bernoulli_is_refused() -> None:
    assert decide_binarization("none", "normal", REAL) == "none"
    with pytest.raises(ValueError, match="only 'bernoulli'"):
        decide_binarization("dynamic", "normal", REAL)


def test_auto_standardises_on_the_real_line_only() -> None:
    assert decide_columns("auto", "normal:scale=1.0", REAL, None).scale.tolist() == REAL.std(0).tolist()
    assert decide_columns("auto", "bernoulli", GREY, None).scale.tolist() == [1.0, 1.0]
    assert decide_columns(False, "normal", REAL, None).scale.tolist() == [1.0, 1.0]
    assert decide_columns(True, "bernoulli", GREY, None).scale.tolist() == GREY.std(0).tolist()


def test_whole_numbers() -> None:
    assert whole("latent_dim", np.int64(3)) == 3
    with pytest.raises(ValueError, match=r"latent_dim is 2\.5"):
        whole("latent_dim", 2.5)
