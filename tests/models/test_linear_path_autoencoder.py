"""With silent nets the model is factor analysis and q its best factorised posterior; training goes on from there."""

from __future__ import annotations

import pytest
import torch

from lowerbound.exact import LinearGaussian
from lowerbound.models.linear_path_autoencoder import linear_path_autoencoder, start_at_factor_analysis
from lowerbound.nets import MLP
from lowerbound.nets.linear_path import LinearPath


def test_it_starts_at_factor_analysis_and_its_best_factorised_posterior() -> None:
    torch.manual_seed(0)
    x = LinearGaussian.random(5, 2).sample(300)
    model = linear_path_autoencoder((5,), latent_dim=2, hidden=[8]).double()
    exact = start_at_factor_analysis(model, x)
    for net in (model.likelihood.net, model.posterior.net):
        net.net.layers[-1].weight.data.zero_()
    mean, scale = exact.optimal_diagonal(x)
    q = model.infer(x)
    torch.testing.assert_close((q.mean, q.stddev), (mean, scale), atol=1e-6, rtol=1e-6)
    z = torch.randn(300, 2).double()
    p = model.decode(z)
    torch.testing.assert_close(p.mean, z @ exact.weight.mT + exact.offset, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(p.stddev, exact.scale.expand_as(x), atol=1e-6, rtol=1e-6)
    elbo = model.log_weights(x, 2000).log_w.mean().item()
    assert elbo == pytest.approx(float(exact.optimal_elbo(x).mean()), abs=0.02)


def test_the_nets_begin_small_but_not_silent() -> None:
    path = LinearPath(MLP(3, [16], (2, 4)))
    assert 0 < float(path.net(torch.randn(50, 3)).detach().abs().max()) < 0.2


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected \(2, out\)"):
        LinearPath(MLP(3, [4], 5))
    with pytest.raises(ValueError, match="longer than latent_dim"):
        linear_path_autoencoder((3,), latent_dim=3)
