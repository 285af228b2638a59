"""The penalty of singular values against the singular value decomposition."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lowerbound.data import InMemory, load
from lowerbound.gradients import Pathwise
from lowerbound.losses import VariationalLoss
from lowerbound.models import vae, very_deep
from lowerbound.objectives import ELBO
from lowerbound.one_call import fit
from lowerbound.penalties import Spectral
from lowerbound.training.loop import train

DISTRIBUTION = torch.distributions.Normal(0.0, 1.0)  # which it does not look at


def norms(model: nn.Module) -> list[torch.Tensor]:
    layers = [m for m in model.modules() if isinstance(m, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d))]
    return [torch.linalg.matrix_norm(layer.weight.flatten(1), ord=2) for layer in layers]


def test_it_is_the_sum_of_the_largest_singular_values():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.ConvTranspose2d(5, 4, 2), nn.Flatten(), nn.Linear(4, 6))
    penalty = Spectral(model.double(), weight=0.1).double()
    for step in range(300):
        penalty.at_step(step)
    value = penalty(DISTRIBUTION, DISTRIBUTION)
    assert value.item() == pytest.approx(0.1 * sum(norms(model)).item(), rel=1e-6)
    weights = [model[0].weight, model[2].weight, model[4].weight]
    exact = torch.autograd.grad(0.1 * sum(norms(model)), weights)
    for got, expected in zip(torch.autograd.grad(value, weights), exact, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-4)


def test_it_owns_no_parameter_and_follows_the_weights():
    model = vae((4,), latent_dim=2, hidden=[8])
    loss = VariationalLoss(model, ELBO("kl"), Pathwise(), penalty=Spectral(model, weight=0.3))
    assert len([*loss.parameters()]) == len([*model.parameters()])
    before, x = sum(norms(model)).item(), torch.rand(60, 4).round()
    *_, last = train(loss, InMemory(x), num_steps=50, batch_size=20, lr=1e-3, compile=False)
    assert sum(norms(model)).item() < 0.95 * before
    value = loss.penalty(DISTRIBUTION, DISTRIBUTION).item()
    assert value == pytest.approx(0.3 * sum(norms(model)).item(), rel=0.05)
    assert last.terms["penalty"] > 0


def test_it_is_a_choice_by_name_and_takes_hierarchies():
    fitted = fit(
        load("digits"), "very-deep", penalty="spectral:weight=0.1", steps=2, device="cpu", groups=[2], width=8, hidden=4
    )
    assert fitted.records[-1]["terms"]["penalty"] > 0


def test_what_it_refuses():
    with pytest.raises(ValueError, match="weight=-1"):
        Spectral(very_deep((4,), groups=[1], width=4, hidden=2, latent_channels=1), weight=-1)
    with pytest.raises(ValueError, match="without dense or convolutional layers"):
        Spectral(nn.Identity())
