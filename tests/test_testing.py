"""Each conformance check must pass what is right and name what is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import nn
from torch.distributions import Bernoulli, Independent, Normal

from lowerbound.exact import EnumerableBernoulli, LinearGaussian
from lowerbound.gradients import DReG, Pathwise, ScoreFunction, StickTheLanding
from lowerbound.nets import MLP
from lowerbound.objectives import ELBO, IWAE
from lowerbound.posteriors import DiagonalNormal
from lowerbound.protocols import Estimate
from lowerbound.testing import assert_unbiased, check_cites, check_conditional, check_gradient, check_objective
from lowerbound.weights import LogWeights, weigh


class Linear(nn.Module):
    """A conditional that can be wrong in one way at a time."""

    def __init__(self, make):
        super().__init__()
        self.net, self.make = nn.Linear(4, 2).double(), make

    def forward(self, context=None):
        return self.make(self.net(context))


class Detached(Normal):
    def rsample(self, sample_shape=()):
        return super().rsample(torch.Size(sample_shape)).detach()


class Leaky(Normal):
    def sample(self, sample_shape=()):
        return self.rsample(torch.Size(sample_shape))


class MeanLogProb(Normal):
    def log_prob(self, value):
        return super().log_prob(value) - super().log_prob(value).mean(0)


WRONG = {
    "batch_shape": lambda y: Normal(y, 1.0),
    "no gradient": lambda y: Independent(Detached(y, torch.ones_like(y)), 1),
    "carries gradients": lambda y: Independent(Leaky(y, torch.ones_like(y)), 1),
    "alone differs": lambda y: Independent(MeanLogProb(y, torch.ones_like(y)), 1),
    "float32": lambda y: Independent(Normal(y.float(), 1.0), 1),
    "not finite": lambda y: Independent(Normal(y / 0, 1.0, validate_args=False), 1, validate_args=False),
}


@pytest.mark.parametrize("words", WRONG)
def test_check_conditional_names_what_is_wrong(words):
    with pytest.raises(AssertionError, match=words):
        check_conditional(Linear(WRONG[words]), torch.randn(5, 4, dtype=torch.float64))


@pytest.mark.parametrize(
    "make", [lambda y: Independent(Normal(y, 1.0), 1), lambda y: Independent(Bernoulli(logits=y), 1)]
)
def test_check_conditional_passes_what_is_right(make):
    check_conditional(Linear(make), torch.randn(5, 4, dtype=torch.float64))


@dataclass(frozen=True)
class Surrogate:
    """Reports Σ w̃ log w as its value: above log p(x)."""

    cites: ClassVar[tuple[str, ...]] = ()
    rate: str = "sampled"
    bound: str = "lower"
    linear: bool = False

    def signal(self, w: LogWeights):
        return w.log_w

    def reduce(self, signal):
        return (torch.softmax(signal, 0) * signal).sum(0)


@dataclass(frozen=True)
class FirstSample(Surrogate):
    def reduce(self, signal):
        return signal[0]


@dataclass(frozen=True)
class Centred(Surrogate):
    def reduce(self, signal):
        return signal.mean(0) - signal.mean()


@dataclass(frozen=True)
class Summed(Surrogate):
    def reduce(self, signal):
        return signal.mean()[None]


@pytest.mark.parametrize(
    "objective, words",
    [
        (Surrogate(), r"exceeds log p\(x\)"),
        (FirstSample(), "order of the samples"),
        (Centred(), "other data"),
        (Summed(), "not \\(batch,\\)"),
        (Surrogate(bound="tight"), "none of"),
    ],
)
def test_check_objective_names_what_is_wrong(objective, words):
    with pytest.raises(AssertionError, match=words):
        check_objective(objective, num_samples=5)


@pytest.mark.parametrize("objective", [ELBO(), ELBO(rate="kl"), ELBO(rate="entropy"), IWAE()])
def test_check_objective_passes_the_core(objective):
    check_objective(objective)


def gaussian_case():
    exact = LinearGaussian.random(3, 2)
    return exact.model(DiagonalNormal(MLP(3, [], (2, 2)))), exact.sample(5)


def bernoulli_case():
    return EnumerableBernoulli.random(3, 4).model(), torch.ones(5, 4, dtype=torch.float64)


class Value(Pathwise):
    """An estimator whose surrogate has another value than the objective."""

    def estimate(self, objective, posterior, joint, num_samples):
        estimate = super().estimate(objective, posterior, joint, num_samples)
        return Estimate(surrogate=2 * estimate.surrogate, weights=estimate.weights)


class Theta(Pathwise):
    """An estimator that halves the gradient of everything."""

    def estimate(self, objective, posterior, joint, num_samples):
        e = super().estimate(objective, posterior, joint, num_samples)
        return Estimate(surrogate=0.5 * (e.surrogate + e.surrogate.detach()), weights=e.weights)


class Blocked(Pathwise):
    """An estimator through which q learns nothing."""

    def estimate(self, objective, posterior, joint, num_samples):
        z = posterior.sample(torch.Size((num_samples,)))
        log_q = posterior.log_prob(z).detach()
        w = weigh(posterior, joint, z, rate=objective.rate, log_q=log_q)
        return Estimate(surrogate=objective.reduce(objective.signal(w)), weights=w)


@pytest.mark.parametrize(
    "estimator, words",
    [(Value(), "value is not"), (Theta(), "fixed latents"), (Blocked(), "no gradient")],
)
def test_check_gradient_names_what_is_wrong(estimator, words):
    model, x = gaussian_case()
    with pytest.raises(AssertionError, match=words):
        check_gradient(estimator, ELBO(), model, x)


@pytest.mark.parametrize("objective", [ELBO(), ELBO(rate="kl"), ELBO(rate="entropy"), IWAE()])
@pytest.mark.parametrize("estimator", [Pathwise(), ScoreFunction(), ScoreFunction(None), StickTheLanding(), DReG()])
@pytest.mark.parametrize("case", [gaussian_case, bernoulli_case])
def test_every_pair_of_the_core_is_accepted_or_refused(objective, estimator, case):
    """The value never depends on the estimator, nor does the gradient of p(x, z)."""
    accepted = check_gradient(estimator, objective, *case())
    sampled, discrete = objective.rate == "sampled", case is bernoulli_case
    wanted = {
        Pathwise: not discrete,
        StickTheLanding: not discrete and sampled and isinstance(objective, ELBO),
        DReG: not discrete and isinstance(objective, IWAE),
        ScoreFunction: True,
    }
    assert accepted == wanted[type(estimator)]


def test_assert_unbiased_passes_finds_a_bias_and_refuses_too_few():
    exact = torch.tensor([3.0, -1.0], dtype=torch.float64)

    def noisy(bias):
        return lambda: exact + torch.randn(20_000, 2, dtype=torch.float64) + torch.tensor([0.0, bias])

    assert_unbiased(noisy(0.0), exact, num_repeats=20_000, smallest_detectable=0.02)
    with pytest.raises(AssertionError, match="coordinate 1 of 2 is biased"):
        assert_unbiased(noisy(0.08), exact, num_repeats=20_000, smallest_detectable=0.02)
    with pytest.raises(AssertionError, match="times as many"):
        assert_unbiased(noisy(0.0), exact, num_repeats=20_000, smallest_detectable=0.001)
    with pytest.raises(ValueError, match="at least 10"):
        assert_unbiased(noisy(0.0), exact, num_repeats=9)


def test_assert_unbiased_fails_as_often_as_it_declares():
    """At a rate of 20 % the failures of an unbiased estimate, 300 times over, are near or below it."""
    exact = torch.full((4,), 5.0, dtype=torch.float64)
    failures = 0
    for _ in range(300):
        try:
            assert_unbiased(
                lambda: exact + torch.randn(10, 4, dtype=torch.float64),
                exact,
                num_repeats=10,
                false_failure_rate=0.2,
                smallest_detectable=1.0,
            )
        except AssertionError:
            failures += 1
    assert 30 <= failures <= 92  # 300 · (1 − 0.95⁴) = 56 expected, standard deviation 6.7


def test_a_zero_variance_estimate_must_be_equal_to_rounding():
    exact = torch.tensor([2.0], dtype=torch.float64)
    assert_unbiased(lambda: exact * (1 + 1e-15), exact)
    with pytest.raises(AssertionError, match="biased"):
        assert_unbiased(lambda: exact * (1 + 1e-9), exact)


class WithoutWorks(ELBO):
    cites = None


class WithWrongWorks(ELBO):
    cites = ("nobody2020",)


def test_check_cites_names_what_is_wrong():
    check_cites(ELBO)
    check_cites(ELBO())
    with pytest.raises(AssertionError, match="WithoutWorks states no works; add to the class: cites"):
        check_objective(WithoutWorks())
    with pytest.raises(AssertionError, match=r"'nobody2020', which is not in references\.bib"):
        check_cites(WithWrongWorks)
    with pytest.raises(AssertionError, match="object states no works"):
        check_cites(object())
