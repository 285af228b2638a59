"""p and q put together, with and without a context."""

from __future__ import annotations

import pytest
import torch

from lowerbound import likelihoods, posteriors, priors
from lowerbound.exact import LinearGaussian
from lowerbound.model import LatentVariableModel, with_context
from lowerbound.nets import MLP


def conditional_model(context_shapes):
    return LatentVariableModel(
        prior=priors.StandardNormal(2),
        likelihood=likelihoods.Bernoulli(MLP([2, *context_shapes], [8], (3, 4))),
        posterior=posteriors.DiagonalNormal(MLP([(3, 4), *context_shapes], [8], (2, 2))),
    )


CONTEXTS = [((5,),), ((5,), (2, 2))]


@pytest.mark.parametrize("shapes", CONTEXTS)
def test_a_context_reaches_likelihood_and_posterior(shapes):
    model = conditional_model(shapes)
    parts = tuple(torch.randn(6, *shape) for shape in shapes)
    context = parts if len(parts) > 1 else parts[0]
    other = tuple(part + 1 for part in parts) if len(parts) > 1 else parts[0] + 1
    x, z = torch.ones(6, 3, 4), torch.zeros(6, 2)
    w = model.log_weights(x, 7, context)
    assert w.log_w.shape == (7, 6)
    assert w.z.shape == (7, 6, 2)
    assert not torch.equal(model.infer(x, context).mean, model.infer(x, other).mean)
    assert not torch.equal(model.decode(z, context).mean, model.decode(z, other).mean)
    assert model.sample(5, context).shape == (5, 6, 3, 4)
    assert model.sample_mean(5, context).shape == (5, 6, 3, 4)
    assert model.reconstruct(x, context).shape == (6, 3, 4)


def test_with_context_appends():
    a, b, c = torch.zeros(3, 1)
    assert with_context(a, None) is a
    assert with_context(a, b) == (a, b)
    assert with_context((a, b), (c,)) == (a, b, c)


def test_samples_follow_the_marginal():
    exact = LinearGaussian.random(2, 1)
    x = exact.model().sample(200_000)
    covariance = exact.weight @ exact.weight.mT + torch.diag(exact.scale**2)
    assert torch.allclose(x.T.cov(), covariance, atol=0.05 * covariance.max().item())
    assert not x.requires_grad


def test_joint_is_likelihood_times_prior():
    exact = LinearGaussian.random(3, 2)
    model, x = exact.model(), exact.sample(4)
    z = torch.randn(5, 4, 2, dtype=torch.float64)
    log_likelihood, log_prior = model.joint(x)(z)
    expected = exact.posterior(x).log_prob(z) + exact.log_evidence(x)
    assert torch.allclose(log_likelihood + log_prior, expected)


def test_initialize_reaches_the_likelihood():
    model = LatentVariableModel(
        prior=priors.StandardNormal(2),
        likelihood=likelihoods.Bernoulli(MLP(2, [8], 3)),
        posterior=posteriors.DiagonalNormal(MLP(3, [8], (2, 2))),
    )
    model.initialize(torch.tensor([[1.0, 0.0, 1.0], [1.0, 0.0, 0.0]]))
    assert torch.allclose(model.likelihood.net.output_bias.sigmoid(), torch.tensor([0.99, 0.01, 0.5]), atol=1e-6)
