"""The recipe pixel-vae: built from plain values, trained, opened again, and pictures that say what they show."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lowerbound.data import InMemory, load
from lowerbound.fitted import Fitted
from lowerbound.fitting.planning import plan
from lowerbound.gradients import Pathwise
from lowerbound.losses import VariationalLoss
from lowerbound.models import pixel_vae
from lowerbound.objectives import ELBO
from lowerbound.one_call import fit
from lowerbound.training.loop import train

SMALL: dict[str, Any] = {"latent_dim": 2, "hidden": [8], "channels": 4, "layers": 2}


def test_options_reach_the_causal_net():
    model = pixel_vae((3, 5, 6), likelihood="discretized-logistic:num_levels=4", kernel=5, context_channels=3, **SMALL)
    likelihood = model.likelihood
    assert likelihood.site.num_levels == 4
    assert likelihood.net.out_shape == (3, 5, 6)
    assert [layer.reach for layer in likelihood.causal.trunk.layers] == [3, 2]
    assert model.sample(2).shape == (2, 3, 5, 6)
    assert pixel_vae((4, 4), position_dropout=0.2, **SMALL).likelihood.causal.position_dropout == 0.2
    assert pixel_vae((6,), causal="transformer", **SMALL).sample(3).shape == (3, 6)


@pytest.mark.slow
def test_it_learns_what_pixels_have_to_do_with_each_other():
    """Lines of one value: log 2 nats for each of three lines; independent pixels would cost four times as much."""
    torch.manual_seed(0)
    x = torch.randint(2, (400, 3, 1)).expand(400, 3, 4).float()
    model = pixel_vae((3, 4), **SMALL)
    model.initialize(x)
    loss = VariationalLoss(model, ELBO("kl"), Pathwise())
    for _ in train(loss, InMemory(x), num_steps=250, batch_size=100, lr=0.02, compile=False):
        pass
    assert -loss(x).terms["bound"].item() < 1.4 * 3 * 0.6931


def test_a_fit_opens_again_and_knows_what_it_shows(tmp_path):
    fitted = fit(load("digits"), "pixel-vae", steps=3, device="cpu", **SMALL)
    fitted.save(tmp_path / "run")
    again = Fitted.open(tmp_path / "run")
    assert again.sample(4).shape == (4, 8, 8)
    torch.testing.assert_close(torch.as_tensor(again.sample(4)), torch.as_tensor(fitted.sample(4)))
    assert not again.model.likelihood.facts.has_mean


def test_a_plan_says_how_it_is_trained():
    found = plan(load("digits"), "pixel-vae", steps=10)
    assert found.objective == "beta-elbo:beta=1.0,rate=kl,warmup=1000"
    assert (found.binarization, found.num_samples, found.compile) == ("dynamic", 1, False)


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda: pixel_vae((6,), **SMALL), "take the network transformer for vectors"),
        (lambda: pixel_vae((2, 2), kernel=5, **SMALL), "kernel=5 for a map of 2 × 2"),
        (lambda: pixel_vae((4, 4), likelihood="categorical:num_classes=1", **SMALL), "num_classes=1"),
        (lambda: pixel_vae((4, 4), position_dropout=1.5, **SMALL), "position_dropout=1.5 and expected a probability"),
    ],
)
def test_mistakes_are_named(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
