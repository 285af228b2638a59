"""Every invalid pair is refused with a sentence that names the alternative."""

from __future__ import annotations

import pytest
import torch

from lowerbound.baselines import LeaveOneOut
from lowerbound.exact import EnumerableBernoulli, LinearGaussian
from lowerbound.gradients import DReG, Pathwise, ScoreFunction, StickTheLanding, path_only_log_prob
from lowerbound.gradients.score_function import with_guess
from lowerbound.losses import VariationalLoss
from lowerbound.objectives import ELBO, IWAE
from lowerbound.testing import flat_gradient


def discrete():
    return EnumerableBernoulli.random(2, 3).model(), torch.ones(1, 3, dtype=torch.float64)


def continuous():
    exact = LinearGaussian.random(3, 2)
    return exact.model(), exact.sample(1)


@pytest.mark.parametrize(
    "case, estimator, objective, alternative",
    [
        (discrete, Pathwise(), ELBO(), r"use ScoreFunction\(\)"),
        (discrete, StickTheLanding(), ELBO(), r"use ScoreFunction\(\)"),
        (discrete, DReG(), IWAE(), r"use ScoreFunction\(\)"),
        (continuous, StickTheLanding(), IWAE(), r"use DReG\(\)"),
        (continuous, StickTheLanding(), ELBO(rate="entropy"), r"use rate='sampled' or Pathwise\(\)"),
        (continuous, StickTheLanding(), ELBO(rate="kl"), r"use rate='sampled' or Pathwise\(\)"),
        (continuous, DReG(), ELBO(), r"use StickTheLanding\(\)"),
    ],
)
def test_invalid_pairs_are_refused(case, estimator, objective, alternative):
    model, x = case()
    with pytest.raises(ValueError, match=alternative):
        VariationalLoss(model, objective, estimator).check(x)


def test_leave_one_out_needs_another_sample():
    model, x = discrete()
    with pytest.raises(ValueError, match="num_samples ≥ 2"):
        VariationalLoss(model, ELBO(), ScoreFunction(), num_samples=1)(x)


def test_dreg_refuses_chains():
    class Chain(torch.distributions.Normal):
        def rsample(self, sample_shape):
            z = super().rsample(sample_shape)
            return z, z

    model, x = continuous()
    with pytest.raises(ValueError, match=r"use Pathwise\(\)"):
        DReG().estimate(IWAE(), Chain(torch.zeros(1), torch.ones(1)), model.joint(x), 2)


def test_leave_one_out_against_its_definition():
    signal = torch.randn(4, 3, dtype=torch.float64)
    for objective in (ELBO(), IWAE()):
        got = with_guess(objective, signal, LeaveOneOut()(signal, signal))
        for s in range(4):
            replaced = signal.clone()
            replaced[s] = (signal.sum(0) - signal[s]) / 3
            assert torch.allclose(got[s], objective.reduce(replaced))


def test_path_only_density_keeps_the_value_and_drops_the_score():
    model, x = continuous()
    q = model.infer(x)
    z = q.rsample((3,)).detach().requires_grad_()
    log_q = path_only_log_prob(q, z)
    assert torch.equal(log_q, q.log_prob(z))
    assert flat_gradient(log_q.sum(), model.posterior.parameters()).abs().max() < 1e-12
    expected = torch.autograd.grad(q.log_prob(z).sum(), z)[0]
    assert torch.allclose(torch.autograd.grad(log_q.sum(), z)[0], expected)
