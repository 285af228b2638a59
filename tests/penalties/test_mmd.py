"""MMD against its closed form between Gaussians (rbf) and quadrature (imq)."""

from __future__ import annotations

import jaxtyping
import numpy as np
import pytest
import torch
from torch.distributions import Bernoulli, Independent, Normal

from lowerbound.gradients import Pathwise
from lowerbound.losses import VariationalLoss
from lowerbound.models import vae
from lowerbound.objectives import ELBO
from lowerbound.penalties import MMD
from lowerbound.testing import assert_unbiased, flat_gradient

LOC = torch.tensor([[0.5, -0.3], [-0.6, 0.8], [1.2, 0.1]], dtype=torch.float64)
SCALE = torch.tensor([[0.4, 0.7], [1.1, 0.5], [0.6, 0.9]], dtype=torch.float64)
NUM_REPEATS = 40


def diagonal(loc, scale):
    return Independent(Normal(loc, scale), 1)


def standard(dim=2):
    return diagonal(torch.zeros(dim, dtype=torch.float64), torch.ones(dim, dtype=torch.float64))


def rbf(a, b, h2):
    """E[exp(−‖z − y‖²/2h²)] for all pairs of diagonal Gaussians."""
    variance = h2 + a[1][:, None] ** 2 + b[1] ** 2
    return ((h2 / variance).sqrt() * torch.exp(-((a[0][:, None] - b[0]) ** 2) / (2 * variance))).prod(-1)


def mixture_mmd(loc, scale, h2):
    """MMD² between the mixture with equal weights and the standard normal."""
    q, p = (loc, scale), (torch.zeros_like(loc[:1]), torch.ones_like(loc[:1]))
    return rbf(q, q, h2).mean() + rbf(p, p, h2).mean() - 2 * rbf(q, p, h2).mean()


def batch(size):
    """Rows drawn with replacement from three data: independent draws of the aggregate."""
    rows = torch.randint(3, (size,))
    return diagonal(LOC[rows], SCALE[rows])


@pytest.mark.parametrize("bandwidth, h2", [(None, 2.0), (0.7, 0.49)])
def test_value_of_the_aggregate(bandwidth, h2):
    """A row paired with itself, or B² pairs for B (B − 1), is off by 1/B of k: far more than allowed here."""
    torch.manual_seed(0)
    penalty = MMD(weight=3.0, bandwidth=bandwidth)
    draws = [penalty(batch(10), standard()) for _ in range(3000)]
    exact = 3.0 * mixture_mmd(LOC, SCALE, h2)
    assert_unbiased(lambda: torch.stack(draws)[:, None], exact[None], num_repeats=3000, smallest_detectable=0.3)


@pytest.mark.slow
def test_gradient_of_the_aggregate():
    torch.manual_seed(0)
    loc, scale = LOC.clone().requires_grad_(), SCALE.clone().requires_grad_()

    def one():
        rows = torch.randint(3, (200,))
        return flat_gradient(MMD(weight=1.0)(diagonal(loc[rows], scale[rows]), standard()), [loc, scale])

    truth = flat_gradient(mixture_mmd(loc, scale, 2.0), [loc, scale])
    assert_unbiased(one, truth, num_repeats=300, smallest_detectable=0.2)


@pytest.mark.slow
def test_inverse_multiquadric_by_quadrature():
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    weights = weights / weights.sum()

    def expected(mean, variance, h2):
        return float((weights / (1 + (mean + variance**0.5 * nodes) ** 2 / (2 * h2))).sum())

    loc, scale, h2 = 0.8, 0.5, 1.0
    exact = expected(0, 2 * scale**2, h2) + expected(0, 2, h2) - 2 * expected(loc, 1 + scale**2, h2)
    torch.manual_seed(0)
    q = diagonal(torch.full((20, 1), loc, dtype=torch.float64), torch.full((20, 1), scale, dtype=torch.float64))
    draws = torch.stack([MMD(weight=1.0, kernel="imq")(q, standard(1)) for _ in range(2000)])
    assert_unbiased(lambda: draws[:, None], torch.tensor([exact]), num_repeats=2000, smallest_detectable=0.3)


@pytest.mark.parametrize("kernel", ["rbf", "imq"])
def test_no_distance_from_the_prior_itself(kernel):
    torch.manual_seed(0)
    zero, one = torch.zeros(20, 2, dtype=torch.float64), torch.ones(20, 2, dtype=torch.float64)
    draws = torch.stack([MMD(weight=1.0, kernel=kernel)(diagonal(zero, one), standard()) for _ in range(1500)])
    assert abs(float(draws.mean())) < 5 * float(draws.std()) / 1500**0.5
    assert draws.min() < 0 < draws.max()


def test_the_prior_is_held_fixed_and_each_context_has_its_own():
    loc = torch.zeros(6, 2, requires_grad=True)
    prior = diagonal(torch.zeros(6, 2, requires_grad=True), torch.ones(6, 2))
    prior.sample = prior.rsample
    penalty = MMD()(diagonal(loc, torch.ones(6, 2)), prior)
    assert penalty.shape == ()
    assert flat_gradient(penalty, [prior.base_dist.loc]).abs().max() == 0
    assert flat_gradient(penalty, [loc]).abs().max() > 0


def test_auxiliary_variables_are_no_latents():
    torch.manual_seed(0)
    model = vae((4,), latent_dim=2, hidden=(3,), posterior="auxiliary-normal:auxiliary_dim=3")
    loss = VariationalLoss(model, ELBO(), Pathwise(), 2, MMD())
    loss.check(torch.ones(3, 4))
    assert loss(torch.ones(3, 4)).loss.isfinite()


def test_one_row_is_left_over_in_evaluation_and_refused_in_training():
    q = diagonal(torch.zeros(1, 2, requires_grad=True), torch.ones(1, 2))
    with torch.no_grad():
        assert MMD()(q, standard()) == 0
    with pytest.raises(ValueError, match="use batch_size ≥ 2"):
        MMD()(q, standard())


def test_refusals(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    discrete = Independent(Bernoulli(torch.full((3, 2), 0.5)), 1)
    with pytest.raises(ValueError, match="use DiagonalNormal, or a relaxed posterior"):
        MMD().check(discrete, discrete)
    MMD().check(batch(3), standard())
    for options, words in [
        ({"weight": -1.0}, "weight=-1.0"),
        ({"weight": float("nan")}, "weight=nan"),
        ({"kernel": "linear"}, "'rbf' or 'imq'"),
        ({"bandwidth": 0.0}, "bandwidth=0.0"),
    ]:
        with pytest.raises(ValueError, match=words):
            MMD(**options)


def test_the_loss_takes_it_off_the_bound():
    torch.manual_seed(0)
    model = vae((4,), latent_dim=2, hidden=(3,))
    x = torch.ones(5, 4)
    terms = []
    for penalty in (None, MMD(weight=7.0)):
        torch.manual_seed(1)
        terms.append(VariationalLoss(model, ELBO(), Pathwise(), 2, penalty)(x).terms)
    torch.testing.assert_close(terms[1]["bound"], terms[0]["bound"] - terms[1]["penalty"])


def test_a_bandwidth_beyond_all_latents_tells_nothing_apart():
    q, p = Independent(Normal(torch.zeros(3, 2), 1.0), 1), Independent(Normal(torch.ones(2), 1.0), 1)
    assert MMD(bandwidth=1e308)(q, p) == 0
