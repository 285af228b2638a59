"""p(z) = N(0, I)."""

from __future__ import annotations

import pytest
import torch
from scipy import stats
from torch.distributions import Normal, kl_divergence

from lowerbound.priors import StandardNormal
from lowerbound.testing import check_conditional


def test_density_is_that_of_scipy():
    z = torch.randn(5, 3, dtype=torch.float64)
    expected = stats.multivariate_normal(cov=torch.eye(3).numpy()).logpdf(z.numpy())
    assert torch.allclose(StandardNormal(3).double()().log_prob(z), torch.from_numpy(expected))


def test_conforms_and_has_nothing_to_learn_or_save():
    prior = StandardNormal(3).double()
    check_conditional(prior)
    assert not list(prior.parameters())
    assert not prior.state_dict()


def test_a_context_is_ignored():
    prior = StandardNormal(3)
    assert prior(torch.ones(4, 2)).batch_shape == ()
    check_conditional(prior, torch.ones(4, 2))


@pytest.mark.parametrize("rows", [(), (4,)])
def test_the_closed_form_of_the_rate_has_the_bits_of_torch(rows):
    torch.manual_seed(0)
    loc, scale = torch.randn(4, 3, requires_grad=True), torch.rand(4, 3, requires_grad=True)
    plain = Normal(torch.zeros(3), torch.ones(3)).expand((*rows, 3))
    found = []
    for p in (StandardNormal(3)().base_dist.expand((*rows, 3)), plain):
        kl = kl_divergence(Normal(loc, scale), p)
        found.append((kl, *torch.autograd.grad(kl.sum(), (loc, scale))))
    for own, expected in zip(*found, strict=True):
        assert torch.equal(own, expected)
    narrow = kl_divergence(Normal(loc[0], scale[0]), StandardNormal(3)().base_dist.expand((5, 3)))
    assert narrow.shape == (5, 3)


@pytest.mark.parametrize("of_q, of_p", [("bfloat16", "float32"), ("float32", "float64"), ("float64", "float32")])
def test_the_closed_form_of_the_rate_is_in_the_finer_precision_of_the_two(of_q, of_p):
    loc, scale = torch.linspace(-1, 1, 3).to(getattr(torch, of_q)), torch.full((3,), 0.1, dtype=getattr(torch, of_q))
    own = StandardNormal(3).to(getattr(torch, of_p))().base_dist
    plain = Normal(torch.zeros(3, dtype=getattr(torch, of_p)), torch.ones(3, dtype=getattr(torch, of_p)))
    found, expected = (kl_divergence(Normal(loc, scale), p) for p in (own, plain))
    assert found.dtype == expected.dtype
    assert torch.equal(found, expected)


@pytest.mark.parametrize("rows, batch", [((4, 3), (3,)), ((3,), (4, 3)), ((), (3,)), ((2, 1, 3), (4, 3))])
@pytest.mark.parametrize("of_z, of_p", [("float32", "float32"), ("bfloat16", "float32"), ("float32", "float64")])
def test_the_density_has_the_bits_the_shape_and_the_precision_of_torch(rows, batch, of_z, of_p):
    torch.manual_seed(0)
    z = (3 * torch.randn(rows)).to(getattr(torch, of_z)).requires_grad_()
    zeros = torch.zeros(3, dtype=getattr(torch, of_p))
    found = []
    for p in (StandardNormal(3).to(zeros.dtype)().base_dist, Normal(zeros, zeros + 1)):
        log_p = p.expand(batch).log_prob(z)
        found.append((log_p, *torch.autograd.grad(log_p.sum(), z)))
    for own, expected in zip(*found, strict=True):
        assert own.dtype == expected.dtype
        assert torch.equal(own, expected)
