"""Linear recipes: fitted exactly by their start, exact again after loading from a file."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file
from scipy import integrate

from lowerbound.exact import LinearGaussian
from lowerbound.gradients import Pathwise
from lowerbound.linear import fit_factor_analysis, fit_probabilistic_pca
from lowerbound.losses import VariationalLoss
from lowerbound.models.linear import (
    _mean_divergence,
    factor_analysis,
    linear_ica,
    probabilistic_pca,
    set_linear_gaussian,
    start_factor_analysis,
    start_linear_ica,
    start_probabilistic_pca,
)
from lowerbound.objectives import ELBO
from lowerbound.priors.laplace import Laplace
from lowerbound.weights import is_exact

CASES = [
    (factor_analysis, start_factor_analysis, fit_factor_analysis),
    (probabilistic_pca, start_probabilistic_pca, fit_probabilistic_pca),
]


@pytest.mark.parametrize("recipe, start, fit", CASES)
@pytest.mark.parametrize("shape", [(6,), (2, 3)])
def test_the_start_is_the_maximum_of_the_likelihood_and_its_posterior_is_exact(recipe, start, fit, shape, tmp_path):
    rows = LinearGaussian.random(6, 2, seed=3).sample(200)
    x = rows.float().unflatten(1, shape)
    loss = VariationalLoss(recipe(shape, latent_dim=2), ELBO(), Pathwise())
    start(loss, x, seed=0)
    *_, best = fit(rows, 2)
    save_file(loss.model.state_dict(), tmp_path / "model.safetensors")
    model = recipe(shape, latent_dim=2)
    model.load_state_dict(load_file(tmp_path / "model.safetensors"))
    log_w = model.log_weights(x, 4).log_w.detach()
    assert float(log_w.mean()) == pytest.approx(best.log_likelihood, abs=1e-4)
    assert float(log_w.std(0).max()) < 1e-4  # one number for every draw: q(z | x) = p(z | x)
    assert is_exact(model)
    with torch.no_grad():
        model.likelihood.net.layers[0].weight.mul_(1.05)
    assert not is_exact(model)


def test_a_posterior_is_as_far_from_the_exact_one_as_is_said():
    exact = LinearGaussian.random(6, 2, seed=3)
    model = factor_analysis((6,), latent_dim=2).double()
    set_linear_gaussian(model, exact)
    with torch.no_grad():
        model.posterior.weight.mul_(1.1)
        model.posterior.offset.add_(0.2)
        model.posterior.scale_tril.mul_(0.9)
    x = exact.sample(200_000)
    q = model.posterior(x)
    gap = (exact.log_evidence(x) - exact.elbo(x, q.mean, covariance=q.covariance_matrix)).detach()
    said = _mean_divergence(model.posterior, model.posterior.scale_tril.detach(), exact)
    assert said == pytest.approx(gap.mean().item(), abs=5 * gap.std().item() / len(x) ** 0.5)
    assert not is_exact(model)


@pytest.mark.parametrize("recipe, start, fit", CASES)
def test_it_keeps_a_constant_column_above_the_floor(recipe, start, fit):
    x = LinearGaussian.random(6, 2, seed=3).sample(100).float().index_fill(1, torch.tensor([1]), 0.5)
    loss = VariationalLoss(recipe((6,), latent_dim=2), ELBO(), Pathwise())
    start(loss, x, seed=0)
    assert loss(x).loss.isfinite()
    scale = loss.model.likelihood(torch.zeros(1, 2)).base_dist.scale[0].detach()
    assert scale.min() >= 0.99e-3


@pytest.mark.parametrize("recipe, most", [(factor_analysis, 4), (probabilistic_pca, 3), (linear_ica, 4)])
def test_more_factors_than_there_can_be(recipe, most):
    recipe((2, 2), latent_dim=most)
    with pytest.raises(ValueError, match=f"between 1 and {most}"):
        recipe((2, 2), latent_dim=most + 1)


def test_the_laplace_prior_is_a_density_of_variance_one():
    p = Laplace(1)()
    moments = [
        integrate.quad(lambda z, k=k: z**k * float(p.log_prob(torch.tensor([z])).exp()), -30, 30, points=[0])[0]
        for k in (0, 2)
    ]
    assert moments == pytest.approx([1, 1], abs=1e-5)
    torch.testing.assert_close(Laplace(3, scale=2.0)().variance, torch.full((3,), 8.0))
    for scale in (0.0, -1.0):
        with pytest.raises(ValueError, match="needs a positive number"):
            Laplace(2, scale=scale)


@pytest.mark.slow
def test_noisy_ica_by_variational_inference_finds_the_planted_directions():
    """Where PCA cannot: sources of equal variance, mixed by a rotation."""
    g = torch.Generator().manual_seed(0)
    u = torch.rand(2000, 2, generator=g) - 0.5
    z = -u.sign() * torch.log1p(-2 * u.abs()) / 2**0.5
    angle = torch.tensor(0.5)
    mixing = torch.stack([torch.stack([angle.cos(), -angle.sin()]), torch.stack([angle.sin(), angle.cos()])])
    mixing = torch.cat([mixing, 0.3 * torch.ones(1, 2)])
    x = z @ mixing.mT + 0.2 * torch.randn(2000, 3, generator=g) + 1
    loss = VariationalLoss(linear_ica((3,), latent_dim=2, hidden=(16,)), ELBO(), Pathwise())
    start_linear_ica(loss, x, seed=0)
    torch.manual_seed(0)
    optimizer = torch.optim.Adam(loss.parameters(), lr=5e-3)
    bounds = []
    for _ in range(400):
        optimizer.zero_grad()
        value = loss(x[torch.randint(2000, (200,))]).loss
        value.backward()
        optimizer.step()
        bounds.append(-float(value.detach()))
    assert sum(bounds[-50:]) / 50 > sum(bounds[:50]) / 50 + 0.1
    W = loss.model.likelihood.net.layers[0].weight.detach()
    cosine = (torch.nn.functional.normalize(W, dim=0).mT @ torch.nn.functional.normalize(mixing, dim=0)).abs()
    assert cosine.amax(0).min() > 0.97
    assert set(cosine.argmax(0).tolist()) == {0, 1}
    scale = float(loss.model.likelihood(torch.zeros(1, 2)).base_dist.scale[0, 0].detach())
    assert scale == pytest.approx(0.2, abs=0.06)
