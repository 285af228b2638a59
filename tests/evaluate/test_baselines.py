"""Baselines against closed forms and known generators."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats

from lowerbound.evaluate import BernoulliMixture, bernoulli_mixture, gaussian, gaussian_mixture, independent_bernoulli


def two_clusters(num_rows):
    centres = torch.tensor([[0.9] * 10, [0.1] * 10], dtype=torch.float64)
    return centres[torch.randint(2, (num_rows,))].bernoulli(), centres


def test_independent_bernoulli_by_hand():
    train = torch.tensor([[1.0, 0.0], [1.0, 1.0], [1.0, 0.0]])
    got = independent_bernoulli(train, torch.tensor([[1.0, 1.0], [0.0, 0.0]]))
    a, b = 3.5 / 4, 1.5 / 4  # half a pseudo-count of each value
    expected = torch.tensor([math.log(a * b), math.log((1 - a) * (1 - b))])
    assert torch.allclose(got, expected)


def test_images_are_flattened_and_probabilities_are_counts():
    grey = torch.rand(50, 3, 4)
    test = torch.rand(7, 3, 4).bernoulli()
    mean = (grey.sum(0) + 0.5) / 51
    expected = (test * mean.log() + (1 - test) * (1 - mean).log()).sum((1, 2))
    assert torch.allclose(independent_bernoulli(grey, test), expected, atol=1e-5)


@pytest.mark.parametrize("values", ["binary", "probabilities"])
def test_em_never_falls(values):
    x = torch.rand(200, 12, dtype=torch.float64) ** 3
    x = x.bernoulli() if values == "binary" else x
    for seed in range(3):
        history = torch.tensor(BernoulliMixture.fit(x, 5, seed=seed, tolerance=0.0).history, dtype=torch.float64)
        assert len(history) > 5
        assert (history.diff() > -1e-8).all()


def test_a_mixture_finds_two_clusters():
    train, centres = two_clusters(2000)
    test, _ = two_clusters(1000)
    mixture = BernoulliMixture.fit(train, 2)
    found = mixture.logits.sigmoid()
    assert torch.allclose(found[found[:, 0].argsort()], centres.flip(0), atol=0.06)
    each = (test[:, None] * centres.log() + (1 - test[:, None]) * (1 - centres).log()).sum(-1)
    truth = torch.logsumexp(each, 1) - math.log(2)
    got = bernoulli_mixture(train, test, components=(1, 2, 8))
    assert got.shape == (1000,)
    assert abs(got.mean() - truth.mean()) < 0.03
    assert independent_bernoulli(train, test).mean() < truth.mean() - 1


def test_a_mixture_is_normalised():
    train, _ = two_clusters(100)
    mixture = BernoulliMixture.fit(train[:, :6], 3)
    everything = torch.cartesian_prod(*[torch.arange(2.0, dtype=torch.float64)] * 6)
    assert math.isclose(mixture.log_prob(everything).exp().sum().item(), 1.0, rel_tol=1e-9)


def test_unseen_values_have_positive_probability():
    train, test = torch.zeros(20, 4), torch.ones(1, 4)
    assert BernoulliMixture.fit(train, 3).log_prob(test).isfinite().all()


def test_one_gaussian_is_the_multivariate_normal():
    train = torch.randn(300, 3, dtype=torch.float64) @ torch.randn(3, 3, dtype=torch.float64)
    test = torch.randn(20, 3, dtype=torch.float64)
    covariance = train.T.cov(correction=0).numpy()
    expected = stats.multivariate_normal(train.mean(0).numpy(), covariance).logpdf(test.numpy())
    got = gaussian_mixture(train, test, components=(1,))
    assert torch.allclose(got, torch.from_numpy(expected), rtol=1e-3)


def test_the_number_of_gaussians_is_chosen_on_held_out_data():
    x = torch.randn(600, 2, dtype=torch.float64) + 8 * torch.randint(3, (600, 1))
    several = gaussian_mixture(x[:500], x[500:], components=(1, 3))
    assert several.mean() > gaussian_mixture(x[:500], x[500:], components=(1,)).mean() + 0.3


def test_one_gaussian_by_its_name():
    x = torch.randn(200, 3, dtype=torch.float64)
    assert torch.equal(gaussian(x, x), gaussian_mixture(x, x, components=(1,)))


@pytest.mark.parametrize("mixture", [bernoulli_mixture, gaussian_mixture])
def test_the_size_of_a_mixture_is_chosen_on_rows_that_it_is_not_fitted_to(mixture):
    """On pure noise more components always fit the training rows better and new rows worse."""
    x = torch.rand(200, 8, dtype=torch.float64)
    x = x.round() if mixture is bernoulli_mixture else x
    train, test, sizes = x[:60], x[60:], (1, 20)
    fits = [mixture(train, train, components=(size,)).mean() for size in sizes]
    assert fits[1] > fits[0] + 0.2  # what a choice on training rows would take
    assert torch.equal(mixture(train, test, components=sizes), mixture(train, test, components=(1,)))


def test_refusals():
    x = torch.rand(5, 2)
    with pytest.raises(ValueError, match=r"outside \[0, 1\]"):
        independent_bernoulli(2 * x + 1, x)
    with pytest.raises(ValueError, match="num_components=6"):
        BernoulliMixture.fit(x, 6)
    with pytest.raises(ValueError, match="give fewer"):
        bernoulli_mixture(x, x, components=(10,))
