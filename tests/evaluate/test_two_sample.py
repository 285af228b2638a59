"""A classifier tells samples apart as often as theory says the best one would, and equal ones half of the time."""

from __future__ import annotations

import math

import pytest
import scipy.stats
import torch
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis

from lowerbound.evaluate import classifier_two_sample, posterior_two_sample
from lowerbound.exact import LinearGaussian
from lowerbound.inference import HMC, InferenceWarning
from lowerbound.inference.draws import Draws

EXACT = LinearGaussian.random(4, 2, seed=1)


def exact_posterior(model, x, context):
    return EXACT.posterior(x)


def test_equal_samples_are_told_apart_half_of_the_time():
    found = classifier_two_sample(torch.randn(600, 2), torch.randn(600, 2))
    assert abs(found.value - 0.5) < 5 * found.standard_error
    assert found.standard_error == pytest.approx(0.5 / 1200**0.5, rel=0.02)


@pytest.mark.parametrize("classifier", [None, QuadraticDiscriminantAnalysis()])
def test_shifted_gaussians_are_told_apart_as_by_the_best_rule(classifier):
    found = classifier_two_sample(torch.randn(1000, 1), 2 + torch.randn(1000, 1), classifier=classifier)
    assert found.value == pytest.approx(scipy.stats.norm.cdf(1.0), abs=0.04)


def test_another_scale_of_many_correlated_latents_is_told():
    """The best rule looks at one sum of squares, of which points alone tell a perceptron nothing."""
    torch.manual_seed(0)
    mixing = torch.eye(16) + torch.randn(16, 16) / 4
    one, other = torch.randn(200, 16) @ mixing, 2 * torch.randn(200, 16) @ mixing
    at = 2 * 16 * math.log(2) / (1 - 1 / 4)
    best = 0.5 * (1 + scipy.stats.chi2.cdf(at, 16) - scipy.stats.chi2.cdf(at / 4, 16))
    assert classifier_two_sample(one, other).value > best - 0.08


def test_few_points_are_refused():
    with pytest.raises(ValueError, match="sample of 49 points"):
        classifier_two_sample(torch.randn(49, 2), torch.randn(100, 2))


def test_an_exact_q_passes_and_one_too_wide_is_caught():
    model, x = EXACT.model(), EXACT.sample(2)
    right = posterior_two_sample(model, x, exact_posterior, num_draws=400)
    assert bool(((right.accuracy.values - 0.5).abs() < 5 * right.accuracy.standard_error).all())
    assert right.num_draws.tolist() == [400, 400]
    with torch.no_grad():
        model.posterior.scale_tril *= 2
    wide = posterior_two_sample(model, x, exact_posterior, num_draws=400)
    assert float(wide.accuracy.values.min()) > 0.62  # the best rule has 0.74 for twice the scale in two dimensions


@pytest.mark.slow
def test_chains_are_thinned_to_what_they_are_worth():
    few = HMC(num_chains=8, num_warmup=100, num_samples=60, num_leapfrog=5)
    found = posterior_two_sample(EXACT.model(), EXACT.sample(1), few)
    assert 100 <= int(found.num_draws) <= 480
    assert abs(found.accuracy.values.item() - 0.5) < 5 * found.accuracy.standard_error.item()


def test_rows_without_trusted_chains_are_left_out_and_said():
    values = torch.randn(100, 4, 2, 2, dtype=torch.float64)
    values[:, 0, 1] += 5  # one chain of the second row is elsewhere
    draws = Draws(values, torch.ones(2), torch.zeros(2, dtype=torch.int64))
    assert draws.trusted.tolist() == [True, False]
    with pytest.warns(InferenceWarning, match="1 of 2 rows are not compared"):
        found = posterior_two_sample(EXACT.model(), EXACT.sample(2), lambda model, x, context: draws)
    assert found.accuracy.values.isnan().tolist() == [False, True]
    assert int(found.num_draws[1]) == 0
