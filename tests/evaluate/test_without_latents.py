"""Independent elements against closed forms, pseudo-row included, for every likelihood of the library."""

from __future__ import annotations

import copy
import inspect
import math

import pytest
import torch
from scipy import stats
from torch import nn
from torch.distributions import Categorical, Independent, Laplace, Normal, Poisson

from lowerbound import likelihoods
from lowerbound.evaluate import independent_bernoulli, independent_elements
from lowerbound.models.sequence_steps import EachStep
from lowerbound.nets import MLP
from lowerbound.spelling import choices
from lowerbound.support import require_support

NAN = math.nan
D = torch.float64


def build(family: type, event_shape: int | tuple[int, ...], **options: object) -> nn.Module:
    deciding = inspect.signature(family.parameter_shape).parameters
    shape = family.parameter_shape(event_shape, **{k: v for k, v in options.items() if k in deciding})
    return family(MLP(2, [3], shape), **options)


def close(got: torch.Tensor, expected: torch.Tensor, atol: float = 1e-4) -> None:
    torch.testing.assert_close(got, expected.double(), rtol=0, atol=atol)


def test_bernoulli_is_the_frequencies_with_half_a_count_of_each_value():
    x = (torch.rand(300, 6) < torch.tensor([0.0, 0.01, 0.2, 0.5, 0.9, 1.0])).float()
    test = torch.rand(40, 6).round()  # holds ones where there were only zeros
    close(
        independent_elements(build(likelihoods.Bernoulli, 6), x, test), independent_bernoulli(x.double(), test.double())
    )


def test_normal_is_mean_and_standard_deviation_in_any_units():
    units = torch.logspace(-1, 6, 5, dtype=D)
    x = units * (3 + torch.randn(400, 5, dtype=D))
    closed = Normal(x.mean(0), x.std(0, correction=0)).log_prob(x).sum(-1)
    for scale in ("per-dimension", "heteroscedastic"):
        close(independent_elements(build(likelihoods.Normal, 5, scale=scale), x, x), closed, atol=1e-3)
    y = x / units
    pooled = Normal(y.mean(0), y.var(0, correction=0).mean().sqrt()).log_prob(y).sum(-1)
    close(independent_elements(build(likelihoods.Normal, 5), y, y), pooled)
    close(
        independent_elements(build(likelihoods.Normal, 5, scale=2.0), y, y), Normal(y.mean(0), 2.0).log_prob(y).sum(-1)
    )


def test_laplace_is_median_and_mean_deviation():
    x = torch.randn(301, 4, dtype=D)
    median = x.median(0).values
    closed = Laplace(median, (x - median).abs().mean(0)).log_prob(x).sum(-1).mean()
    got = independent_elements(build(likelihoods.Laplace, 4, scale="per-dimension"), x, x).mean()
    close(got, closed)


def test_poisson_is_the_mean_count_with_one_row_of_the_mean_or_one():
    x = torch.poisson(torch.tensor([1e-9, 0.2, 3.0, 1e4]).expand(300, 4))
    rate = (x.double().sum(0) + x.double().mean(0).round().clamp(min=1)) / 301
    test = torch.cat([x[:20], torch.ones(1, 4)])
    close(independent_elements(build(likelihoods.Poisson, 4), x, test), Poisson(rate).log_prob(test.double()).sum(-1))


def test_categorical_is_the_frequencies_with_one_count_over_the_classes():
    x = torch.randint(3, (200, 5)).float()  # class 3 is never seen
    test = torch.randint(4, (50, 5)).float()
    share = torch.stack([(x == k).double().sum(0) + 0.25 for k in range(4)], -1) / 201
    close(
        independent_elements(build(likelihoods.Categorical, 5, num_classes=4), x, test),
        Categorical(share).log_prob(test.double()).sum(-1),
    )


def test_a_table_of_counts_is_the_frequencies_with_one_count_over_the_table_and_its_tail():
    likelihood = likelihoods.Mixed(MLP(2, [], (4 + 1,)), columns="small-count-3+count")
    x = torch.tensor([[0.0, 4.0], [0.0, 2.0], [1.0, 3.0], [0.0, 2.0]])
    others = likelihoods.Mixed(MLP(2, [], (1,)), columns="count")
    test = torch.tensor([[2.0, 1.0], [5.0, 1.0]])  # a count that training lacks; and the tail 3, 4, 5, which halves
    found = independent_elements(likelihood, x, test) - independent_elements(others, x[:, 1:], test[:, 1:])
    exact = torch.tensor([0.25 / 5, 0.25 / 5 / 2**3], dtype=torch.float64).log()
    torch.testing.assert_close(found, exact, rtol=1e-4, atol=1e-4)


def test_student_t_is_scipys_fit():
    x = torch.from_numpy(stats.t(3.5, loc=2, scale=0.5).rvs((600, 1), random_state=0))
    exact = stats.t(*stats.t.fit(x[:, 0].numpy())).logpdf(x[:, 0].numpy()).mean()
    got = independent_elements(build(likelihoods.StudentT, 1, scale="per-dimension"), x, x)
    assert got.mean().item() == pytest.approx(exact, abs=1e-4)


def test_mixed_columns_with_gaps_are_fitted_to_what_is_there():
    rng = torch.Generator().manual_seed(0)
    age = 40 + 14 * torch.randn(400, generator=rng, dtype=D)
    fare = (3 + torch.randn(400, generator=rng, dtype=D)).exp()
    kind = torch.randint(2, (400,), generator=rng).double()
    x = torch.stack([age, fare, kind], -1)
    x = torch.where(torch.rand(400, 3, generator=rng) < 0.2, NAN, x)
    x[:, 2] = torch.where(x[:, 2].isnan(), NAN, 1.0)  # one class only
    seen = ~x.isnan()
    a, logs = x[seen[:, 0], 0], x[seen[:, 1], 1].log()
    share = torch.tensor([1 / 3, seen[:, 2].sum() + 1 / 3, 1 / 3], dtype=D) / (seen[:, 2].sum() + 1)
    test = torch.tensor([[50.0, 20.0, 1.0], [NAN, 7.0, 2.0], [30.0, NAN, NAN]], dtype=D)
    terms = torch.stack(
        [
            Normal(a.mean(), a.std(correction=0)).log_prob(test[:, 0]),
            Normal(logs.mean(), logs.std(correction=0)).log_prob(test[:, 1].log()) - test[:, 1].log(),
            share.log()[test[:, 2].nan_to_num().long()],
        ],
        -1,
    )
    got = independent_elements(build(likelihoods.Mixed, 3, columns="continuous+positive+categorical-3"), x, test)
    close(got, torch.where(test.isnan(), 0.0, terms).sum(-1), atol=1e-3)


def test_long_tailed_counts_reach_their_optimum():
    """A start from the mean with r = 1 is far from it; the maximum over r by scipy, the mean being that of the data."""
    x = torch.distributions.NegativeBinomial(torch.tensor(0.2, dtype=D), probs=torch.tensor(0.999, dtype=D)).sample(
        (500, 1)
    )
    mean, values = x.mean().item(), x[:, 0].numpy()
    best = max(stats.nbinom(r, r / (r + mean)).logpmf(values).mean() for r in torch.logspace(-2, 0, 400).tolist())
    got = independent_elements(build(likelihoods.NegativeBinomial, 1), x, x).mean().item()
    assert got == pytest.approx(best, abs=1e-3)


OPTIONS = {"mixed": {"columns": "continuous + ordinal-3"}, "categorical": {"num_classes": 3}}
SMALL = {
    "discretized-logistic": {"num_levels": 4},
    "discretized-logistic-mixture": {"num_levels": 4, "num_components": 2},
}


@pytest.mark.parametrize("name", sorted(set(choices(likelihoods)) - {"tokens"}))  # of which `unigram` is the baseline
def test_every_likelihood_is_fitted_and_neither_it_nor_its_net_is_touched(name):
    """It is about as good as what the data were drawn from."""
    options = {**OPTIONS, **SMALL}.get(name, {})
    likelihood = build(
        choices(likelihoods)[name], (1, 2) if "mixture" in name or name == "autoregressive" else 2, **options
    )
    before = copy.deepcopy(likelihood.state_dict())
    truth = likelihood(torch.zeros(80, 2))
    x = truth.sample()
    got = independent_elements(likelihood, x, x)
    assert got.shape == (80,)
    assert got.dtype == D
    assert got.mean() > truth.log_prob(x).mean() - 0.05
    assert all(torch.equal(before[key], value) for key, value in likelihood.state_dict().items())


@pytest.mark.parametrize(
    "name", ["beta", "continuous-bernoulli", "discretized-logistic", "discretized-logistic-mixture"]
)
def test_an_element_of_one_value_leaves_the_others_possible(name):
    """Its density would grow without bound, and that of every other value fall."""
    likelihood = build(choices(likelihoods)[name], (1, 2), **SMALL.get(name, {}))
    x = torch.zeros(50, 1, 2)
    got = independent_elements(likelihood, x, torch.tensor([[[0.0, 1.0]], [[0.0, 0.0]]]))
    assert -150 < got[0] < got[1] < 30


def test_the_steps_of_a_sequence_are_rows():
    step = build(likelihoods.Poisson, 3)
    x = torch.poisson(torch.full((40, 5, 3), 2.0))
    got = independent_elements(EachStep(step, (5, 3)), x, x[:7])
    close(got, independent_elements(step, x.flatten(0, 1), x[:7].flatten(0, 1)).view(7, 5).sum(1))
    with pytest.raises(ValueError, match=r"EachStep takes counts"):
        require_support(EachStep(step, (5, 3)), -x - 1)


class Foreign(nn.Module):
    """A likelihood of another library: no facts, no support, no start."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, context: torch.Tensor) -> Independent:
        y = self.net(context)
        return Independent(Normal(y.view(len(context), -1), 1.0, validate_args=False), 1, validate_args=False)


def test_a_foreign_likelihood_needs_a_net_that_states_its_output():
    x = 5 + torch.randn(100, 3)
    got = independent_elements(Foreign(MLP(2, [], 3)), x, x)
    close(got, Normal(x.double().mean(0), 1.0).log_prob(x.double()).sum(-1))
    with pytest.raises(ValueError, match="cannot tell the output shape of Linear; give it an `out_shape`"):
        independent_elements(Foreign(nn.Linear(2, 3)), x, x)
    with pytest.raises(ValueError, match="got a Identity and expected a likelihood with a `net`"):
        independent_elements(nn.Identity(), x, x)
    with pytest.raises(ValueError, match="no training rows"):
        independent_elements(Foreign(MLP(2, [], 3)), x[:0], x)


def test_a_net_that_states_nothing_is_enough_where_the_likelihood_knows():
    net = nn.Sequential(nn.Linear(2, 12), nn.Unflatten(-1, (4, 3)))
    x = torch.randint(4, (60, 3)).float()
    got = independent_elements(likelihoods.Categorical(net, 4, event_shape=3), x, x)
    close(got, independent_elements(build(likelihoods.Categorical, 3, num_classes=4), x, x))
