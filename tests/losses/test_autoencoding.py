"""The deterministic autoencoder: what it computes, what learns, what it refuses."""

from __future__ import annotations

import pytest
import torch

from lowerbound.data import InMemory
from lowerbound.losses.autoencoding import Autoencoding
from lowerbound.models import vae
from lowerbound.training.loop import train


def model(posterior: str = "diagonal-normal"):
    torch.manual_seed(0)
    return vae((4,), latent_dim=2, hidden=[8], prior="mixture-normal:components=3", posterior=posterior).double()


def test_the_loss_is_the_cross_entropy_at_the_mean_of_the_code_written_out():
    m, x = model(), torch.rand(5, 4, dtype=torch.float64)
    loss, terms = Autoencoding(m)(x)
    mean = m.posterior.net(x)[:, 0]
    probability = torch.sigmoid(m.likelihood.net(mean))
    written_out = (x * probability.log() + (1 - x) * (1 - probability).log()).sum(1).mean()
    assert torch.allclose(loss, -written_out)
    assert torch.equal(terms["bound"], terms["likelihood"])
    assert torch.allclose(terms["bound"], written_out)
    assert not terms["bound"].requires_grad


def test_the_mean_learns_and_the_scale_and_the_prior_do_not():
    m, x = model(), torch.rand(5, 4, dtype=torch.float64)
    Autoencoding(m)(x).loss.backward()
    gradient = m.posterior.net.layers[-1].weight.grad
    assert gradient[:2].abs().sum() > 0
    assert gradient[2:].abs().sum() == 0
    assert all(p.grad is None for p in m.prior.parameters())


def test_it_trains_by_the_loop_of_the_library_and_reconstructs():
    m, x = model().float(), torch.eye(4).repeat(10, 1)
    untrained = float(Autoencoding(m)(x).loss.detach())
    for _ in train(Autoencoding(m), InMemory(x), num_steps=150, batch_size=40, lr=3e-2, compile=False):
        pass
    assert float(Autoencoding(m)(x).loss.detach()) < 0.3 < untrained


def test_a_posterior_without_a_mean_is_refused():
    loss = Autoencoding(model("planar"))
    with pytest.raises(ValueError, match="has none in closed form; use the posterior 'diagonal-normal'"):
        loss.check(torch.rand(3, 4, dtype=torch.float64))
