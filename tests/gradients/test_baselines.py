"""The score function with every baseline, on every draw that it could make: exact means and variances."""

from __future__ import annotations

import pytest
import torch
from every_draw import every_draw, exact
from torch import nn

from lowerbound.baselines import Constant, Learned, LeaveOneOut, MovingAverage
from lowerbound.exact import EnumerableBernoulli, LinearGaussian
from lowerbound.gradients import ScoreFunction
from lowerbound.losses import VariationalLoss
from lowerbound.objectives import ELBO, IWAE
from lowerbound.testing import check_gradient, flat_gradient

X = torch.tensor([[1.0, 0.0, 1.0]], dtype=torch.float64)
ALONE = [None, Constant(-2.0), MovingAverage, lambda: Learned(3, hidden=4).double()]
TOGETHER = [LeaveOneOut(), LeaveOneOut("arithmetic")]


def case():
    exact_model = EnumerableBernoulli.random(2, 3, seed=1)
    return exact_model.model(), exact_model.states.double()


def made(baseline):
    """Modules have state: each test takes a new one."""
    fresh = isinstance(baseline, type) or type(baseline).__name__ == "function"
    return baseline() if fresh else baseline


@pytest.mark.parametrize("objective", [ELBO(), ELBO(rate="entropy"), IWAE()], ids=str)
@pytest.mark.parametrize(
    "baseline, num_samples", [*((b, s) for b in ALONE for s in (1, 2)), *((b, 3) for b in TOGETHER)]
)
def test_the_mean_over_all_draws_is_the_exact_gradient(baseline, num_samples, objective):
    model, states = case()
    estimator = ScoreFunction(made(baseline))
    for _ in range(2):  # at the second step there is a past
        got = every_draw(model, X, states, estimator, objective, num_samples)
    value, phi, theta = exact(model, X, states, objective, num_samples)
    torch.testing.assert_close(got.value, value)
    torch.testing.assert_close(got.mean, phi)
    torch.testing.assert_close(got.theta, theta)


def test_normalised_it_is_the_exact_gradient_divided_by_what_the_past_says():
    model, states = case()
    estimator = ScoreFunction(LeaveOneOut(), normalise=True)
    assert estimator.kind == "biased"
    assert ScoreFunction().kind == "unbiased"
    assert estimator.mean_square is not None
    _, phi, theta = exact(model, X, states, ELBO(), 2)
    for past, divisor in [(0.0, 1.0), (0.25, 1.0), (16.0, 4.0)]:
        estimator.mean_square.total.fill_(past)
        estimator.mean_square.weight.fill_(1.0)
        got = every_draw(model, X, states, estimator, ELBO(), 2)
        torch.testing.assert_close(got.theta, theta)
        torch.testing.assert_close(got.mean, phi / divisor)
    torch.testing.assert_close(estimator.mean_square.weight, torch.tensor(1.99))


@pytest.mark.parametrize("objective", [ELBO(rate="kl"), IWAE()], ids=str)
def test_a_gradient_of_which_only_a_part_would_be_normalised_is_refused(objective):
    model, _ = case()
    with pytest.raises(ValueError, match=r"use ELBO\(\), or normalise=False"):
        ScoreFunction(normalise=True).check(objective, model.infer(X), 2)


class Guess(nn.Module):
    """A learned baseline of one number for each datum."""

    def __init__(self, value):
        super().__init__()
        self.value = nn.Parameter(value)

    def forward(self, signal, x):
        return self.value.expand_as(signal)


@pytest.mark.parametrize("objective", [ELBO(), IWAE()], ids=str)
def test_a_baseline_learns_apart_from_the_model(objective):
    """Its gradient is that of its squared error alone; those of θ and φ are as if it were a constant."""
    model, _ = case()
    x = torch.cat([X, 1 - X])
    guess = Guess(torch.tensor([-1.0, -4.0], dtype=torch.float64))
    results = []
    for baseline in (guess, Constant(0.0)):
        estimator = ScoreFunction(baseline)
        torch.manual_seed(3)
        results.append(estimator.estimate(objective, model.infer(x), model.joint(x), 5))
    learned, constant = results
    expected = 2 * (learned.weights.log_w.detach() - guess.value.detach()).mean(0)
    torch.testing.assert_close(flat_gradient(learned.surrogate.sum(), [guess.value]), expected)
    torch.testing.assert_close(learned.surrogate, constant.surrogate)
    zero = Guess(torch.zeros(2, dtype=torch.float64))
    torch.manual_seed(3)
    other = ScoreFunction(zero).estimate(objective, model.infer(x), model.joint(x), 5)
    pairs = [flat_gradient(e.surrogate.sum(), model.parameters()) for e in (other, constant)]
    torch.testing.assert_close(*pairs)
    error = (learned.surrogate - learned.surrogate.detach()).sum()
    assert flat_gradient(error, [*model.prior.parameters()]).abs().max() > 0


def test_a_learned_baseline_is_a_part_of_the_loss_and_follows_its_mode():
    model, _ = case()
    loss = VariationalLoss(model, ELBO(), ScoreFunction(Learned(3).double()), 1)
    names = {name for name, _ in loss.named_parameters()}
    assert "gradient.baseline.net.layers.0.weight" in names
    assert not any(p.grad is not None for p in loss.parameters())
    loss(X).loss.backward()
    assert all(p.grad is not None for p in loss.parameters())
    before = {key: value.clone() for key, value in loss.state_dict().items()}
    loss.eval()
    with torch.no_grad():
        loss(X)
    assert all(torch.equal(before[key], value) for key, value in loss.state_dict().items())


@pytest.mark.parametrize("baseline", [None, Constant(-1.0), MovingAverage(), LeaveOneOut("arithmetic")])
@pytest.mark.parametrize("objective", [ELBO(), ELBO(rate="kl"), IWAE()], ids=str)
def test_conformance(baseline, objective):
    model, _ = case()
    assert check_gradient(ScoreFunction(baseline), objective, model, X.expand(64, -1), 4)


def test_with_leave_one_out_there_is_no_variance_at_the_exact_posterior():
    exact_model = LinearGaussian.random(4, 2)
    model, x = exact_model.model(), exact_model.sample(3)
    estimate = ScoreFunction().estimate(ELBO(), model.infer(x), model.joint(x), 4)
    assert flat_gradient(estimate.surrogate.sum(), model.posterior.parameters()).abs().max() < 1e-9


def test_the_better_the_guess_the_less_the_variance():
    """For one sample and one latent the variance is a quadratic of the guess, with its minimum at E[f s²]/E[s²]."""
    exact_model = EnumerableBernoulli.random(1, 3, seed=2)
    model, states = exact_model.model(), exact_model.states.double()
    q = model.infer(X)
    p = q.log_prob(states[:, None]).exp().detach()[:, 0]
    s = states[:, 0] - p[1]
    f = sum(model.joint(X)(states[:, None])) - q.log_prob(states[:, None])
    best = ((p * f[:, 0] * s**2).sum() / (p * s**2).sum()).item()
    variances = [
        every_draw(model, X, states, ScoreFunction(Constant(best + shift)), ELBO(), 1).variance.sum()
        for shift in (0.0, 1.0, -2.0)
    ]
    spread = (p * s**2).sum().detach()
    torch.testing.assert_close(variances[1] - variances[0], spread)
    torch.testing.assert_close(variances[2] - variances[0], 4 * spread)
