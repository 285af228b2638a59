"""Gaps of series under a hidden Markov model against sums over all paths."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import Tensor

import lowerbound as lb
from lowerbound.models.hidden_markov import hidden_markov

NAN, T, K, D = float("nan"), 4, 3, 2
PATHS = list(itertools.product(range(K), repeat=T))


def some_model(likelihood: str = "mixed", **given: Any) -> Any:
    torch.manual_seed(0)
    model = hidden_markov((T, D), states=K, likelihood=likelihood, **given)
    for parameter in model.parameters():
        parameter.requires_grad_(False).normal_()
    return model


def some_series() -> np.ndarray:
    x = np.random.default_rng(1).normal(size=(3, T, D))
    x[0, 1], x[1, 2, 0], x[2, 2:] = NAN, NAN, NAN
    return x


def probabilities_of_paths(model: Any, x: np.ndarray) -> Tensor:
    """p(c | x) of every path (series, path), by the density of x given one path at a time."""
    series = torch.from_numpy(x).float()
    first, after = model.prior.initial.logits.log_softmax(0), model.prior.transition.logits.log_softmax(1)
    log_p = []
    for path in PATHS:
        z = torch.eye(K)[list(path)]
        moved = first[path[0]] + sum(after[one, other] for one, other in itertools.pairwise(path))
        log_p.append(moved + model.likelihood(z).log_prob(series))
    return torch.stack(log_p, 1).softmax(1)


def by_state(p: Tensor) -> Tensor:
    """p(c_t = k | x) (series, T, K), summed over paths."""
    return torch.einsum("bp,ptk->btk", p, torch.eye(K)[torch.tensor(PATHS)])


def test_means_and_quantiles_are_those_of_the_sum_over_all_paths() -> None:
    model, x = some_model(), some_series()
    fitted, gap = lb.Fitted(model, data=x), np.isnan(x)
    gamma, of_each = by_state(probabilities_of_paths(model, x)), model.likelihood.step(torch.eye(K)).parts[0]
    exact = torch.einsum("btk,kd->btd", gamma, of_each.mean).numpy()
    filled = fitted.impute(x)
    assert filled.dtype == x.dtype
    np.testing.assert_array_equal(filled[~gap], x[~gap])
    np.testing.assert_allclose(filled[gap], exact[gap], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        fitted.impute(x, num_samples=3), filled, rtol=1e-5
    )  # means are exact, so that no draw matters
    loc, scale = (each.numpy() for each in (of_each.mean, of_each.stddev))
    for level in (0.1, 0.5, 0.8):
        at = fitted.impute(x, statistic=level, num_samples=6000)
        below = (gamma.numpy()[:, :, None] * norm.cdf(at[..., None], loc.T, scale.T)).sum(-1)
        assert np.abs(below - level)[gap].max() < 5 * np.sqrt(0.25 / 2000)


def test_draws_have_the_moments_of_the_sum_over_all_paths() -> None:
    model, x = some_model(), some_series()
    gamma, of_each = by_state(probabilities_of_paths(model, x)), model.likelihood.step(torch.eye(K)).parts[0]
    draws = np.stack(lb.Fitted(model, data=x).imputations(x, 4000, num_samples=4000))
    mean = torch.einsum("btk,kd->btd", gamma, of_each.mean)
    variance = torch.einsum("btk,kd->btd", gamma, of_each.variance + of_each.mean**2) - mean**2
    gap = np.isnan(x)
    error = (variance.sqrt() / 4000**0.5).numpy()
    assert (np.abs(draws.mean(0) - mean.numpy())[gap] < 5 * error[gap]).all()
    np.testing.assert_array_equal(draws[:, ~gap], np.broadcast_to(x[~gap], (4000, (~gap).sum())))


def test_classes_are_filled_by_the_most_probable_one() -> None:
    model = some_model("categorical:num_classes=4")
    x = np.random.default_rng(0).integers(0, 4, size=(3, T, D)).astype(float)
    x[0, 1], x[1, 3], x[2, :2] = NAN, NAN, NAN
    gamma = by_state(probabilities_of_paths(model, x))
    p = model.likelihood.step(torch.eye(K))
    each = torch.stack([p.base_dist.log_prob(torch.full((K, D), float(c))).exp() for c in range(4)], -1)
    exact = torch.einsum("btk,kdc->btdc", gamma, each).argmax(-1).numpy()
    gap = np.isnan(x)
    filled = lb.Fitted(model, data=x).impute(x, num_samples=6000)
    np.testing.assert_array_equal(filled[gap], exact[gap])


def test_series_of_a_model_without_gaps_name_the_recipe_that_has_them() -> None:
    x = np.random.default_rng(0).normal(size=(20, 5, 2))
    fitted = lb.fit(x, "state-space:recurrent_dim=4", latent_dim=2, hidden=[4], steps=2)
    with pytest.raises(ValueError, match=r"takes no missing entries; gaps are filled .* recipe hidden-markov"):
        fitted.impute(x)
