"""Hamiltonian Monte Carlo: its transition leaves a density as it is, its draws have the exact moments."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch.distributions import Independent, Normal

from lowerbound import LatentVariableModel, VariationalLoss, infer
from lowerbound.evaluate import posterior_mean
from lowerbound.exact import AffineNormal, EnumerableBernoulli, LinearGaussian
from lowerbound.gradients import ScoreFunction
from lowerbound.inference import HMC, InferenceWarning, hamiltonian_transition, with_inference
from lowerbound.inference.adaptation import DualAveraging, RunningScale
from lowerbound.inference.draws import Draws, effective_sample_size, r_hat
from lowerbound.inference.hamiltonian import point_at
from lowerbound.objectives import ELBO
from lowerbound.row_numbers import rows_from

FALSE_FAILURE_RATE = 1e-6


def quartic(z):
    """A density that is not Gaussian, of two coordinates that depend on each other."""
    return -0.25 * z[..., 0] ** 4 - 0.5 * (z[..., 1] - z[..., 0]) ** 2


def exact_quartic_draws(count):
    grid = torch.linspace(-6, 6, 200_001, dtype=torch.float64)
    cdf = (-0.25 * grid**4).exp().cumsum(0)
    first = grid[torch.searchsorted(cdf / cdf[-1], torch.rand(count, dtype=torch.float64))]
    return torch.stack([first, first + torch.randn(count, dtype=torch.float64)], -1)


@pytest.mark.parametrize("scale", [None, torch.tensor([0.5, 1.5], dtype=torch.float64)])
def test_a_transition_leaves_the_density_as_it_is(scale):
    """Exact draws are exact draws afterwards, with steps so long that a third of them are rejected."""
    z = exact_quartic_draws(40_000).reshape(20_000, 2, 2)
    scale = None if scale is None else scale.expand(1, 2, 2)
    here, step_size = point_at(quartic, z), torch.tensor([[1.1, 0.9]], dtype=torch.float64)
    for _ in range(3):
        step = hamiltonian_transition(quartic, here, step_size, 3, scale)
        here = step.point
    assert 0.3 < step.acceptance.mean() < 0.9
    reference = exact_quartic_draws(40_000)
    for statistic in (
        lambda v: v[:, 0],
        lambda v: v[:, 0] ** 2,
        lambda v: v[:, 0] ** 4,
        lambda v: v[:, 1],
        lambda v: v[:, 1] ** 2,
        lambda v: v[:, 0] * v[:, 1],
    ):
        got, expected = statistic(here.z.reshape(-1, 2)), statistic(reference)
        error = ((got.var() + expected.var()) / 40_000).sqrt()
        assert abs(got.mean() - expected.mean()) < stats.norm.isf(FALSE_FAILURE_RATE / 12) * error


def test_short_steps_keep_the_energy_to_second_order():
    z = torch.randn(50, 4, 2, dtype=torch.float64)
    errors = []
    for step in (0.02, 0.01):
        torch.manual_seed(1)
        short = torch.full((1, 1), step).double()
        got = hamiltonian_transition(quartic, point_at(quartic, z), short, int(0.4 / step))
        errors.append(-got.acceptance.log().mean())
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)


def test_a_trajectory_that_leaves_the_numbers_is_rejected():
    def cliff(z):
        return torch.where(z[..., 0].abs() < 1, -(z**2).sum(-1), torch.nan)

    start = point_at(cliff, torch.zeros(100, 1, 2))
    step = hamiltonian_transition(cliff, start, torch.full((1, 1), 1.0), 2)
    end = step.point
    assert end.z.isfinite().all()
    assert end.log_density.isfinite().all()
    assert step.acceptance.isfinite().all()
    assert torch.equal(step.diverged, step.acceptance == 0)
    assert step.diverged.any()
    assert ((end.z == 0).all(-1)).any()  # some fell
    assert (end.z[..., 0].abs() < 1).all()


def case():
    exact = LinearGaussian.random(5, 3, seed=1)
    zero = torch.zeros(3, 5, dtype=torch.float64)
    return exact, exact.model(AffineNormal(zero, zero[:, 0], log_scale=zero[:, 0])), exact.sample(4)


def test_the_draws_have_the_moments_of_the_exact_posterior():
    """Within what their own effective sample sizes say, which must be large enough to tell."""
    exact, model, x = case()
    with torch.no_grad():
        draws = HMC(num_chains=32, num_warmup=100, num_samples=100)(model, x)
    p = exact.posterior(x)
    assert draws.r_hat.max() < 1.1
    assert draws.effective_sample_size.min() > 400
    assert 0.6 < draws.acceptance.min() <= draws.acceptance.max() <= 1
    standard = (draws.values - p.mean) / p.stddev
    t = stats.norm.isf(FALSE_FAILURE_RATE / (2 * 3 * 12))
    for power, expected in ((1, 0.0), (2, 1.0)):
        values = standard**power
        error = values.flatten(0, 1).std(0) / effective_sample_size(values).sqrt()
        assert ((values.mean((0, 1)) - expected).abs() < 1.3 * t * error).all()
        assert error.max() < 0.1
    products = standard[..., 0] * standard[..., 1]
    cov = p.covariance_matrix[:, 0, 1] / (p.stddev[:, 0] * p.stddev[:, 1])
    error = products.flatten(0, 1).std(0) / effective_sample_size(products).sqrt()
    assert ((products.mean((0, 1)) - cov).abs() < 1.3 * t * error).all()


@pytest.mark.slow
def test_the_scale_and_the_step_size_are_learned():
    """Without the scale, coordinates of very different size leave the wide one nearly where it was."""
    base = LinearGaussian.random(3, 2, seed=1)
    weight = torch.tensor([[100.0, 0.0], [0.0, 0.01], [0.0, 0.0]], dtype=torch.float64)
    exact = LinearGaussian(weight, base.offset, base.scale)
    x = exact.sample(2)
    with torch.no_grad():
        draws = HMC(num_chains=16, num_warmup=150, num_samples=50, start="prior")(exact.model(), x)
    assert draws.r_hat.max() < 1.05
    assert torch.allclose(draws.stddev, exact.posterior(x).stddev, rtol=0.25)


def test_draws_are_picked_for_each_datum_by_itself():
    values = torch.arange(24.0).reshape(4, 2, 3, 1)
    draws = Draws(values, torch.ones(3), torch.zeros(3, dtype=torch.int64))
    picked = draws.sample((500,))
    assert picked.shape == (500, 3, 1)
    for i in range(3):
        assert set(picked[:, i, 0].tolist()) == set(values[:, :, i, 0].flatten().tolist())
    assert torch.equal(draws.mean, values.mean((0, 1)))
    assert torch.allclose(draws.variance, values.flatten(0, 1).var(0))
    with pytest.raises(ValueError, match="has no density and so no bound"):
        draws.log_prob(picked)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_effective_sample_sizes_of_an_autoregression(rho):
    """(1 − ρ)/(1 + ρ) of its length."""
    noise = torch.randn(4000, 4, 30, dtype=torch.float64)
    values = [noise[0]]
    for e in noise[1:]:
        values.append(rho * values[-1] + (1 - rho**2) ** 0.5 * e)
    size = effective_sample_size(torch.stack(values)).mean() / 16_000
    assert size == pytest.approx((1 - rho) / (1 + rho), rel=0.07)


def test_r_hat_sees_chains_that_disagree_and_chains_that_drift():
    fine = torch.randn(500, 4, 7, dtype=torch.float64)
    assert (r_hat(fine) - 1).abs().max() < 0.03
    apart = fine + torch.arange(4.0).double()[:, None]
    assert r_hat(apart).min() > 1.3
    drift = fine + torch.linspace(0, 3, 500).double()[:, None, None]
    assert r_hat(drift).min() > 1.1
    assert effective_sample_size(apart).max() < 30
    with pytest.raises(ValueError, match="at least 4 draws"):
        r_hat(fine[:3])


def test_r_hat_and_its_variances_by_hand():
    """Four draws of two chains make four halves of two draws; each variance has the divisor n − 1, here 1."""
    values = torch.tensor([[0.0, 5.0], [2.0, 4.0], [3.0, 1.0], [7.0, 3.0]]).double()[..., None]
    within = (2.0 + 8.0 + 0.5 + 2.0) / 4
    means = np.array([1.0, 5.0, 4.5, 2.0])
    between_over_n = ((means - means.mean()) ** 2).sum() / 3
    expected = ((within * 1 / 2 + between_over_n) / within) ** 0.5
    assert float(r_hat(values)) == pytest.approx(expected, abs=1e-12)


def two_modes(distance):
    """x = |z| + noise: p(z | x) has a mode on either side of 0, and mean 0."""

    class Folded(torch.nn.Module):
        def forward(self, z):
            return Independent(Normal(distance * z.abs(), 0.3), 1)

    zero = torch.zeros(1, 1, dtype=torch.float64)
    posterior = AffineNormal(zero, zero[:, 0], log_scale=zero[:, 0])
    prior = LinearGaussian.random(1, 1).model().prior
    return LatentVariableModel(prior=prior, likelihood=Folded(), posterior=posterior)


def test_rows_of_blocks_are_named_by_their_number_in_the_data(monkeypatch):
    """Two rows at a time: the fourth of five rows, of two modes, is the second of its block."""
    monkeypatch.setattr("lowerbound.evaluate.posterior_moments._ROWS_PER_BLOCK", 2)
    x = torch.tensor([[0.0], [0.0], [0.0], [9.0], [0.0]]).double()
    model = with_inference(two_modes(6.0), HMC(num_chains=5, num_warmup=20, num_samples=20))
    with pytest.warns(InferenceWarning) as caught:
        posterior_mean(model, x)
    disagreeing = [str(one.message) for one in caught if "disagree" in str(one.message)]
    assert any("of the 2 rows from row 2 on, row 3 most of all" in sentence for sentence in disagreeing)
    with rows_from(10), rows_from(5), pytest.warns(InferenceWarning, match="from row 15 on, row 18 most of all"):
        infer(two_modes(6.0), x, HMC(num_chains=5, num_warmup=20, num_samples=20))


def test_chains_in_several_modes_are_said_to_disagree():
    """Their mean is not 0, and nobody gets it in silence."""
    x = torch.tensor([[9.0], [0.0]]).double()
    with pytest.warns(InferenceWarning) as caught:
        inferred = infer(two_modes(6.0), x, HMC(num_chains=5, num_warmup=60, num_samples=60), seed=1)
    assert abs(float(inferred.mean[0])) > 0.2
    assert not inferred.trustworthy
    assert [str(one.message) for one in caught] == list(inferred.problems)
    assert "row 0 most of all, have chains that disagree (R̂ above 1.05, at worst" in inferred.problems[0]
    assert all(len(problem) < 300 for problem in inferred.problems)
    assert inferred.r_hat[0] > 2
    assert inferred.effective_sample_size.shape == (2, 1)


@pytest.mark.filterwarnings("ignore::lowerbound.inference.InferenceWarning")  # others than the one that is looked for
def test_divergences_are_counted_and_said():
    """A wall of 10,000 nats in the middle of the prior."""

    class Wall(torch.nn.Module):
        def forward(self, z):
            return Independent(Normal(1e4 * (z > 1).double(), 50.0), 1)

    model = two_modes(1.0)
    model.likelihood = Wall()
    with pytest.warns(InferenceWarning, match=r"transitions that diverged \(at worst \d+ of 120\)"):
        inferred = infer(model, torch.zeros(3, 1).double(), HMC(num_warmup=20, num_samples=30))
    assert inferred.divergences.shape == (3,)
    assert inferred.divergences.sum() > 0


@pytest.mark.slow
def test_chains_that_agree_are_trustworthy_and_say_nothing():
    _, model, x = case()
    inferred = infer(model, x, HMC(num_chains=6, num_warmup=150, num_samples=200))
    assert inferred.trustworthy
    assert inferred.divergences.tolist() == [0, 0, 0, 0]
    amortised = infer(model, x)
    assert amortised.trustworthy
    assert amortised.r_hat is amortised.divergences is amortised.effective_sample_size is None


def test_chains_that_never_move_are_no_agreement():
    stuck = Draws(torch.zeros(50, 4, 1, 2), torch.zeros(1), torch.zeros(1, dtype=torch.int64))
    assert len(stuck.problems) == 2
    assert "at worst inf" in stuck.problems[0]


def test_dual_averaging_finds_the_step_that_is_accepted_as_often_as_wanted():
    search = DualAveraging(torch.tensor([[0.01, 5.0]], dtype=torch.float64), 0.7)
    for _ in range(2000):
        search.update((-search.current).exp())
    assert torch.allclose(search.final, torch.full_like(search.final, -np.log(0.7)), rtol=0.02)


def test_the_running_scale_is_the_standard_deviation():
    z = torch.randn(9, 5, 3, 2, dtype=torch.float64)
    running = RunningScale(torch.full((3, 2), 2.0).double())
    for each in z:
        running.update(each)
    squares = z.flatten(0, 1).var(0, correction=0) * 45
    assert torch.allclose(running.scale, ((squares + 5 * 4) / 50).sqrt())


@pytest.mark.parametrize(
    "options", [{"num_chains": 0}, {"num_samples": 3}, {"num_leapfrog": 0}, {"target_acceptance": 1.0}]
)
def test_numbers_that_cannot_be_run_are_refused(options):
    with pytest.raises(ValueError, match=f"HMC got {next(iter(options))}="):
        HMC(**options)


def test_discrete_latents_are_refused():
    model = EnumerableBernoulli.random(2, 3).model()
    with pytest.raises(ValueError, match=r"use Local\(gradient=ScoreFunction\(\)\)"):
        HMC()(model, torch.ones(1, 3, dtype=torch.float64))


def test_a_bound_of_draws_is_refused():
    _, model, x = case()
    few = HMC(num_warmup=0, num_samples=4)
    with pytest.raises(ValueError, match=r"use Local\(\)"):
        VariationalLoss(model, ELBO(), ScoreFunction(), 2, inference=few).check(x)


def test_short_alternating_chains_are_not_worth_any_number_of_draws():
    values = (torch.arange(40) % 2).double()[:, None, None, None] + 0.01 * torch.randn(40, 8, 1, 1, dtype=torch.float64)
    size = Draws(values, torch.ones(1), torch.zeros(1, dtype=torch.int64)).effective_sample_size
    assert size.item() == pytest.approx(320 * math.log10(320))
