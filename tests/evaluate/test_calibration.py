"""An exact q passes as often as stated; one that is too wide, too narrow, shifted or blind is caught."""

from __future__ import annotations

import pytest
import scipy.stats
import torch
from torch import nn
from torch.distributions import Independent, Normal

from lowerbound import LatentVariableModel, likelihoods, nets, posteriors, priors
from lowerbound.evaluate import calibration, uniformity_p_values
from lowerbound.exact import EnumerableBernoulli, LinearGaussian
from lowerbound.inference import HMC, with_inference
from lowerbound.models import deep_latent_gaussian, ladder, vae

EXACT = LinearGaussian.random(4, 2, seed=1)


def spoiled(scale=1.0, shift=0.0):
    """The exact posterior with its scale multiplied and its mean moved by that many standard deviations."""
    model = EXACT.model()
    with torch.no_grad():
        model.posterior.offset += shift * torch.linalg.inv(EXACT.posterior_precision).diagonal().sqrt()
        model.posterior.scale_tril *= scale
    return model


def test_an_exact_q_raises_false_alarms_as_often_as_stated():
    many, level = 400, 0.1
    found = calibration(EXACT.model(), num_rows=40 * many, num_draws=19)
    studies = found.ranks.reshape(40, many * len(found.quantities)).numpy()  # each row is independent of the others
    alarms = (uniformity_p_values(studies) <= level).reshape(many, -1)
    low, high = scipy.stats.binom.ppf([5e-7, 1 - 5e-7], many, level)
    assert bool(((alarms.sum(0) >= low) & (alarms.sum(0) <= high)).all())


def test_an_exact_q_covers_what_it_says():
    found = calibration(EXACT.model(), num_rows=2000, seed=3)
    for curve in (found.coverage(), found.tarp()):
        assert bool(((curve.values - curve.levels).abs() < 5 * curve.standard_error).all())
    assert found.ranks.shape == (2000, 5)
    assert found.p_value > 1e-6


@pytest.mark.parametrize("fault", [{"scale": 2.0}, {"scale": 0.5}, {"shift": 1.0}])
def test_a_wrong_q_is_caught(fault):
    found = calibration(spoiled(**fault), num_rows=200)
    assert found.p_value < 1e-6
    covered = found.coverage((0.8,)).values.item()
    known = {2.0: 0.998, 0.5: 0.331}.get(fault.get("scale", 0.0))  # 1 − 0.2 to the power scale², for two latents
    assert covered == pytest.approx(known, abs=0.1) if known else covered < 0.65


def test_a_q_that_is_the_prior_is_caught_by_the_joint_density_alone():
    class Blind(nn.Module):
        def forward(self, x):
            zero = torch.zeros(len(x), 2, dtype=x.dtype)
            return Independent(Normal(zero, 1.0), 1)

    found = calibration(EXACT.model(Blind()), num_rows=300)
    p = dict(zip(found.quantities, found.p_values.tolist(), strict=True))
    assert p.pop("log p(x, z)") < 1e-6
    assert min(p.values()) > 1e-4


def test_binary_latents_have_random_ties():
    """Of an exact posterior over few states almost every comparison is a tie."""
    exact = EnumerableBernoulli.random(2, 4, seed=2)
    model = exact.model()

    class Exact(nn.Module):
        def forward(self, x):
            states = exact.states.double()
            log_joint = sum(model.joint(x)(states[:, None].expand(-1, len(x), -1)))
            return _States(states, log_joint.mT)

    found = calibration(LatentVariableModel(prior=model.prior, likelihood=model.likelihood, posterior=Exact()))
    assert found.p_value > 1e-6
    wrong = calibration(
        LatentVariableModel(
            prior=model.prior,
            likelihood=model.likelihood,
            posterior=posteriors.Bernoulli(nets.MLP(4, [], 2)).double(),
        )
    )
    assert wrong.p_value < 1e-6


class _States(torch.distributions.Distribution):
    """A distribution over listed states, with the logits of each row."""

    has_rsample = False

    def __init__(self, states, logits):
        self.states, self.index = states, torch.distributions.Categorical(logits=logits)
        super().__init__(logits.shape[:1], states.shape[1:], validate_args=False)

    def sample(self, sample_shape=()):
        return self.states[self.index.sample(sample_shape)]

    def log_prob(self, value):
        same = (value[..., None, :] == self.states).all(-1).long().argmax(-1)
        return self.index.log_prob(same)


def test_draws_without_a_density_are_ranked_by_the_joint():
    model = with_inference(EXACT.model(), HMC(num_chains=2, num_warmup=50, num_samples=80))
    found = calibration(model, num_rows=60, num_draws=31)
    assert found.region == "log p(x, z)"
    assert found.p_value > 1e-6
    with pytest.raises(ValueError, match="no ranks of 'log q"):
        found.of("log q(z | x)")


@pytest.mark.parametrize(
    "make",
    [
        lambda: deep_latent_gaussian((5,), latent_dims=[2, 3], hidden=[[4], [4]]),
        lambda: ladder((5,), latent_dims=[2, 3], hidden=[[4], [4]]),
    ],
)
def test_a_hierarchy_is_looked_at_layer_by_layer(make):
    found = calibration(make().eval(), num_rows=20, num_draws=5, max_elements=64)
    layers = [f"z_{l}[{d}]" for l, size in ((1, 2), (2, 3)) for d in range(size)]
    rest = ["log p(x, z)", "log q(z | x)", "log q(z_1 | ·)", "log q(z_2 | ·)", "distance to a reference"]
    assert list(found.quantities) == layers + rest
    assert bool(found.ranks.isfinite().all())


def test_a_context_has_a_row_for_each():
    c = torch.randn(30, 3)
    model = LatentVariableModel(
        prior=priors.StandardNormal(2),
        likelihood=likelihoods.Normal(nets.MLP([2, 3], [4], 5)),
        posterior=posteriors.DiagonalNormal(nets.MLP([5, 3], [4], (2, 2))),
    )
    assert calibration(model, num_rows=30, context=c).ranks.shape == (30, 5)
    with pytest.raises(ValueError, match="num_rows=500 and 30 rows of context"):
        calibration(model, context=c)


@pytest.mark.parametrize("wrong", [{"num_rows": 0}, {"num_draws": 0}])
def test_refusals(wrong):
    with pytest.raises(ValueError, match="needs at least 1"):
        calibration(vae((3,), latent_dim=1, hidden=[2]), **wrong)


def test_slices_and_progress():
    seen = []
    found = calibration(EXACT.model(), num_rows=10, num_draws=4, max_elements=64, progress=lambda *n: seen.append(n))
    assert seen == [(4, 10), (8, 10), (10, 10)]
    assert found.ranks.shape == (10, 5)
