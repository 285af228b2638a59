"""The negative binomial against fifty-digit arithmetic, from no dispersion to nothing but dispersion."""

from inspect import unwrap

import mpmath
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lowerbound.likelihoods.negative_binomial import NegativeBinomial, NegativeBinomialDistribution
from lowerbound.likelihoods.poisson import PoissonDistribution
from lowerbound.nets import MLP


def p_of(mean: float, r: float, dtype=torch.float64) -> NegativeBinomialDistribution:
    return NegativeBinomialDistribution(torch.tensor(mean, dtype=dtype), torch.tensor(r, dtype=dtype))


def exact_log_prob(x: int, mean: float, r: float) -> float:
    with mpmath.workdps(50):
        m, r = mpmath.mpf(mean), mpmath.mpf(r)
        gammas = mpmath.loggamma(x + r) - mpmath.loggamma(r) - mpmath.loggamma(x + 1)
        return float(gammas + r * mpmath.log(r / (r + m)) + x * mpmath.log(m / (r + m)))


@settings(deadline=None)
@given(st.floats(-6, 6), st.floats(-8, 12), st.integers(0, 10**5))
def test_log_prob_is_exact_at_every_dispersion(log_mean, log_r, x):
    mean, r = 10**log_mean, 10**log_r
    got = float(p_of(mean, r).log_prob(torch.tensor(x, dtype=torch.float64)))
    assert got == pytest.approx(exact_log_prob(x, mean, r), rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("mean, r", [(0.3, 0.2), (4.0, 1.5), (30.0, 100.0)])
def test_log_prob_and_moments_are_scipys(mean, r):
    x, q = torch.arange(60, dtype=torch.float64), stats.nbinom(r, r / (r + mean))
    p = p_of(mean, r)
    torch.testing.assert_close(p.log_prob(x), torch.from_numpy(q.logpmf(x.numpy())), rtol=1e-9, atol=1e-9)
    assert float(p.mean) == pytest.approx(q.mean())
    assert float(p.variance) == pytest.approx(q.var())


def test_no_dispersion_is_poisson_in_single_precision():
    mean, x = torch.tensor([0.2, 3.0, 500.0]), torch.tensor([0.0, 4.0, 480.0])[:, None]
    p = NegativeBinomialDistribution(mean, torch.tensor(1e12))
    torch.testing.assert_close(p.log_prob(x), PoissonDistribution(mean).log_prob(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("r", [1e-6, 1e-2, 1.0, 1e4, 1e8])
def test_single_precision_keeps_its_digits(r):
    x = torch.tensor([0.0, 1.0, 50.0, 1e4])
    single = p_of(40.0, r, torch.float32).log_prob(x).double()
    torch.testing.assert_close(single, p_of(40.0, r).log_prob(x.double()), rtol=1e-5, atol=1e-4)


def test_the_score_of_the_mean_is_exact():
    mean = torch.tensor([1e-4, 0.5, 3.0, 4e4], dtype=torch.float64, requires_grad=True)
    r = torch.tensor([1e-6, 1.0, 1e9], dtype=torch.float64)[:, None]
    x = torch.tensor([0.0, 2.0, 300.0], dtype=torch.float64)[:, None, None]
    p = NegativeBinomialDistribution(mean.expand(3, 4), r)
    (score,) = torch.autograd.grad(p.log_prob(x).sum((0, 1)), mean, torch.ones(4, dtype=torch.float64))
    torch.testing.assert_close(score, (x / mean - (x + r) / (r + mean)).sum((0, 1)).detach(), rtol=1e-7, atol=1e-9)


def test_values_and_gradients_are_finite_at_extreme_outputs():
    edges = torch.tensor([-1e4, -50.0, 0.0, 50.0, 1e4])
    raw = torch.stack([edges.repeat_interleave(5), edges.repeat(5)]).requires_grad_()
    p = NegativeBinomial(torch.nn.Identity(), dispersion="heteroscedastic", event_shape=25)(raw)
    log_prob = p.log_prob(torch.tensor([0.0, 1.0, 1e6])[:, None].expand(3, 25))
    (gradient,) = torch.autograd.grad(log_prob.sum(), raw)
    assert log_prob.isfinite().all()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("dispersion", ["per-dimension", "heteroscedastic"])
def test_initialize_matches_the_mean_counts(dispersion):
    likelihood = NegativeBinomial(MLP(2, [], NegativeBinomial.parameter_shape(2, dispersion)), dispersion)
    likelihood.initialize(torch.tensor([[0.0, 3], [0, 4]]))
    torch.testing.assert_close(likelihood(torch.zeros(2)).mean, torch.tensor([0.01, 3.5]), rtol=1e-4, atol=1e-5)


def test_refuses_an_unknown_dispersion():
    """Unwrapped, for the type checker of the tests would refuse it first."""
    with pytest.raises(ValueError, match="dispersion='gene'"):
        unwrap(NegativeBinomial.__init__)(NegativeBinomial.__new__(NegativeBinomial), MLP(2, [], 3), "gene")
