"""One set of questions for every scheme, with the answers of closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

import lowerbound as lb
from lowerbound import infer, posteriors
from lowerbound.evaluate import log_evidence
from lowerbound.exact import EnumerableBernoulli, LinearGaussian
from lowerbound.gradients import ScoreFunction, StickTheLanding
from lowerbound.inference import (
    HMC,
    Amortised,
    InferenceScheme,
    Inferred,
    IterativeAmortised,
    Local,
    SemiAmortised,
    with_inference,
)
from lowerbound.models import vae
from lowerbound.spelling import choices

SCHEMES = [
    Amortised(),
    Local(num_steps=3),
    Local(num_steps=3, family="full", start="prior"),
    Local(num_steps=3, gradient=ScoreFunction(), num_samples=2),
    SemiAmortised(num_steps=2),
    IterativeAmortised(2, num_steps=2),
    HMC(num_chains=2, num_warmup=10, num_samples=10, num_leapfrog=2),
]


@pytest.mark.filterwarnings("ignore::lowerbound.inference.InferenceWarning")  # ten draws are too few
@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: type(scheme).__name__)
def test_every_scheme_answers_the_same_questions(scheme):
    assert isinstance(scheme, InferenceScheme)
    model = vae((5,), latent_dim=2, hidden=[7])
    x = torch.rand(3, 5).gt(0.5).float()
    before = torch.random.get_rng_state()
    inferred = infer(model, x, scheme, num_samples=40)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert inferred.sample(6).shape == (6, 3, 2)
    assert inferred.mean.shape == inferred.stddev.shape == (3, 2)
    lower, upper = inferred.interval(0.8)
    assert (lower < upper).all()
    assert inferred.scheme is scheme
    again = infer(model, x, scheme, num_samples=40)
    assert torch.equal(again.mean, inferred.mean)
    assert torch.equal(again.draws, inferred.draws)
    assert torch.equal(again.sample(6), inferred.sample(6))
    assert not torch.equal(again.sample(6, seed=1), inferred.sample(6))
    assert not any(t.requires_grad for t in (inferred.mean, inferred.stddev, inferred.draws, lower))
    if isinstance(scheme, HMC):
        assert inferred.bound is None
        assert inferred.bound_standard_error is None
        with pytest.raises(ValueError, match="no density"):
            inferred.log_prob(inferred.sample(2))
    else:
        assert inferred.bound.shape == inferred.bound_standard_error.shape == (3,)
        assert inferred.log_prob(inferred.sample(2)).shape == (2, 3)


CODES = {"finite-scalar", "lookup-free", "residual-quantized", "vector-quantized"}
"""Their priors are over codes; tests/models/test_quantized_autoencoder.py has such models."""


@pytest.mark.parametrize("name", sorted(set(choices(posteriors)) - CODES))
def test_every_posterior_answers_them(name):
    spelled = {"categorical": "categorical:categories=3", "relaxed-categorical": "relaxed-categorical:categories=3"}
    prior = name.removeprefix("relaxed-") if "bernoulli" in name or "categorical" in name else "standard-normal"
    text = spelled.get(name, name)
    prior = f"{prior}:categories=3" if prior == "categorical" else prior
    model = vae((5,), latent_dim=2, hidden=[7], posterior=text, prior=prior)
    inferred = infer(model, torch.rand(3, 5).gt(0.5).float(), num_samples=30)
    event = (2, 3) if "categorical" in name else (2,)
    assert inferred.sample(4).shape == (4, 3, *event)
    assert inferred.mean.shape == inferred.stddev.shape == inferred.interval()[0].shape == (3, *event)
    if name == "implicit":
        assert inferred.bound is inferred.bound_standard_error is None
        with pytest.raises(ValueError, match="has no density"):
            inferred.log_prob(inferred.sample(2))
        return
    assert inferred.bound.isfinite().all()
    if name == "auxiliary-normal":
        with pytest.raises(ValueError, match="choose another posterior"):
            inferred.log_prob(inferred.sample(2))
    else:
        assert inferred.log_prob(inferred.sample(2)).shape == (2, 3)


def linear_gaussian():
    exact = LinearGaussian.random(4, 2, seed=1)
    return exact, exact.sample(5)


def test_closed_forms_are_used_where_there_are_some():
    exact, x = linear_gaussian()
    p = exact.posterior(x)
    inferred = infer(exact.model(), x, num_samples=2)
    assert torch.allclose(inferred.mean, p.mean)
    assert torch.allclose(inferred.stddev, p.stddev)
    lower, upper = inferred.interval(0.95)
    expected = stats.norm.interval(0.95, p.mean.numpy(), p.stddev.numpy())
    np.testing.assert_allclose(lower.numpy(), expected[0])
    np.testing.assert_allclose(upper.numpy(), expected[1])
    z = inferred.sample(3)
    assert torch.allclose(inferred.log_prob(z), p.log_prob(z))


def test_at_the_exact_posterior_the_bound_is_the_evidence_without_error():
    exact, x = linear_gaussian()
    inferred = infer(exact.model(), x, num_samples=10)
    assert torch.allclose(inferred.bound, exact.log_evidence(x))
    assert inferred.bound_standard_error.max() < 1e-9


def test_the_bound_is_the_elbo_within_its_standard_error():
    exact, x = linear_gaussian()
    model = exact.model(exact.posterior_module(diagonal=True))
    with torch.no_grad():
        model.posterior.log_scale += 0.5
    many = x.repeat(200, 1)
    q = model.infer(x)
    inferred = infer(model, many, num_samples=400)
    score = inferred.bound - exact.elbo(many, q.mean.repeat(200, 1), scale=q.stddev.repeat(200, 1))
    score = (score / inferred.bound_standard_error).detach()
    assert score.abs().max() < 6
    assert score.std() == pytest.approx(1, abs=0.1)
    assert math.isnan(infer(model, x, num_samples=1).bound_standard_error[0])


def test_draws_give_what_has_no_closed_form():
    model = vae((5,), latent_dim=2, hidden=[7], posterior="planar")
    inferred = infer(model, torch.rand(3, 5), num_samples=51)
    z = inferred.draws.numpy()
    np.testing.assert_allclose(inferred.mean, z.mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(inferred.stddev, z.std(0, ddof=1), rtol=1e-5)
    for end, probability in zip(inferred.interval(0.7), (0.15, 0.85), strict=True):
        np.testing.assert_allclose(end, np.quantile(z, probability, axis=0), rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::lowerbound.inference.InferenceWarning")  # the worst of 400 short chains
def test_credible_intervals_of_a_chain_cover_as_often_as_they_say():
    """z from the prior, x from z: the interval of p(z | x) holds z with its probability."""
    exact = LinearGaussian.random(4, 2, seed=1)
    z = torch.randn(400, 2, dtype=torch.float64)
    mean = z @ exact.weight.mT + exact.offset
    x = mean + exact.scale * torch.randn_like(mean)
    inferred = infer(exact.model(), x, HMC(num_warmup=100, num_samples=100))
    assert isinstance(inferred, Inferred)
    lower, upper = inferred.interval(0.8)
    covered = ((lower < z) & (z < upper)).double().mean(0)
    assert ((covered - 0.8).abs() < 0.1).all()  # five standard errors


def test_a_model_with_a_scheme_is_evaluated_with_it():
    """Under `inference_mode` too, and with the parameters of the model under their own names."""
    exact, x = linear_gaussian()
    model = exact.model(exact.posterior_module(diagonal=True))
    with torch.no_grad():
        model.posterior.offset += 3
    scheme = Local(num_steps=200, lr=0.1, num_samples=4, family="full", gradient=StickTheLanding())
    refined = with_inference(model, scheme)
    evidence = log_evidence(refined, x, num_samples=20)
    assert torch.allclose(evidence.log_evidence, exact.log_evidence(x), atol=5e-3)
    assert evidence.effective_sample_size.min() > 19.9
    assert [*refined.state_dict()] == [*model.state_dict()]
    assert with_inference(model, IterativeAmortised(2)).state_dict().keys() > model.state_dict().keys()
    assert {id(p) for p in refined.parameters()} == {id(p) for p in model.parameters()}


def test_the_names_are_at_the_top():
    assert lb.infer is infer
    assert lb.inference.Local is Local


def test_refusals():
    exact, x = linear_gaussian()
    with pytest.raises(ValueError, match="num_samples=0"):
        infer(exact.model(), x, num_samples=0)
    for level in (0.0, 1.0):
        with pytest.raises(ValueError, match="between 0 and 1"):
            infer(exact.model(), x).interval(level)
    discrete = EnumerableBernoulli.random(2, 3).model()
    assert infer(discrete, torch.ones(2, 3).double()).mean.shape == (2, 2)
