"""The estimators of the core on forms of the rate that the matrix leaves out, and tests that show their power.

ELBO with a sampled rate and IWAE are in `tests/test_matrix.py`, for every estimator.

One call averages over thousands of copies of a datum; sixty-four calls give the standard error. False failures: 1e-6.
Biases of 2 % of the norm of the gradient are noticed, or the test refuses to pass.
"""

from __future__ import annotations

import functools

import pytest
import torch

from lowerbound.exact import EnumerableBernoulli, LinearGaussian, normal_bound
from lowerbound.gradients import DReG, Pathwise, ScoreFunction, StickTheLanding
from lowerbound.losses import VariationalLoss
from lowerbound.objectives import ELBO, IWAE
from lowerbound.testing import assert_unbiased, flat_gradient

ELBOS = [ELBO(rate="entropy"), ELBO(rate="kl")]
NUM_SAMPLES = 2
NUM_REPEATS = 64


@functools.cache
def gaussian():
    drawn = LinearGaussian.random(2, 1, seed=1)
    exact = LinearGaussian(drawn.weight, drawn.offset, drawn.scale / 2)
    model = exact.model(exact.posterior_module(diagonal=True))
    with torch.no_grad():
        model.posterior.log_scale += 0.4
        model.posterior.offset += 1.0
    x = torch.tensor([[0.5, 0.0]], dtype=torch.float64)
    return model, x, lambda objective: normal_bound(model, objective, x, NUM_SAMPLES)


@functools.cache
def bernoulli():
    exact = EnumerableBernoulli.random(2, 3, seed=1)
    x = torch.tensor([[1.0, 0.0, 1.0]], dtype=torch.float64)
    return exact.model(), x, lambda objective: exact.bound(objective, x, NUM_SAMPLES)


def check(case, objective, estimator, copies):
    """p and q are tested apart, so that neither gradient hides a bias of the other."""
    model, x, exact = case()
    loss = VariationalLoss(model, objective, estimator, NUM_SAMPLES)
    loss.check(x)
    theta = [*model.prior.parameters(), *model.likelihood.parameters()]
    sizes = [sum(p.numel() for p in part) for part in (theta, [*model.posterior.parameters()])]
    parameters = [*theta, *model.posterior.parameters()]
    many = x.expand(copies, -1)
    repeats = torch.stack([flat_gradient(-loss(many).loss, parameters) for _ in range(NUM_REPEATS)])
    truth = flat_gradient(exact(objective).sum(), parameters)
    for got, expected in zip(repeats.split(sizes, 1), truth.split(sizes), strict=True):
        assert_unbiased(lambda got=got: got, expected, num_repeats=NUM_REPEATS, smallest_detectable=0.02)


@pytest.mark.parametrize("objective", ELBOS, ids=str)
def test_pathwise(objective):
    check(gaussian, objective, Pathwise(), 5_000)


@pytest.mark.parametrize("case", [gaussian, bernoulli])
@pytest.mark.parametrize("objective", ELBOS, ids=str)
def test_score_function_with_leave_one_out(case, objective):
    check(case, objective, ScoreFunction(), 10_000)


@pytest.mark.slow
def test_score_function_without_baseline():
    check(bernoulli, ELBO(), ScoreFunction(None), 36_000)


@pytest.mark.parametrize("estimator, objective", [(StickTheLanding(), IWAE()), (DReG(), ELBO())])
def test_the_refused_pairs_are_biased_indeed(estimator, objective):
    """`check` refuses them for a reason, which this test could not notice if it had no power."""
    model, x, exact = gaussian()
    many = x.expand(5_000, -1)
    phi = [*model.posterior.parameters()]
    truth = flat_gradient(exact(objective).sum(), phi)

    def gradient():
        estimate = estimator.estimate(objective, model.infer(many), model.joint(many), NUM_SAMPLES)
        return flat_gradient(estimate.surrogate.mean(), phi)

    with pytest.raises(AssertionError, match="is biased"):
        assert_unbiased(gradient, truth)


def test_stick_the_landing_has_no_variance_at_the_exact_posterior():
    exact = LinearGaussian.random(4, 2)
    x = exact.sample(1)
    model = exact.model()
    phi = [*model.posterior.parameters()]

    def spread(estimator):
        loss = VariationalLoss(model, ELBO(), estimator)
        return torch.stack([flat_gradient(loss(x).loss, phi) for _ in range(8)]).std(0).max()

    assert spread(StickTheLanding()) < 1e-9
    assert spread(Pathwise()) > 1e-2
