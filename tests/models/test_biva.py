"""The recipe biva: maps and vectors, each block evaluated once, trained, opened again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from lowerbound.data import load
from lowerbound.fitted import Fitted
from lowerbound.fitting.planning import plan
from lowerbound.gradients import Pathwise
from lowerbound.losses import VariationalLoss
from lowerbound.models import biva
from lowerbound.nets import Bottleneck, Enlarged, FromMap, Pointwise, ToMap
from lowerbound.objectives import ELBO
from lowerbound.one_call import fit

DENSE: dict[str, Any] = {"levels": [2, 1], "latent_channels": 2, "width": 8, "hidden": 4}
MAPS: dict[str, Any] = {**DENSE, "network": "convolution"}


@pytest.mark.parametrize("shape", [(9, 6), (3, 9, 6)])
def test_latents_are_maps_with_two_at_each_level_but_the_top(shape):
    model, x = biva(shape, **MAPS), torch.rand(4, *shape).round()
    z = model.infer(x).rsample((5,))
    coarse, fine = (5, 4, 2, 3, 2), (5, 4, 2, 5, 3)
    assert [tuple(layer.shape) for layer in z] == [fine, fine, coarse, coarse, coarse]
    assert model.sample(2).shape == (2, *shape)
    assert model.reconstruct(x).shape == x.shape


@pytest.mark.parametrize("options", [DENSE, MAPS])
def test_a_training_step_evaluates_every_block_once(options):
    model, x = biva((6, 6), **options), torch.rand(3, 6, 6).round()
    loss = VariationalLoss(model, ELBO(), Pathwise())
    loss.check(x)
    blocks = [part for part in model.modules() if isinstance(part, (Bottleneck, Pointwise, Enlarged, ToMap, FromMap))]
    calls = dict.fromkeys(map(id, blocks), 0)
    for block in blocks:
        block.register_forward_hook(lambda module, *_: calls.__setitem__(id(module), calls[id(module)] + 1))
    loss(x).loss.backward()
    assert set(calls.values()) == {1}
    assert all(p.grad is not None for p in model.parameters())


def test_a_fit_opens_again_and_is_encoded(tmp_path):
    fitted = fit(load("digits"), "biva", steps=3, device="cpu", **DENSE)
    fitted.save(tmp_path / "run")
    again = Fitted.open(tmp_path / "run")
    np.testing.assert_array_equal(again.sample(4), fitted.sample(4))
    assert again.encode(load("digits").x_test[:5]).mean.shape == (5, 5 * 2)


def test_a_plan_says_how_it_is_trained():
    found = plan(load("digits"), "biva", steps=10)
    assert found.objective == "beta-elbo:beta=1.0,rate=sampled,warmup=1000"
    assert (found.ema, found.clip_norm, found.skip_above) == (0.999, 100.0, 30.0)


@pytest.mark.parametrize(
    "options, sentence",
    [
        ({"levels": [1]}, r"levels=\[1\] and needs one or more at each resolution, two in all"),
        ({"levels": [2, 0]}, r"levels=\[2, 0\] and needs one or more"),
        ({"levels": [10**9]}, "levels=1,000,000,000 and takes at most 1,000"),
        ({"latent_channels": 0}, "latent_channels=0 and needs at least 1"),
        (
            {**MAPS, "levels": [1, 1, 1, 1]},
            "An image of 6×6 can be halved 3 times, and halvings=1 with numbers of groups for 4",
        ),
    ],
)
def test_mistakes_are_named(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        biva((6, 6), **options)
