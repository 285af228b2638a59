"""Annealed importance sampling against models whose log p(x) is known."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import nn
from torch.distributions import Distribution

from lowerbound import likelihoods, posteriors, priors
from lowerbound.evaluate import annealed_importance, bidirectional, log_evidence
from lowerbound.evaluate.annealed import _spacing
from lowerbound.evaluate.annealing_path import OnPath, annealing_path
from lowerbound.exact import EnumerableBernoulli, LinearGaussian
from lowerbound.likelihoods import Bernoulli
from lowerbound.model import LatentVariableModel
from lowerbound.nets import MLP
from lowerbound.testing import assert_unbiased


def gaussian(widen=0.5):
    exact = LinearGaussian.random(4, 2)
    model = exact.model(exact.posterior_module(diagonal=True))
    with torch.no_grad():
        model.posterior.log_scale += widen
        model.posterior.offset += 0.3
    torch.manual_seed(0)
    return exact, model, exact.sample(100)


def test_spacing_is_symmetric_and_complete():
    beta = _spacing(50)
    assert (beta[0], beta[-1], len(beta)) == (0.0, 1.0, 51)
    assert all(low < high for low, high in itertools.pairwise(beta))
    assert all(math.isclose(low, 1 - high, abs_tol=1e-12) for low, high in zip(beta, reversed(beta), strict=True))
    assert beta[1] < beta[26] - beta[25]  # finest at the ends


@pytest.mark.parametrize("start", ["prior", "posterior"])
@pytest.mark.parametrize("num_distributions", [1, 2, pytest.param(5, marks=pytest.mark.slow)])
def test_the_mean_weight_is_exactly_the_evidence(start, num_distributions):
    """E[w] = p(x) for every number of distributions, step size and start: few of them make a bug large."""
    exact, model, x = gaussian()
    x = exact.posterior_module().offset.new_zeros(1, 4) + exact.offset  # the likeliest datum
    truth = exact.log_evidence(x)
    copies, chains = x.expand(400, -1), 100
    runs = iter(range(100))

    def mean_weights():
        got = annealed_importance(
            model,
            copies,
            num_distributions=num_distributions,
            num_chains=chains,
            start=start,
            num_leapfrog=3,
            seed=next(runs),
        )
        return (got.log_evidence - truth).exp()[:, None]

    assert_unbiased(mean_weights, torch.ones(1, dtype=torch.float64), num_repeats=800, smallest_detectable=0.06)


@pytest.mark.parametrize("start", [pytest.param("prior", marks=pytest.mark.slow), "posterior"])
def test_within_the_stated_error(start):
    exact, model, x = gaussian()
    got = annealed_importance(model, x, num_distributions=40, num_chains=32, start=start)
    z = (got.log_evidence - exact.log_evidence(x)) / got.standard_error
    assert z.abs().max() < 5.5
    assert 0.7 < z.std() < 1.3
    assert abs(got.mean - exact.log_evidence(x).mean()) < 5 * got.sampling_error_of_mean
    assert abs(got.acceptance.mean() - 0.65) < 0.1
    assert math.isclose(got.bits_per_dim, -got.mean / (4 * math.log(2)))
    assert (got.num_chains, got.num_distributions, got.num_dimensions) == (32, 40, 4)


def test_a_single_distribution_is_importance_sampling():
    _, model, x = gaussian()
    one = annealed_importance(model, x, num_distributions=1, num_chains=500, start="posterior")
    other = log_evidence(model, x, num_samples=500)
    error = (one.standard_error.square() + other.standard_error.square()).sqrt()
    assert ((one.log_evidence - other.log_evidence).abs() < 5 * error).all()
    assert (one.acceptance == 1).all()


def test_exact_when_started_at_the_posterior():
    exact, _, x = gaussian()
    got = annealed_importance(exact.model(), x, num_distributions=3, num_chains=2, start="posterior")
    assert torch.allclose(got.log_evidence, exact.log_evidence(x))


@pytest.mark.parametrize("start", ["prior", "posterior"])
@pytest.mark.slow
def test_the_sandwich_holds_the_evidence(start):
    exact, model, _ = gaussian()
    loose, tight = (
        bidirectional(model, 300, num_distributions=t, num_chains=4, start=start, num_leapfrog=5) for t in (3, 60)
    )
    for got in (loose, tight):
        low, high = got.lower.log_evidence - exact.log_evidence(got.x), got.upper.values - exact.log_evidence(got.x)
        assert low.mean() < 4 * low.std() / 300**0.5
        assert high.mean() > -4 * high.std() / 300**0.5
        assert torch.allclose(got.gap.values, high - low)
    assert tight.gap.mean < 0.2 * loose.gap.mean


@pytest.mark.parametrize("start", [pytest.param("prior", marks=pytest.mark.slow), "posterior"])
@pytest.mark.slow
def test_the_backward_mean_weight_is_exact(start):
    """E[1/w] = 1/p(x) over x and z together: the mean of p(x)/w is one."""
    exact = LinearGaussian.random(4, 2)
    exact = LinearGaussian(0.3 * exact.weight, exact.offset, exact.scale)  # near the prior: 1/w has a variance
    model = exact.model(exact.posterior_module(diagonal=True))
    with torch.no_grad():
        model.posterior.log_scale += 0.3
    runs = iter(range(100))

    def ratios():
        got = bidirectional(
            model, 2000, num_distributions=4, num_chains=8, start=start, num_leapfrog=3, seed=next(runs)
        )
        return (exact.log_evidence(got.x) - got.upper.values).exp()[:, None]

    assert_unbiased(ratios, torch.ones(1, dtype=torch.float64), num_repeats=12_000, smallest_detectable=0.15)


@pytest.mark.slow
def test_it_reaches_what_importance_sampling_does_not():
    """A posterior far from q: 16 chains of 60 distributions against 3,200 samples of q."""
    exact, model, x = gaussian()
    x = x[:50]
    with torch.no_grad():
        model.posterior.offset += 5.0
        model.posterior.log_scale -= 1.0
    truth = exact.log_evidence(x).mean()
    annealed = annealed_importance(model, x, num_distributions=60, num_chains=16)
    assert abs(annealed.mean - truth) < 0.2
    assert log_evidence(model, x, num_samples=3200).mean < truth - 1


@pytest.mark.slow
def test_context_rows_travel_with_their_data():
    net = MLP([2, 3], [], 5)
    model = LatentVariableModel(
        prior=priors.StandardNormal(2),
        likelihood=likelihoods.Normal(net, scale=1.0),
        posterior=posteriors.DiagonalNormal(MLP([5, 3], [], (2, 2))),
    ).double()
    x, label = torch.randn(9, 5, dtype=torch.float64), torch.eye(3, dtype=torch.float64).repeat(3, 1)
    got = annealed_importance(model, x, num_distributions=20, num_chains=64, context=label, max_elements=64 * 5 * 4)
    layer = net.layers[0]
    for row in range(9):
        offset = layer.bias + layer.weight[:, 2:] @ label[row]
        exact = LinearGaussian(layer.weight[:, :2], offset, torch.tensor(1.0, dtype=torch.float64))
        error = got.log_evidence[row] - exact.log_evidence(x[row : row + 1])[0].detach()
        assert abs(error) < 5 * got.standard_error[row] + 1e-9
    assert bidirectional(model, 9, num_distributions=3, context=label).gap.values.shape == (9,)


def test_the_caller_is_left_as_it_was():
    _, model, x = gaussian()
    before, seen = torch.get_rng_state(), []
    got = annealed_importance(
        model,
        x[:5],
        num_distributions=3,
        num_chains=2,
        max_elements=2 * 4 * 2,
        progress=lambda *step: seen.append(step),
    )
    bidirectional(model, 2, num_distributions=2)
    assert torch.equal(torch.get_rng_state(), before)
    assert seen == [(2, 5), (4, 5), (5, 5)]
    assert not got.log_evidence.requires_grad
    assert all(parameter.grad is None for parameter in model.parameters())


class Implicit(Distribution):
    """Samples without a density."""

    arg_constraints = {}  # noqa: RUF012
    support = torch.distributions.constraints.real_vector

    def sample(self, sample_shape=()):
        return torch.randn(*sample_shape, *self.batch_shape, *self.event_shape, dtype=torch.float64)


class Opaque(torch.nn.Module):
    def forward(self, context=None):
        return Implicit(torch.Size((len(context),)), torch.Size((2,)), validate_args=False)


def test_refusals():
    exact, model, x = gaussian()
    for name in ("num_distributions", "num_chains", "num_leapfrog"):
        with pytest.raises(ValueError, match=f"{name}=0"):
            annealed_importance(model, x, **{name: 0})
    with pytest.raises(ValueError, match="num_data=0"):
        bidirectional(model, 0)
    with pytest.raises(ValueError, match="2 rows of x and 100 of context"):
        bidirectional(model, 2, context=x)
    with pytest.raises(ValueError, match="N ≥ 1"):
        annealed_importance(model, x[:0])
    with pytest.raises(ValueError, match="one row of context for each"):
        annealed_importance(model, x, context=x[:3])
    with pytest.raises(ValueError, match=r"the prior is over Boolean.*use evaluate\.log_evidence"):
        annealed_importance(EnumerableBernoulli.random(3, 4).model(), (x > 0).float())
    with pytest.raises(ValueError, match="Implicit has none; use start='prior'"):
        annealed_importance(exact.model(Opaque()), x, start="posterior")
    assert annealed_importance(exact.model(Opaque()), x, num_distributions=2).log_evidence.isfinite().all()


@pytest.mark.slow
def test_closes_below_a_tenth_of_a_nat_on_a_trained_model():
    """A small Bernoulli model trained on two clusters of images; float32, as in use."""
    from lowerbound.objectives import ELBO

    torch.manual_seed(0)
    templates = (torch.rand(4, 25) < 0.4).float()
    data = templates[torch.randint(4, (1000,))]
    data = torch.where(torch.rand_like(data) < 0.1, 1 - data, data)
    model = LatentVariableModel(
        prior=priors.StandardNormal(3),
        likelihood=Bernoulli(MLP(3, [32], 25)),
        posterior=posteriors.DiagonalNormal(MLP(25, [32], (2, 3))),
    )
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    for _ in range(600):
        optimizer.zero_grad()
        batch = data[torch.randint(1000, (100,))]
        w = model.log_weights(batch, 1)
        (-ELBO().reduce(ELBO().signal(w))).mean().backward()
        optimizer.step()
    got = bidirectional(model, 100, num_distributions=250, num_chains=16)
    assert abs(got.gap.mean) < 0.1
    reference = log_evidence(model, got.x, num_samples=20_000)
    assert got.lower.mean - 0.05 < reference.mean < got.upper.mean + 0.05


@pytest.mark.parametrize("start", ["prior", "posterior"])
@pytest.mark.parametrize("likelihood", [likelihoods.Bernoulli, None], ids=["slope", "autograd"])
def test_points_of_a_path_are_those_that_autograd_finds(start, likelihood):
    """At another β without an evaluation, and by the derivative along the output of the decoder."""
    torch.manual_seed(0)
    model = LatentVariableModel(
        prior=priors.StandardNormal(2),
        likelihood=likelihoods.Bernoulli(MLP(2, [8], 5)) if likelihood else likelihoods.Normal(MLP(2, [8], 5)),
        posterior=posteriors.DiagonalNormal(MLP(5, [8], (2, 2))),
    ).double()
    x = (torch.rand(3, 5, dtype=torch.float64) < 0.5).double()
    with torch.no_grad():
        path = annealing_path(model, x, None, start, 4)
        z = path.draw()
        point = path.at(z, 0.2).at(0.7)
    here = z.clone().requires_grad_()
    log_start, ratio = path.terms(here)
    value = log_start + 0.7 * ratio
    (gradient,) = torch.autograd.grad(value.sum(), here)
    torch.testing.assert_close((point.log_density, point.gradient), (value.detach(), gradient))
    with torch.no_grad():
        torch.testing.assert_close(OnPath(path, 0.7).gradient(z), gradient)


class _Ignores(nn.Module):
    """A net whose output learns and does not depend on z."""

    out_shape = (5,)

    def __init__(self):
        super().__init__()
        self.logits = nn.Parameter(torch.linspace(-1, 1, 5))

    def forward(self, z):
        return self.logits.expand(*z.shape[:-1], 5)


@pytest.mark.parametrize("start", ["prior", "posterior"])
def test_a_decoder_may_ignore_the_latents(start):
    torch.manual_seed(0)
    model = LatentVariableModel(
        prior=priors.StandardNormal(2),
        likelihood=likelihoods.Bernoulli(_Ignores()),
        posterior=posteriors.DiagonalNormal(MLP(5, [8], (2, 2))),
    )
    x = torch.tensor([[0.0, 1, 0, 1, 1]])
    got = annealed_importance(model, x, start=start, num_chains=500, num_distributions=20, num_leapfrog=3)
    exact = torch.distributions.Bernoulli(logits=model.likelihood.net.logits).log_prob(x).sum(-1).detach()
    torch.testing.assert_close(got.log_evidence.float(), exact, atol=0.1 if start == "posterior" else 1e-4, rtol=0)
