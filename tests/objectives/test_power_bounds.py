"""Objectives that are power means of the weights: the Rényi bounds and the χ upper bound."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lowerbound.exact import EnumerableBernoulli, LinearGaussian
from lowerbound.gradients import Pathwise
from lowerbound.losses import VariationalLoss
from lowerbound.objectives import CUBO, ELBO, IWAE, ChiDivergence, Renyi
from lowerbound.testing import check_objective
from lowerbound.weights import LogWeights

SIZES = st.tuples(st.integers(1, 9), st.integers(1, 5), st.integers(0, 2**31), st.floats(0.01, 300.0))
ALPHAS = [-1.0, 0.0, 0.5, 1.0, 2.0, 5.0]


def signals(size):
    samples, batch, seed, spread = size
    g = torch.Generator().manual_seed(seed)
    return spread * torch.randn(samples, batch, generator=g, dtype=torch.float64)


def everything(dim=4):
    return torch.cartesian_prod(*[torch.arange(2.0, dtype=torch.float64)] * dim)


@pytest.mark.parametrize("objective", [*map(Renyi, ALPHAS), CUBO(), ChiDivergence(), CUBO(3.0)], ids=str)
def test_conformance(objective):
    check_objective(objective, num_samples=3)


@given(size=SIZES)
def test_the_ends_of_the_renyi_family(size):
    f = signals(size)
    assert torch.equal(Renyi(1.0).reduce(f), ELBO().reduce(f))
    assert torch.equal(Renyi(0.0).reduce(f), IWAE().reduce(f))
    assert torch.equal(Renyi(-1.0).reduce(f), CUBO(2.0).reduce(f))
    assert torch.equal(ChiDivergence(3.0).reduce(f), -CUBO(3.0).reduce(f))


@given(size=SIZES)
def test_alpha_near_one_is_near_the_elbo(size):
    """L_α = mean − ½ (α − 1) variance + …: the limit, its sign and its rate."""
    f = signals((*size[:3], 1.0))
    for step in (1e-4, -1e-4):
        expected = f.mean(0) - step / 2 * f.var(0, correction=0)
        assert torch.allclose(Renyi(1 + step).reduce(f), expected, atol=1e-6)


@given(size=SIZES)
def test_the_bound_falls_with_alpha_for_any_weights(size):
    f = signals(size)
    values = torch.stack([Renyi(alpha).reduce(f) for alpha in ALPHAS])
    assert (values.diff(dim=0) <= 1e-9 * (1 + values.abs().max())).all()
    assert (values[0] <= f.max(0).values + 1e-9).all()
    assert (values[-1] >= f.min(0).values - 1e-9).all()


@given(size=SIZES, shift=st.floats(-1e4, 1e4))
def test_shifting_the_weights_shifts_the_bound(size, shift):
    f = signals(size)
    for objective in (Renyi(0.5), Renyi(3.0), CUBO()):
        assert torch.allclose(objective.reduce(f + shift), objective.reduce(f) + shift, rtol=1e-9, atol=1e-7)


@pytest.mark.parametrize("seed", range(3))
def test_renyi_rises_with_samples_below_alpha_1_and_falls_above(seed):
    """Li & Turner (2016), theorem 2; all are the ELBO of one sample and none exceeds the evidence."""
    exact, x = EnumerableBernoulli.random(3, 4, seed=seed), everything()
    for alpha in (0.0, 0.5, 2.0):
        values = torch.stack([exact.bound(Renyi(alpha), x, k) for k in range(1, 5)])
        assert torch.allclose(values[0], exact.elbo(x))
        assert (values.diff(dim=0) * (1 if alpha < 1 else -1) >= -1e-12).all()
        assert (values.diff(dim=0).abs() > 1e-6).any()
        assert (values <= exact.log_evidence(x) + 1e-12).all()


def test_below_alpha_0_it_is_on_either_side_of_the_evidence():
    exact, x = EnumerableBernoulli.random(2, 4, seed=1), everything()
    objective = Renyi(-4.0)
    above = [(exact.bound(objective, x, k) - exact.log_evidence(x)).mean() for k in (1, 8)]
    assert above[0] < 0 < above[1]
    assert objective.bound == "none"
    assert Renyi(0.0).bound == Renyi(2.0).bound == "lower"
    assert [Renyi(alpha).linear for alpha in (0.0, 1.0)] == [False, True]


def exact_cubo(exact, x, n):
    """(1/n) log ∫ p(x, z)ⁿ q(z)^(1−n) dz of the optimal factorised Gaussian q with one latent, by a fine grid."""
    model = exact.model(exact.posterior_module(diagonal=True))
    with torch.no_grad():
        model.posterior.log_scale += 0.3
        model.posterior.offset += 0.2
        q, grid = model.infer(x), torch.linspace(-30, 30, 20_001, dtype=torch.float64)
        z = grid[:, None, None].expand(-1, x.shape[0], 1)
        log_q = q.log_prob(z)
        f = sum(model.joint(x)(z)) - log_q
        step = math.log(float(grid[1] - grid[0]))
        return model, (torch.logsumexp(n * f + log_q, 0) + step) / n


@pytest.mark.parametrize("n", [1.0, 2.0, 3.0])
def test_cubo_is_an_upper_bound_which_many_samples_reach(n):
    """ELBO ≤ IWAE ≤ log p(x) ≤ CUBO, and the estimate agrees with an integral within its standard error."""
    exact = LinearGaussian.random(3, 1)
    x = exact.sample(4)
    model, limit = exact_cubo(exact, x, n)
    log_p = exact.log_evidence(x)
    assert (limit >= log_p - 1e-9).all()
    assert n == 1 or (limit - log_p).min() > 1e-3
    with torch.no_grad():
        w = model.log_weights(x, 100_000)
    elbo, iwae, cubo = (objective.reduce(objective.signal(w)) for objective in (ELBO(), IWAE(), CUBO(n)))
    assert (elbo < iwae).all()
    assert (iwae <= cubo).all()
    powers = (n * (w.log_w - limit)).exp()  # of mean 1
    error = powers.std(0) / 100_000**0.5 / n
    assert ((cubo - limit).abs() < 5 * error + 1e-9).all()
    assert (elbo < log_p).all()
    assert (cubo > log_p - 5 * error).all()


def test_the_estimate_of_cubo_comes_from_below():
    """What the docstring warns of: with one sample its expectation is the ELBO."""
    exact, x = EnumerableBernoulli.random(2, 4, seed=1), everything()
    values = torch.stack([exact.bound(CUBO(), x, k) for k in (1, 2, 4, 8)])
    assert torch.allclose(values[0], exact.elbo(x))
    assert (values.diff(dim=0) >= -1e-12).all()


def test_chi_divergence_has_the_direction_of_the_exponential_form():
    """∇ of −(1/n) log mean wⁿ is −∇ mean wⁿ over n mean wⁿ, for each datum."""
    f = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    (got,) = torch.autograd.grad(ChiDivergence(2.0).reduce(f).sum(), f)
    powers = (2 * f).exp().mean(0)
    (of_powers,) = torch.autograd.grad(powers.sum(), f)
    assert torch.allclose(got, -of_powers / (2 * powers.detach()))


def test_chi_divergence_fits_a_wider_q_than_the_elbo():
    """For a correlated posterior and a factorised q: the χ²-divergence covers it, the ELBO fits inside."""
    exact = LinearGaussian(torch.tensor([[1.0, 1.0]]).double(), torch.zeros(1).double(), torch.tensor(0.5).double())
    x = torch.zeros(1, 1, dtype=torch.float64)
    model = exact.model(exact.posterior_module(diagonal=True))
    for part in (model.prior, model.likelihood):
        part.requires_grad_(False)
    before = model.posterior.log_scale.detach().clone()
    loss = VariationalLoss(model, ChiDivergence(), Pathwise(), 2_000)
    optimizer = torch.optim.Adam([p for p in loss.parameters() if p.requires_grad], lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        loss(x).loss.backward()
        optimizer.step()
    marginal = 0.5 * exact.posterior(x).covariance_matrix[0].diagonal().log()
    assert (model.posterior.log_scale > before + 0.2).all()
    assert (marginal > before + 0.2).all()


@pytest.mark.parametrize("objective", [Renyi(0.5), CUBO(), ChiDivergence()], ids=str)
def test_closed_forms_are_refused(objective):
    zeros = torch.zeros(2, 1)
    w = LogWeights(log_likelihood=zeros, log_prior=zeros, log_q=zeros, z=zeros, form="kl")
    with pytest.raises(ValueError, match=rf"{type(objective).__name__} got weights .* use ELBO"):
        objective.signal(w)


@pytest.mark.parametrize("make", [CUBO, ChiDivergence])
def test_orders_below_one_are_refused(make):
    with pytest.raises(ValueError, match=r"n=0.5 and needs n ≥ 1; use Renyi\(alpha=0.5\)"):
        make(0.5)
