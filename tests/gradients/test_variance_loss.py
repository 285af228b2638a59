"""The variance loss, its gradient at fixed samples, and VarGrad."""

from __future__ import annotations

import functools

import pytest
import torch

from lowerbound.baselines import LeaveOneOut
from lowerbound.exact import EnumerableBernoulli, LinearGaussian, normal_bound
from lowerbound.gradients import FixedSamples, Pathwise, ScoreFunction, VarGrad
from lowerbound.losses import VariationalLoss
from lowerbound.objectives import ELBO, GECO, IWAE, BetaELBO, FreeBits, LogVariance, Renyi
from lowerbound.testing import assert_unbiased, check_gradient, check_objective, flat_gradient
from lowerbound.weights import LogWeights

NUM_SAMPLES = 4
BOTH = pytest.mark.parametrize("case", [lambda: continuous(), lambda: discrete()], ids=["continuous", "discrete"])


def continuous(rows=5):
    exact = LinearGaussian.random(3, 2)
    model = exact.model(exact.posterior_module(diagonal=True))
    with torch.no_grad():
        model.posterior.offset += 0.5
    return model, exact.sample(rows)


def discrete(rows=5):
    exact = EnumerableBernoulli.random(3, 4)
    return exact.model(), torch.arange(4.0).expand(rows, 4).double() % 2


def estimated(model, x, objective, estimator, num_samples=NUM_SAMPLES):
    """The estimate and its gradients for θ and φ, at one seed."""
    torch.manual_seed(3)
    estimate = estimator.estimate(objective, model.infer(x), model.joint(x), num_samples)
    theta = [*model.prior.parameters(), *model.likelihood.parameters()]
    parts = (theta, [*model.posterior.parameters()])
    return estimate, *(flat_gradient(estimate.surrogate.sum(), part) for part in parts)


def test_conformance():
    for objective in (LogVariance(), LogVariance(1.0)):
        check_objective(objective)


@BOTH
@pytest.mark.parametrize("objective", [ELBO(), BetaELBO(3.0), GECO(2.0)], ids=["elbo", "beta", "geco"])
def test_var_grad_is_the_leave_one_out_score_function(case, objective):
    model, x = case()
    one, theta, phi = estimated(model, x, objective, VarGrad())
    other, theta_of_score, phi_of_score = estimated(model, x, objective, ScoreFunction(LeaveOneOut()))
    assert torch.equal(one.surrogate, other.surrogate)
    assert torch.equal(theta, theta_of_score)
    torch.testing.assert_close(phi, phi_of_score, rtol=1e-12, atol=1e-12)


@BOTH
def test_var_grad_against_the_equation(case):
    """1/(S−1) Σ (f_s − f̄) ∇ log q(z_s), and minus the gradient of half the variance with p(x, z) constant."""
    model, x = case()
    estimate, _, phi = estimated(model, x, ELBO(), VarGrad())
    log_q = model.infer(x).log_prob(estimate.weights.z)
    f = estimate.weights.log_w.detach()
    parameters = [*model.posterior.parameters()]
    expected = flat_gradient(((f - f.mean(0)) * log_q).sum() / (NUM_SAMPLES - 1), parameters)
    torch.testing.assert_close(phi, expected)
    half = 0.5 * (f + log_q.detach() - log_q).var(0).sum()
    torch.testing.assert_close(phi, -flat_gradient(half, parameters))


@BOTH
@pytest.mark.parametrize("factor", [0.5, 1.0])
def test_the_gradient_for_q_is_that_of_the_elbo_times_twice_the_factor(case, factor):
    """The loss is minus the objective: its gradient for φ is −2 × that of the ELBO's leave-one-out at factor 1."""
    model, x = case()
    objective = LogVariance(factor)
    _, _, phi = estimated(model, x, objective, FixedSamples())
    _, _, phi_of_elbo = estimated(model, x, ELBO(), ScoreFunction(LeaveOneOut()))
    torch.testing.assert_close(phi, 2 * factor * phi_of_elbo)
    torch.manual_seed(3)
    loss = VariationalLoss(model, objective, FixedSamples(), NUM_SAMPLES)(x).loss
    of_loss = flat_gradient(loss, model.posterior.parameters())
    torch.testing.assert_close(of_loss * x.shape[0], -2 * factor * phi_of_elbo)


@BOTH
def test_each_datum_has_a_mean_of_its_own(case):
    """A variance over the sum of a batch would make a datum's value depend on its neighbours."""
    model, x = case()
    estimate, _, _ = estimated(model, x, LogVariance(1.0), FixedSamples())
    f = estimate.weights.log_w
    expected = [-sum((f[s, b] - f[:, b].mean()) ** 2 for s in range(NUM_SAMPLES)) / 3 for b in range(len(x))]
    assert torch.allclose(estimate.surrogate, torch.stack(expected))


def test_the_variance_is_zero_at_the_posterior_and_there_only():
    exact = LinearGaussian.random(4, 2)
    model, x = exact.model(), exact.sample(3)
    at_posterior, _, phi = estimated(model, x, LogVariance(), FixedSamples())
    assert at_posterior.surrogate.abs().max() < 1e-20
    assert phi.abs().max() < 1e-8
    for parameter in model.posterior.parameters():
        kept = parameter.detach().clone()
        with torch.no_grad():
            parameter += 0.05
        assert (estimated(model, x, LogVariance(), FixedSamples())[0].surrogate < -1e-6).all()
        with torch.no_grad():
            parameter.copy_(kept)


def test_var_grad_has_no_variance_at_the_posterior():
    exact = LinearGaussian.random(4, 2)
    assert estimated(exact.model(), exact.sample(3), ELBO(), VarGrad())[2].abs().max() < 1e-9


def test_the_variance_loss_does_not_fit_data():
    """Another offset b and the same change of the posterior: a hopeless p(x), and the loss is none the worse."""
    exact = LinearGaussian.random(3, 2)
    x = exact.sample(3)
    far = LinearGaussian(exact.weight, exact.offset + 50.0, exact.scale)
    assert (far.log_evidence(x) < exact.log_evidence(x) - 1000).all()
    assert estimated(far.model(), x, LogVariance(), FixedSamples())[0].surrogate.abs().max() < 1e-15


@functools.cache
def small_gaussian():
    drawn = LinearGaussian.random(2, 1, seed=1)
    exact = LinearGaussian(drawn.weight, drawn.offset, drawn.scale / 2)
    model = exact.model(exact.posterior_module(diagonal=True))
    with torch.no_grad():
        model.posterior.log_scale += 0.4
        model.posterior.offset += 1.0
    x = torch.tensor([[0.5, 0.0]], dtype=torch.float64)
    return model, x, lambda objective: normal_bound(model, objective, x, 2)


@functools.cache
def small_bernoulli():
    exact = EnumerableBernoulli.random(2, 3, seed=1)
    x = torch.tensor([[1.0, 0.0, 1.0]], dtype=torch.float64)
    return exact.model(), x, lambda objective: exact.bound(objective, x, 2)


@functools.cache
def repeats(case, objective, estimator, copies):
    """64 gradients, each the mean over many copies of one datum: for θ and for φ."""
    model, x, _ = case()
    loss = VariationalLoss(model, objective, estimator, 2)
    loss.check(x)
    many = x.expand(copies, -1)
    got = torch.stack([flat_gradient(-loss(many).loss, model.parameters()) for _ in range(64)])
    return split(model, got)


def split(model, gradient):
    """A gradient for all parameters, as its parts for θ and for φ: prior and likelihood come first."""
    num_phi = sum(p.numel() for p in model.posterior.parameters())
    return gradient[..., :-num_phi], gradient[..., -num_phi:]


def assert_unbiased_for(case, objectives, got):
    model, _, exact = case()
    for i, objective in enumerate(objectives):
        truth = split(model, flat_gradient(exact(objective).sum(), model.parameters()))[i]
        assert_unbiased(lambda i=i: got[i], truth, num_repeats=64, smallest_detectable=0.02)


CASES = pytest.mark.parametrize("case", [small_gaussian, small_bernoulli])


@CASES
@pytest.mark.parametrize("objective", [ELBO(), BetaELBO(2.0)], ids=["elbo", "beta"])
def test_var_grad_is_unbiased(case, objective):
    assert_unbiased_for(case, (objective, objective), repeats(case, objective, VarGrad(), 6_000))


@CASES
def test_fixed_samples_are_unbiased_for_the_gradients_they_promise(case):
    """For θ that of the variance; for φ that of the ELBO, at the factor ½."""
    assert_unbiased_for(case, (LogVariance(), ELBO()), repeats(case, LogVariance(), FixedSamples(), 16_000))


def test_as_a_gradient_of_the_variance_under_q_fixed_samples_are_biased_indeed():
    case = small_bernoulli
    _, phi = repeats(case, LogVariance(), FixedSamples(), 16_000)
    model, _, exact = case()
    truth = flat_gradient(exact(LogVariance()).sum(), model.posterior.parameters())
    with pytest.raises(AssertionError, match="is biased"):
        assert_unbiased(lambda: phi, truth, num_repeats=64)


@pytest.mark.parametrize(
    "case, estimator, copies",
    [(small_gaussian, Pathwise(), 12_000), (small_bernoulli, ScoreFunction(), 16_000)],
    ids=["pathwise", "score"],
)
def test_other_estimators_differentiate_the_variance_under_q(case, estimator, copies):
    got = repeats(case, LogVariance(), estimator, copies)
    assert_unbiased_for(case, (LogVariance(), LogVariance()), got)


@BOTH
def test_conformance_of_the_estimators(case):
    model, x = case()
    assert check_gradient(VarGrad(), ELBO(), model, x)
    assert check_gradient(FixedSamples(), LogVariance(), model, x)


@BOTH
def test_values_without_gradients(case):
    model, x = case()
    for estimator, objective in ((VarGrad(), ELBO()), (FixedSamples(), LogVariance())):
        with torch.no_grad():
            alone, _, _ = estimated(model, x, objective, estimator)
        assert torch.allclose(alone.surrogate, estimated(model, x, objective, estimator)[0].surrogate)


@pytest.mark.parametrize(
    "estimator, objective, alternative",
    [
        (FixedSamples(), ELBO(), r"or VarGrad\(\) or ScoreFunction\(\)"),
        (FixedSamples(), IWAE(), r"use LogVariance\(\)"),
        (VarGrad(), IWAE(), r"use ScoreFunction\(\)"),
        (VarGrad(), LogVariance(), r"use ScoreFunction\(\)"),
        (VarGrad(), Renyi(0.5), r"use ScoreFunction\(\)"),
        (VarGrad(), ELBO("kl"), r"rate='kl'\); use rate='sampled'"),
        (VarGrad(), ELBO("entropy"), r"use rate='sampled'"),
        (VarGrad(), FreeBits(), r"use rate='sampled'"),
    ],
)
def test_invalid_pairs_are_refused(estimator, objective, alternative):
    model, x = discrete()
    with pytest.raises(ValueError, match=alternative):
        VariationalLoss(model, objective, estimator, 2).check(x)


@pytest.mark.parametrize("estimator, objective", [(VarGrad(), ELBO()), (FixedSamples(), LogVariance())])
def test_one_sample_has_no_variance(estimator, objective):
    model, x = discrete()
    with pytest.raises(ValueError, match="num_samples=1 and needs at least 2"):
        estimated(model, x, objective, estimator, num_samples=1)


def test_other_weights_and_factors_are_refused():
    zeros = torch.zeros(2, 1)
    w = LogWeights(log_likelihood=zeros, log_prior=zeros, log_q=zeros, z=zeros, form="kl")
    with pytest.raises(ValueError, match="LogVariance got weights with a closed-form rate"):
        LogVariance().signal(w)
    with pytest.raises(ValueError, match=r"factor=0\.0 and needs a positive number"):
        LogVariance(0.0)
