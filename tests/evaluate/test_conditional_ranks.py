"""The leave-one-out PIT against Gaussian conditioning; it sees what ranks of single columns cannot."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from torch import nn
from torch.distributions import MultivariateNormal, Normal

import lowerbound as lb
from lowerbound.evaluate import conditional_ranks, least_uniform, predictive_checks
from lowerbound.evaluate.predictive_statistics import number_statistics, table_statistics
from lowerbound.evaluate.ranks_given_others import has_conditionals
from lowerbound.exact import LinearGaussian
from lowerbound.linear import FactorAnalysers
from lowerbound.models.mixture_of_factor_analysers import model_of

TRUTH = LinearGaussian(
    torch.tensor([[1.0, 0.0], [0.8, 0.5], [-0.6, 0.7]]), torch.tensor([0.5, -1.0, 2.0]), torch.tensor([0.3, 0.4, 0.5])
)
COVARIANCE = (TRUTH.weight @ TRUTH.weight.T + torch.diag(TRUTH.scale**2)).double()
NUM_DRAWS = 63


def exact_model(truth):
    return model_of(FactorAnalysers(torch.ones(1), (truth,)))


def rows(count):
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(5)
        return TRUTH.sample(count).float()


def closed_form(x):
    """Φ((x_d − m_d) / s_d) of p(x_d | x_others), by the precision matrix."""
    precision, away = torch.linalg.inv(COVARIANCE), x.double() - TRUTH.offset.double()
    variance = 1 / precision.diag()
    mean = away - variance * (away @ precision)
    return Normal(mean, variance.sqrt()).cdf(away)


@pytest.mark.parametrize("make", [exact_model, LinearGaussian.model], ids=["takes NaN", "independent elements"])
def test_they_are_those_of_gaussian_conditioning(make):
    x = rows(200)
    u, expected = conditional_ranks(make(TRUTH), x, num_draws=NUM_DRAWS, seed=1), closed_form(x)
    off = (u - expected) / ((expected * (1 - expected) / NUM_DRAWS).sqrt() + 1 / NUM_DRAWS)
    assert float(off.abs().nan_to_num().max()) < 5
    assert abs(float((u - expected).nanmean())) < 5 * 0.06 / (200 * 3) ** 0.5
    assert int(u.isnan().sum()) <= (0 if make is exact_model else 9)


def test_of_a_right_model_they_are_uniform():
    u = conditional_ranks(exact_model(TRUTH), rows(400), num_draws=NUM_DRAWS)
    assert all(kstest(column, "uniform").pvalue > 1e-4 for column in u.T.numpy())
    assert min(one.p_value for one in least_uniform(u)) > 1e-4


def with_weights(factor):
    """The variance of each column as it is, and more of it (factor > 1) or none of it (0) shared."""
    weight = TRUTH.weight * factor
    return exact_model(
        LinearGaussian(weight, TRUTH.offset, (COVARIANCE.diag() - weight.square().sum(1)).sqrt().float())
    )


def test_columns_tied_too_closely_pass_alone_and_fail_given_the_others():
    model, x = with_weights(1.04), rows(400)
    alone = predictive_checks(model, x, number_statistics, num_replicates=63).ranks
    assert min(one.p_value for one in least_uniform(alone)) > 1e-4
    found = least_uniform(conditional_ranks(model, x))[0]
    assert found.p_value < 1e-3
    assert found.words == "too narrow"


def test_columns_taken_for_independent_are_seen_by_their_correlations_only():
    model, x = with_weights(0.0), rows(400)
    assert min(one.p_value for one in least_uniform(conditional_ranks(model, x))) > 1e-4
    names = ("a", "b", "c")
    found = predictive_checks(model, x, lambda rows: table_statistics(rows, names, (None,) * 3), num_replicates=63)
    assert [name for name, check in found.checks.items() if abs(check.distance) > 5] == [
        "a and b: correlation",
        "a and c: correlation",
    ]


def test_gaps_are_not_judged():
    x = rows(30)
    x[::3, 1] = torch.nan
    u = conditional_ranks(exact_model(TRUTH), x, num_columns=2)
    assert u.shape == (30, 2)
    assert torch.equal(u.isnan(), x[:, :2].isnan())
    assert [one.column for one in least_uniform(u)] in ([0, 1], [1, 0])
    assert len(least_uniform(u[:19])) == 0


def test_elements_that_depend_on_each_other_given_z_are_refused():
    p = MultivariateNormal(torch.zeros(3), torch.eye(3))
    other = lb.LatentVariableModel(
        prior=lb.priors.StandardNormal(2), likelihood=Same(p), posterior=TRUTH.model().posterior
    ).eval()
    with pytest.raises(ValueError, match="independent given z"):
        conditional_ranks(other, rows(5))
    assert not has_conditionals(other, rows(5))
    assert has_conditionals(TRUTH.model(), rows(5))
    assert not has_conditionals(TRUTH.model(), rows(5)[:, None])


class Same(nn.Module):
    def __init__(self, p):
        super().__init__()
        self.p = p

    def forward(self, z):
        return self.p.expand(z.shape[:-1])


def test_what_is_off_is_said():
    generator = np.random.default_rng(0)
    u = generator.uniform(size=(500, 4))
    u[:, 1], u[:, 2], u[:, 3] = u[:, 1] ** 3, generator.beta(3, 3, 500), generator.beta(0.4, 0.4, 500)
    found = {one.column: one for one in least_uniform(torch.from_numpy(u))}
    assert {column: one.words for column, one in found.items() if one.p_value < 0.01} == {
        1: "too high",
        2: "too wide",
        3: "too narrow",
    }
    assert all(one.num_tested == 4 for one in found.values())
