"""What every likelihood states of itself, and what follows from it: support, NaN, precision."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch
from torch import nn
from torch.distributions import Independent, Normal

from lowerbound import likelihoods
from lowerbound.evaluate import baselines
from lowerbound.nets import MLP
from lowerbound.spelling import check_options, choices, find, parse
from lowerbound.support import LikelihoodFacts, StatesFacts, Support, reals, require_support, unit_interval
from lowerbound.testing import check_likelihood

NAN = float("nan")
CHOICES = choices(likelihoods)
NEEDED = {
    "mixed": ({"columns": "continuous + positive + categorical-3 + ordinal-4 + count"}, (5,)),
    "discretized-logistic-mixture": ({}, (1, 2)),
    "autoregressive": ({}, (1, 2)),
}
TWO_NETS = ("autoregressive", "tokens")  # that have no mean
each = pytest.mark.parametrize("name", CHOICES)


def build(name: str, dtype: torch.dtype = torch.float64) -> nn.Module:
    """With its default options, on events of two elements."""
    if name == "tokens":  # whose net gives a context and not parameters
        return likelihoods.Tokens(MLP(3, [8], 4), event_shape=2, num_symbols=4, embedding_dim=4, width=8).to(dtype)
    options, event_shape = NEEDED.get(name, ({}, (2,)))
    family = find(likelihoods, name)
    return family(MLP(3, [8], family.parameter_shape(event_shape, **options)), **options).to(dtype)


def contexts(number: int = 3, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(number, 3, dtype=dtype)


@each
def test_every_likelihood_conforms(name):
    likelihood = build(name)
    assert isinstance(likelihood, StatesFacts)
    check_likelihood(likelihood, contexts())


@each
def test_what_facts_name_exists(name):
    facts = CHOICES[name].facts
    for baseline in facts.baselines:
        assert baseline in baselines.__all__
        assert callable(getattr(baselines, baseline))
    for text in facts.richer:
        spelled, options = parse(text)
        check_options(spelled, find(likelihoods, spelled), options)


def test_facts_that_depend_on_options_stand_on_the_instance():
    """The class says what holds by default, before there is an instance."""
    assert not likelihoods.Mixed.facts.discrete
    assert not build("mixed").facts.discrete
    every = likelihoods.Mixed(MLP(3, [], 5), "categorical-2+2*count+ordinal-3")
    assert every.facts.discrete
    assert not likelihoods.Mixed.facts.discrete
    pixels = likelihoods.Categorical(MLP(3, [], (4, 2)), 4, unit_interval=True)
    assert (pixels.facts.domain, pixels.facts.encoder_view) == ("levels", "identity")
    assert likelihoods.Categorical.facts.encoder_view == "one-hot"
    check_likelihood(every, contexts(dtype=torch.float32))
    check_likelihood(pixels, contexts(dtype=torch.float32))


@each
@pytest.mark.parametrize("gradients", [True, False])
def test_nan_is_never_a_number_but_where_entries_may_be_missing(name, gradients):
    likelihood = build(name)
    with torch.set_grad_enabled(gradients):
        p = likelihood(contexts())
        x = p.sample()
        x.flatten(1)[0, 0] = NAN
        log_prob = p.log_prob(x)
    assert log_prob[0].isnan() != (name == "mixed")
    assert log_prob[1:].isfinite().all()


@pytest.mark.parametrize(
    "name, outside",
    [
        ("beta", [-0.1, 1.5]),
        ("continuous-bernoulli", [-0.1, 1.5]),
        ("discretized-logistic", [-0.1, 1.5, 4.0]),
        ("discretized-logistic-mixture", [-0.1, 1.5]),
        ("categorical", [-1.0, 256.0, 1e9]),
        ("poisson", [-1.0, -0.3]),
        ("negative-binomial", [-1.0, -0.3]),
        ("zero-inflated-poisson", [-2.0]),
        ("zero-inflated-negative-binomial", [-2.0]),
    ],
)
def test_no_finite_number_outside_of_the_support(name, outside):
    p = build(name)(contexts())
    for value in outside:
        x = torch.zeros(3, *p.event_shape, dtype=torch.float64)
        x.flatten(1)[:, 0] = value
        assert not p.log_prob(x).isfinite().any()


@pytest.mark.parametrize(
    "name, value, place",
    [
        ("bernoulli", 1.5, "numbers in [0, 1]"),
        ("categorical", 7.5, "class numbers 0, …, 255"),
        ("discretized-logistic", 0.5, "levels k/255"),
        ("laplace", float("inf"), "finite numbers"),
        ("zero-inflated-poisson", 0.5, "counts 0, 1, 2, …"),
        ("student-t", NAN, "finite numbers"),
    ],
)
def test_the_refusal_gives_the_value_its_place_and_what_is_taken(name, value, place):
    x = torch.zeros(4, 2)
    x[2, 1] = value
    with pytest.raises(ValueError, match=r"x holds .* at row 2, column 1") as refusal:
        require_support(build(name), x)
    assert place in str(refusal.value)
    require_support(build(name), torch.zeros(4, 2))


@pytest.mark.parametrize(
    "column, value, taken",
    [
        ("fare", 0.0, "positive numbers there"),
        ("class", 0.5, "class numbers 0, …, 2 there"),
        ("class", 3.0, "class numbers 0, …, 2 there"),
        ("grade", 1.5, "class numbers 0, …, 3 there"),
        ("siblings", -1.0, "counts 0, 1, 2, … there"),
        ("age", float("inf"), "finite numbers whose squares are finite as well there"),
    ],
)
def test_mixed_columns_are_refused_by_name(column, value, taken):
    names = ["age", "fare", "class", "grade", "siblings"]
    x = torch.tensor([[0.3, 1.7, 2.0, 3.0, 5.0]]).repeat(3, 1)
    x[0] = NAN
    require_support(build("mixed"), x, columns=names)
    x[1, names.index(column)] = value
    with pytest.raises(ValueError, match=rf"at row 1, column '{column}'; Mixed takes {taken}"):
        require_support(build("mixed"), x, columns=names)


class Rounded(nn.Module):
    """A net whose outputs are those of bfloat16."""

    def __init__(self, net: MLP):
        super().__init__()
        self.net, self.out_shape = net, net.out_shape

    def forward(self, *context: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = self.net(*context)
        assert y.dtype == torch.bfloat16
        return y.float()


@pytest.mark.parametrize("name", [name for name in CHOICES if name not in TWO_NETS])
@pytest.mark.parametrize("gradients", [True, False])
def test_under_autocast_only_the_net_is_in_low_precision(name, gradients):
    likelihood, z = build(name, torch.float32), contexts(dtype=torch.float32)
    x = likelihood(z).sample()
    with torch.set_grad_enabled(gradients):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            p = likelihood(z)
            log_prob, mean, draws = p.log_prob(x), p.mean, p.sample()
        likelihood.net = Rounded(likelihood.net)
        expected = likelihood(z)
        assert (log_prob.dtype, mean.dtype, draws.dtype) == (torch.float32,) * 3
        torch.testing.assert_close(log_prob, expected.log_prob(x), rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(mean, expected.mean, rtol=1e-6, atol=1e-6)


class Foreign(nn.Module):
    def __init__(self, discrete: bool = False):
        super().__init__()
        self.net = nn.Linear(3, 2).double()

    def forward(self, context: torch.Tensor) -> Independent:
        y = self.net(context)
        return Independent(Normal(y, torch.ones_like(y), validate_args=False), 1, validate_args=False)


class WithFacts(Foreign):
    facts: ClassVar[LikelihoodFacts] = LikelihoodFacts(domain="reals", discrete=False)


class WithSupport(WithFacts):
    cites: ClassVar[tuple[str, ...]] = ()

    @property
    def support(self) -> Support:
        return reals


class WithoutWorks(WithSupport):
    cites = None  # type: ignore[assignment]


class WrongDomain(WithSupport):
    facts: ClassVar[LikelihoodFacts] = LikelihoodFacts(domain="reals", discrete=True)


class WrongSupport(WithSupport):
    @property
    def support(self) -> Support:
        return unit_interval


class WrongDiscrete(likelihoods.Categorical):
    facts: ClassVar[LikelihoodFacts] = LikelihoodFacts(domain="unit interval", discrete=False)


class WrongNaN(likelihoods.Poisson):
    def forward(self, context: torch.Tensor) -> Independent:
        p = super().forward(context)
        p.log_prob = lambda x, exact=p.log_prob: exact(x.nan_to_num())
        return p


class WrongStart(likelihoods.Poisson):
    @torch.no_grad()
    def initialize(self, x: torch.Tensor) -> None:
        self.net.output_bias.copy_(100 * x.mean(0))


def test_check_likelihood_names_what_is_missing_or_wrong():
    check_likelihood(WithSupport(), contexts())
    cases = [
        (Foreign(), r"Foreign states no facts; add to the class: facts: ClassVar\[LikelihoodFacts\] = Likeli"),
        (WithFacts(), "WithFacts states no support; add to the class: @property def support"),
        (WithoutWorks(), "WithoutWorks states no works; add to the class: cites"),
        (WrongDomain(), "domain='reals' and discrete=True"),
        (WrongSupport(), r"samples hold \[.*\], which is not in the support: numbers in \[0, 1\]"),
        (WrongDiscrete(MLP(3, [], (4, 2)).double(), 4), "facts.discrete is False and p sums to 1 "),
        (WrongNaN(MLP(3, [], 2).double()), "log_prob of NaN is .* and must be NaN"),
        (WrongStart(MLP(3, [], 2).double()), "initialize takes the mean log p of its data from"),
    ]
    for likelihood, words in cases:
        with pytest.raises(AssertionError, match=words):
            check_likelihood(likelihood, contexts())
    with pytest.raises(AssertionError, match="the given value hold"):
        check_likelihood(build("poisson"), contexts(), torch.full((3, 2), 0.5, dtype=torch.float64))


def test_a_likelihood_of_another_library_takes_everything():
    require_support(Foreign(), torch.tensor([[NAN, 1e9]]))
