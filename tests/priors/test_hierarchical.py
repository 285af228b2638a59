"""A hierarchy of linear Gaussian layers against its Gaussian marginal."""

from __future__ import annotations

import pytest
import torch
from linear_layers import Affine, linear_layers, moments_of

from lowerbound.evaluate import log_evidence
from lowerbound.objectives import IWAE
from lowerbound.priors import StandardNormal
from lowerbound.priors.hierarchical import Hierarchical
from lowerbound.weights import weigh

DIMS = [(2, 1), (2, 2, 1)]


def widened(model):
    """With a posterior wide enough for weights of finite variance."""
    for part in model.posterior.modules():
        if isinstance(part, Affine):
            part.linear.weight.data *= 0.3
            part.raw_scale.data += 1.5
    return model


@pytest.mark.parametrize("dims", DIMS)
def test_the_joint_density_is_that_of_one_gaussian(dims):
    model = linear_layers(3, dims, "bottom-up")
    exact = moments_of(model)
    z, x = model.prior().sample((4,)), torch.randn(4, 3).double()
    log_likelihood, log_prior = model.joint(x)(z)
    joint = torch.distributions.MultivariateNormal(exact.mean, exact.covariance)
    assert torch.allclose(log_likelihood + log_prior, joint.log_prob(torch.cat([*z, x], -1)))


@pytest.mark.parametrize("posterior", ["bottom-up", "top-down"])
@pytest.mark.parametrize("dims", DIMS)
def test_bounds_rise_to_the_evidence_of_the_marginal(dims, posterior):
    model = widened(linear_layers(3, dims, posterior))
    exact = moments_of(model).evidence()
    x = (exact.mean + 0.5 * (exact.sample((6,)) - exact.mean)).detach()
    log_p = exact.log_prob(x).detach()
    q = model.infer(x)
    log_w = weigh(q, model.joint(x), q.sample((10_000,))).log_w.detach()
    bounds = [IWAE().reduce(log_w.unflatten(0, (-1, k)).transpose(0, 1).flatten(1)).view(-1, 6) for k in (1, 5, 50)]
    means = [bound.mean(0) for bound in bounds]
    errors = [bound.std(0) / len(bound) ** 0.5 for bound in bounds]
    assert all((mean < log_p + 5 * error).all() for mean, error in zip(means, errors, strict=True))
    assert means[0].mean() < means[1].mean() < means[2].mean()
    found = log_evidence(model, x, num_samples=20_000)
    assert (found.pareto_k < 0.7).all()
    assert ((found.log_evidence - log_p).abs() < 6 * found.standard_error + 1e-6).all()
    assert (means[0] < log_p).all()


def test_samples_have_the_moments_of_the_marginal():
    model = linear_layers(3, (2, 1), "bottom-up")
    exact, x = moments_of(model).evidence(), model.decode(model.prior().sample((40_000,))).sample()
    assert torch.allclose(x.mean(0), exact.mean.detach(), atol=0.1)
    assert torch.allclose(torch.cov(x.mT), exact.covariance_matrix.detach(), rtol=0.1, atol=0.1)


def test_a_context_reaches_every_layer():
    class Shifted(torch.nn.Module):
        def forward(self, context):
            z, c = context if isinstance(context, tuple) else (torch.zeros_like(context), context)
            return torch.distributions.Independent(torch.distributions.Normal(z + c, 1.0), 1)

    c = torch.randn(4, 2)
    p = Hierarchical([Shifted(), Shifted()])(c)
    z = p.sample((3,))
    at = torch.distributions.Normal(0.0, 1.0)
    assert torch.allclose(p.log_prob(z), at.log_prob(z[1] - c).sum(-1) + at.log_prob(z[0] - z[1] - c).sum(-1))


def test_no_layer_is_refused():
    with pytest.raises(ValueError, match="no conditional"):
        Hierarchical([])
    (z,) = Hierarchical([StandardNormal(3)])().sample((5,))
    assert z.shape == (5, 3)
