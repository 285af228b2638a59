"""The model of cells against scipy, quadrature and planted data, in float64 where the oracle is exact."""

import math

import numpy as np
import pytest
import scipy.stats
import torch
from torch.distributions import Normal

from lowerbound.evaluate import log_evidence
from lowerbound.evaluate.baselines import negative_binomials, negative_binomials_given_library
from lowerbound.exact.quadrature import normal_bound
from lowerbound.models.cell_autoencoder import cell_autoencoder
from lowerbound.objectives import ELBO
from lowerbound.randomness import forked

CPU = torch.device("cpu")


def tiny(**options):
    """A model whose every parameter is moved from its start, and some cells of two batches."""
    model = cell_autoencoder((3,), latent_dim=1, hidden=[4], dropout=0.0, **options).double()
    x = torch.poisson(torch.tensor([[4.0, 1.0, 9.0], [0.0, 2.0, 5.0], [7.0, 0.0, 1.0], [3.0, 3.0, 30.0]])).double()
    c = torch.eye(2).double()[[0, 1, 0, 1]] if options.get("covariate_sizes") else None
    with torch.no_grad():
        model.initialize(x, c)
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model.eval(), x, c


@pytest.mark.parametrize("dispersion", ["gene", "gene-batch", "gene-cell"])
@pytest.mark.parametrize("family", ["negative-binomial", "zero-inflated-negative-binomial"])
def test_the_likelihood_is_that_of_scipy_at_the_library_times_the_share(family, dispersion):
    model, x, c = tiny(likelihood=family, dispersion=dispersion, covariate_sizes=(2,))
    likelihood, z = model.likelihood, torch.randn(5, 4, 1).double()
    with torch.no_grad():
        found = model.joint(x, c)(z)[0]
        y = 8 * torch.tanh(likelihood.decoder(z, c) / 8)
        share = torch.softmax(likelihood.log_share + y[..., 0, :], -1)
        log_r = likelihood.log_dispersion[c.argmax(1)] if dispersion == "gene-batch" else likelihood.log_dispersion
        r = (log_r + (y[..., -1, :] if dispersion == "gene-cell" else 0)).exp().expand_as(share).numpy()
        gate = torch.sigmoid(y[..., 1, :] - 3).numpy() if "zero" in family else 0.0
    torch.testing.assert_close(model.likelihood.shares(z, c), share)
    torch.testing.assert_close(share.sum(-1), torch.ones(5, 4).double())
    mean = x.sum(1).numpy()[:, None] * share.numpy()
    p = (1 - gate) * scipy.stats.nbinom.pmf(x.numpy(), r, r / (r + mean)) + gate * (x.numpy() == 0)
    np.testing.assert_allclose(found, np.log(p).sum(-1), rtol=1e-9)


def test_poisson_counts_of_a_stated_library():
    model, x, _ = tiny(likelihood="poisson")
    z, log_l = torch.randn(4, 1).double(), torch.tensor([2.0, 3.0, 4.0, 5.0]).double()
    with torch.no_grad():
        p = model.decode(z, log_l[:, None])
        mean = log_l.exp()[:, None] * model.likelihood.shares(z, x[:, :0])
        np.testing.assert_allclose(p.log_prob(x), scipy.stats.poisson.logpmf(x, mean).sum(-1), rtol=1e-9)
        typical = model.decode(z).mean.sum(-1)  # without a library it is the typical one
    torch.testing.assert_close(typical.log(), model.sizes.loc.expand(4))


def test_the_bound_of_an_observed_library_is_below_its_evidence_by_quadrature():
    model, x, c = tiny(covariate_sizes=(2,))
    grid = torch.linspace(-9, 9, 4001).double()[:, None, None].expand(-1, 4, 1)
    with torch.no_grad():
        log_likelihood, log_prior = model.joint(x, c)(grid)
        exact = torch.logsumexp(log_likelihood + log_prior, 0) + math.log(18 / 4000)
        bound = normal_bound(model, ELBO(), x, 1, context=c)
    assert (bound < exact).all()
    estimate = log_evidence(model, x, num_samples=20_000, context=c, seed=0).log_evidence
    torch.testing.assert_close(estimate.double(), exact, atol=0.02, rtol=0)


def test_a_latent_library_is_integrated_out():
    model, x, c = tiny(covariate_sizes=(2,), library="latent")
    z, log_l = torch.linspace(-6, 6, 121).double(), torch.linspace(-2, 8, 201).double()
    grid = torch.cartesian_prod(z, log_l)[:, None].expand(-1, 4, 2)
    with torch.no_grad():
        log_likelihood, log_prior = model.joint(x, c)(grid)
        m, s = model.sizes.loc[c.argmax(1)], model.sizes.scale[c.argmax(1)]
        by_hand = Normal(0.0, 1.0).log_prob(grid[..., 0]) + Normal(m, s).log_prob(grid[..., 1])
        torch.testing.assert_close(log_prior, by_hand)
        exact = torch.logsumexp(log_likelihood + log_prior, 0) + math.log(12 / 120) + math.log(10 / 200)
    estimate = log_evidence(model, x, num_samples=20_000, context=c, seed=0).log_evidence
    torch.testing.assert_close(estimate.double(), exact, atol=0.03, rtol=0)


def test_a_start_is_independent_genes_of_a_given_library():
    x = torch.poisson(torch.rand(400, 1) * torch.tensor([20.0, 3.0, 50.0, 1.0]))
    model = cell_autoencoder((4,), latent_dim=1, hidden=[4]).eval()
    model.initialize(x)
    with torch.no_grad():
        log_p = model.joint(x)(torch.zeros(1, 400, 1))[0][0]
    baseline = negative_binomials_given_library(x, x)
    assert abs(log_p.double() - baseline).mean() < 0.1
    assert baseline.mean() > negative_binomials(x, x).mean() + 1  # which are not told the size


def test_draws_have_the_library_of_their_batch():
    x = torch.poisson(torch.cat([torch.full((300, 4), 2.0), torch.full((300, 4), 50.0)]))
    c = torch.eye(2).repeat_interleave(300, 0)
    for library in ("observed", "latent"):
        model = cell_autoencoder((4,), covariate_sizes=(2,), latent_dim=2, hidden=[4], library=library).eval()
        model.initialize(x, c)
        with forked(CPU, 0):
            drawn = model.sample(200, torch.eye(2))
        assert drawn.shape == (200, 2, 4)
        np.testing.assert_allclose(drawn.sum(-1).mean(0), [8, 200], rtol=0.1)
        assert model.reconstruct(x[-2:], c[-2:]).sum(-1).min() > 100


@pytest.mark.parametrize(
    "options, message",
    [
        ({"dispersion": "gene-batch"}, "no covariate is a category"),
        ({"dispersion": "gene-batch", "covariate_sizes": (1,)}, "no covariate is a category"),
        ({"dispersion": "gene-cell", "likelihood": "poisson"}, "has no dispersion"),
        ({"dropout": 1.0}, "a fraction from 0 to below 1"),
    ],
)
def test_choices_that_do_not_go_together(options, message):
    with pytest.raises(ValueError, match=message):
        cell_autoencoder((3,), **options)


def test_the_context_has_a_row_for_each_cell_and_the_batch_may_come_second():
    model = cell_autoencoder((3,), covariate_sizes=(1, 2), dispersion="gene-batch", hidden=[4]).eval()
    c = torch.tensor([[0.3, 1.0, 0.0], [0.3, 0.0, 1.0]])
    with torch.no_grad():
        model.likelihood.log_dispersion.copy_(torch.tensor([[0.0] * 3, [3.0] * 3]))
    variance = model.decode(torch.zeros(2, 10), torch.cat([c, torch.full((2, 1), 5.0)], 1)).variance
    assert (variance[0] > variance[1]).all()
    with pytest.raises(ValueError, match=r"context of shape \(B, 3\) and got no context"):
        model.infer(torch.ones(2, 3))
    with pytest.raises(ValueError, match="2 rows of data and 3 of context"):
        model.infer(torch.ones(2, 3), torch.ones(3, 3))


def test_training_differs_from_scores_by_rounding_alone():
    model, x, c = tiny(covariate_sizes=(2,), likelihood="zero-inflated-negative-binomial", dispersion="gene-batch")
    z = torch.randn(2, 4, 1).double()
    for dtype, tolerance in ((torch.float64, 1e-9), (torch.float32, 1e-3)):
        parts = x.to(dtype), c.to(dtype), z.to(dtype)
        model.to(dtype).train()
        log_p = model.joint(*parts[:2])(parts[2])[0]
        torch.testing.assert_close(log_p, model.eval().joint(*parts[:2])(parts[2])[0], atol=tolerance, rtol=0)
    assert log_p.requires_grad
