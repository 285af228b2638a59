"""The two gaps against the linear-Gaussian model, where both are closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from lowerbound import likelihoods, posteriors, priors
from lowerbound.evaluate import annealed_importance, inference_gaps, log_evidence
from lowerbound.evaluate.estimates import Estimates
from lowerbound.evaluate.gaps import refined_elbos
from lowerbound.exact import LinearGaussian
from lowerbound.inference.local import Local
from lowerbound.inference.scheme import Amortised
from lowerbound.model import LatentVariableModel
from lowerbound.nets import MLP


def gaussian():
    """An encoder whose means are off by a half in every direction and whose scales are too wide."""
    exact = LinearGaussian.random(4, 2)
    model = exact.model(exact.posterior_module(diagonal=True))
    with torch.no_grad():
        model.posterior.log_scale += 0.4
        model.posterior.offset += 0.5
    torch.manual_seed(0)
    return exact, model, exact.sample(60)


class Known:
    """log p(x), known exactly."""

    def __init__(self, values):
        self.log_evidence, self.standard_error = values, torch.zeros_like(values)


def test_both_gaps_of_a_gaussian_model():
    exact, model, x = gaussian()
    got = inference_gaps(model, x, Known(exact.log_evidence(x)), num_samples=2000)
    q = model.infer(x)
    elbo = exact.elbo(x, q.mean, scale=q.stddev).detach()
    approximation, amortisation = exact.log_evidence(x) - exact.optimal_elbo(x), exact.optimal_elbo(x) - elbo
    assert amortisation.mean() > 1  # there is something to find
    slack = 0.03  # of optimisation
    for part, truth in ((got.approximation, approximation), (got.amortisation, amortisation)):
        assert ((part.values - truth).abs() < 5 * part.standard_error + slack).all()
        assert abs(part.mean - truth.mean()) < 5 * part.sampling_error_of_mean + slack
    total = got.approximation.values + got.amortisation.values + got.elbo.values
    assert torch.allclose(total, exact.log_evidence(x))
    assert math.isclose(got.approximation.mean, got.approximation.values.mean().item())


def test_errors_are_those_of_independent_samples():
    one = Estimates(values=torch.tensor([3.0, 5.0]), standard_error=torch.tensor([0.3, 0.0]))
    two = Estimates(values=torch.tensor([1.0, 1.0]), standard_error=torch.tensor([0.4, 0.1]))
    torch.testing.assert_close((one - two).standard_error, torch.tensor([0.5, 0.1]))
    assert (one - two).mean == 3
    assert (-one).mean == -4
    assert math.isclose((one - two).standard_error_of_mean, 1.0, rel_tol=1e-6)
    assert math.isclose((one - two).sampling_error_of_mean, 0.26**0.5 / 2, rel_tol=1e-6)


def test_an_encoder_refined_to_itself_loses_nothing():
    """With one slice or many, the two ELBOs are of the same q: their difference is noise of the stated size."""
    _, model, x = gaussian()
    elbo, same = refined_elbos(model, x, refine=Amortised(), num_samples=500, max_elements=4 * 70)
    z = (same - elbo).values / (same - elbo).standard_error
    assert 0.6 < z.std() < 1.4
    assert z.abs().max() < 5


@pytest.mark.slow
def test_the_family_is_that_of_a_net_and_annealing_gives_the_evidence():
    torch.manual_seed(0)
    model = LatentVariableModel(
        prior=priors.StandardNormal(2),
        likelihood=likelihoods.Bernoulli(MLP(2, [8], 6)),
        posterior=posteriors.DiagonalNormal(MLP(6, [8], (2, 2))),
    )
    with torch.no_grad():
        for parameter in model.likelihood.parameters():
            parameter *= 3
    x = (torch.rand(40, 6) < 0.5).float()
    before, state = torch.get_rng_state(), {name: value.clone() for name, value in model.state_dict().items()}
    got = inference_gaps(model, x, annealed_importance(model, x, num_distributions=60), refine=Local(num_steps=200))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert got.approximation.mean > -3 * got.approximation.sampling_error_of_mean
    assert got.amortisation.mean > 0.05
    assert not got.amortisation.values.requires_grad


class Implicit(torch.distributions.Normal):
    def log_prob(self, value):
        raise NotImplementedError


class Opaque(torch.nn.Module):
    def forward(self, context=None):
        loc = context[:, :2]
        return torch.distributions.Independent(Implicit(loc, torch.ones_like(loc)), 1)


def test_refusals():
    exact, model, x = gaussian()
    evidence = log_evidence(model, x, num_samples=10)
    with pytest.raises(ValueError, match="60 rows of x and the evidence of 5; compute"):
        inference_gaps(model, x, Known(exact.log_evidence(x[:5])))
    with pytest.raises(ValueError, match="num_samples=0"):
        inference_gaps(model, x, evidence, num_samples=0)
    with pytest.raises(ValueError, match="Independent has no density, so that there is no bound; evaluate"):
        inference_gaps(exact.model(Opaque()), x, evidence, refine=Amortised())
    with pytest.raises(ValueError, match="one row of context for each"):
        inference_gaps(model, x, evidence, context=x[:2])
