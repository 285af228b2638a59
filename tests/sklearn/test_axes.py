"""An X without rows and columns is one short sentence, not the whole of X."""

import numpy as np
import pytest

from lowerbound.sklearn import VAE, FactorAnalysis

WIDE = np.arange(5000.0)


@pytest.mark.parametrize("estimator", [VAE(epochs=1), FactorAnalysis(2)])
@pytest.mark.parametrize("X", [WIDE, WIDE.tolist(), WIDE.reshape(10, 20, 25), 3.0])
def test_other_axes_are_refused_in_a_sentence(estimator, X) -> None:
    with pytest.raises(ValueError, match=r"X is .*; expected rows \(N, D\)\. Reshape your data") as caught:
        estimator.fit(X)
    assert len(str(caught.value)) < 300


def test_rows_of_unequal_length_are_refused() -> None:
    with pytest.raises(ValueError, match="X has rows that differ in length; give each row D columns"):
        VAE(epochs=1).fit([[1.0, 2.0], [3.0]])


def test_the_same_of_latents() -> None:
    X = np.random.default_rng(0).normal(size=(40, 3))
    with pytest.raises(ValueError, match=r"array of latents is .*; expected rows \(N, latent_dim\)"):
        FactorAnalysis(2).fit(X).inverse_transform(WIDE)
