"""Draws of every distribution written here have the mean and the variance that it states."""

import pytest
import torch

from lowerbound.likelihoods.beta import BetaDistribution
from lowerbound.likelihoods.categorical import CategoricalDistribution
from lowerbound.likelihoods.continuous_bernoulli import ContinuousBernoulliDistribution
from lowerbound.likelihoods.count_table import CountTableDistribution
from lowerbound.likelihoods.discretized_logistic import DiscretizedLogisticDistribution
from lowerbound.likelihoods.negative_binomial import NegativeBinomialDistribution
from lowerbound.likelihoods.poisson import PoissonDistribution
from lowerbound.likelihoods.student_t import StudentTDistribution
from lowerbound.likelihoods.zero_inflated import ZeroInflatedDistribution

NUM_DRAWS = 20_000
BOUND = 5.7  # two-sided 1e-8 for each of at most 100 comparisons: 1e-6 for the whole of a test


def t(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


CASES = {
    "beta": BetaDistribution(t(0.1, 0.5, 0.7), t(2.0, 0.7, 50.0)),
    "categorical": CategoricalDistribution(torch.randn(3, 5, dtype=torch.float64, generator=torch.manual_seed(1))),
    "continuous bernoulli": ContinuousBernoulliDistribution(t(-30.0, -0.7, 0.0, 1e-3, 4.0)),
    "count table": CountTableDistribution(torch.randn(3, 5, dtype=torch.float64, generator=torch.manual_seed(2))),
    "discretized logistic": DiscretizedLogisticDistribution(t(-0.9, 0.0, 0.5), t(0.3, 0.002, 0.05)),
    "negative binomial": NegativeBinomialDistribution(t(0.5, 4.0, 200.0), t(3.0, 1.0, 1e8)),
    "poisson": PoissonDistribution(t(0.01, 3.0, 1e4)),
    "student": StudentTDistribution(t(12.0, 1e6), t(1.0, -2.0), t(0.3, 2.0)),
    "zero-inflated": ZeroInflatedDistribution(t(-1.0, 2.0), PoissonDistribution(t(3.0, 7.0))),
}


@pytest.mark.parametrize("name", CASES)
def test_draws_have_the_stated_moments(name):
    """By z-tests; a mean that is wrong by 0.04 standard deviations is detected."""
    p = CASES[name]
    x = p.sample((NUM_DRAWS,)).double()
    error = (p.variance / NUM_DRAWS).sqrt()
    assert ((x.mean(0) - p.mean).abs() < BOUND * error).all()
    square = (x - p.mean) ** 2
    assert ((square.mean(0) - p.variance).abs() < BOUND * square.std(0) / NUM_DRAWS**0.5).all()


@pytest.mark.parametrize("name", CASES)
def test_expand_keeps_every_setting(name):
    p = CASES[name]
    wide = p.expand((4, *p.batch_shape))
    torch.testing.assert_close(wide.mean, p.mean.expand(4, *p.batch_shape))
    x = p.sample()
    torch.testing.assert_close(wide.log_prob(x), p.log_prob(x).expand(4, *p.batch_shape))
