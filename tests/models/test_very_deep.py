"""The recipe very-deep: built from plain values, each block evaluated once, trained, opened again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from lowerbound.data import load
from lowerbound.fitted import Fitted
from lowerbound.fitting import plan_size
from lowerbound.fitting.planning import plan
from lowerbound.gradients import Pathwise
from lowerbound.losses import VariationalLoss
from lowerbound.models import very_deep
from lowerbound.nets import Bottleneck, Enlarged, FromMap, Pointwise, ToMap
from lowerbound.objectives import ELBO, FreeBits
from lowerbound.one_call import fit

DENSE: dict[str, Any] = {"groups": [2, 1], "latent_channels": 2, "width": 8, "hidden": 4}
MAPS: dict[str, Any] = {**DENSE, "network": "convolution"}


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    return fit(load("digits"), "very-deep", steps=3, device="cpu", **MAPS)


@pytest.mark.parametrize("shape", [(9, 6), (3, 9, 6)])
def test_groups_are_maps_from_the_coarsest_to_the_finest(shape):
    model = very_deep(shape, **MAPS)
    x = torch.rand(4, *shape).round()
    z = model.infer(x).rsample((5,))
    assert [tuple(layer.shape) for layer in z] == [(5, 4, 2, 5, 3), (5, 4, 2, 3, 2), (5, 4, 2, 3, 2)]
    assert model.sample(2).shape == (2, *shape)
    assert model.reconstruct(x).shape == x.shape
    very_deep(shape, **{**MAPS, "halvings": 2})
    assert very_deep((7,), likelihood="normal", **DENSE).sample(2).shape == (2, 7)


@pytest.mark.parametrize("options", [DENSE, MAPS, {**MAPS, "merge": "residual"}, {**DENSE, "merge": "merged"}])
@pytest.mark.parametrize("objective", [ELBO("kl"), FreeBits(per="group")], ids=["kl", "free"])
def test_a_training_step_evaluates_every_block_once(options, objective):
    """Posterior and prior share the blocks of the path, and the likelihood reads its end."""
    model, x = very_deep((6, 6), **options), torch.rand(3, 6, 6).round()
    loss = VariationalLoss(model, objective, Pathwise())
    loss.check(x)
    blocks = [part for part in model.modules() if isinstance(part, (Bottleneck, Pointwise, Enlarged, ToMap, FromMap))]
    calls = dict.fromkeys(map(id, blocks), 0)
    for block in blocks:
        block.register_forward_hook(lambda module, *_: calls.__setitem__(id(module), calls[id(module)] + 1))
    loss(x).loss.backward()
    assert len(blocks) >= 4 * 3
    assert set(calls.values()) == {1}
    assert all(p.grad is not None for p in model.parameters())


def test_it_starts_at_the_standard_normal_whatever_its_depth():
    """Where the last layers were not divided by √depth, the end state would grow with it."""
    torch.manual_seed(0)
    spreads = []
    for depth in (2, 32):
        p = very_deep((4, 4), groups=[depth], latent_channels=4, width=16, hidden=8).prior()
        z = p.sample((200,))
        assert all(torch.equal(d.mean, torch.zeros_like(d.mean)) for d in p.layers_at(z))
        spreads.append(p.end_state(z).std().item())
    assert 0.5 < spreads[1] / spreads[0] < 2


@pytest.mark.parametrize("merge", ["free", "residual", "merged"])
def test_how_q_is_made_of_p(merge):
    """q̂ = N(2, 1.01²) at p = N(3, σ²): taken, relative to p, or multiplied by p."""
    model = very_deep((2, 2), groups=[1], latent_channels=1, width=4, hidden=2, merge=merge)
    p_net, q_net = model.prior.groups[0].prior_net, model.posterior.groups[0].net
    for net, bias in ((p_net, [3.0, -0.8, 0, 0, 0, 0]), (q_net, [2.0, 0.0])):
        last = net.layers[-1]
        nn.init.zeros_(last.weight)
        with torch.no_grad():
            last.bias.copy_(torch.tensor(bias))
    q = model.infer(torch.zeros(1, 2, 2)).first
    p = model.prior().first
    precision = torch.tensor([p.variance.item(), 1.01**2]) ** -1
    product = ((precision * torch.tensor([3.0, 2.0])).sum() / precision.sum()).item()
    expected = {"free": 2.0, "residual": 3 + p.stddev.item() * 2, "merged": product}
    assert q.mean.item() == pytest.approx(expected[merge], rel=1e-5)


def test_a_fit_opens_again_and_its_maps_are_encoded(fitted, tmp_path):
    fitted.save(tmp_path / "run")
    again = Fitted.open(tmp_path / "run")
    np.testing.assert_array_equal(again.sample(4), fitted.sample(4))
    assert again.sample(4).shape == (4, 8, 8)
    x = load("digits").x_test[:5]
    codes = again.encode(x)
    assert codes.mean.shape == (5, 2 * 4 * 4 + 2 * 2 * (2 * 2))


def test_a_plan_says_how_it_is_trained():
    found = plan(load("digits"), "very-deep", steps=10)
    assert found.objective == "beta-elbo:beta=1.0,rate=kl,warmup=1000"
    assert (found.ema, found.clip_norm, found.skip_above) == (0.999, 100.0, 30.0)


@pytest.mark.parametrize(
    "options, sentence",
    [
        ({"groups": []}, r"groups=\[\] and needs one or more"),
        ({"groups": [2, 0]}, r"groups=\[2, 0\] and needs one or more"),
        ({"groups": [10**9]}, "groups=1,000,000,000 and takes at most 1,000"),
        ({"width": 0}, "width=0 and needs at least 1"),
        (
            {**MAPS, "groups": [1, 1, 1, 1]},
            "An image of 6×6 can be halved 3 times, and halvings=1 with numbers of groups for 4",
        ),
        ({**MAPS, "norm_groups": 3}, "norm_groups is 3 for 8 channels"),
        ({"likelihood": "gauss"}, "no likelihood named 'gauss'"),
    ],
)
def test_mistakes_are_named(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        very_deep((6, 6), **options)


def test_more_groups_than_memory_are_refused_before_they_are_made(monkeypatch):
    """What is counted: the layers of each block at the places of its map."""
    model = very_deep((6, 6), **MAPS)
    places = [2 * 2, 2 * 2, 3 * 3]
    of_group = (3 * 4 + 2 * 2 + 8) + 8 + (3 * 4 + 8)  # P, W (once), R
    counted = sum((of_group - 8) * n + 8 for n in places)
    assert plan_size.layer_outputs(model.prior, (6, 6)) == counted
    monkeypatch.setattr("lowerbound.fitting.plan_size.available_memory", lambda: 10**8)
    plan(load("digits"), "very-deep", groups=[2], steps=1)
    with pytest.raises(ValueError, match=r"The plan needs at least .* of memory"):
        plan(load("digits"), "very-deep", groups=[200], steps=1)


@pytest.mark.parametrize("option", [{"network": "lstm"}, {"merge": "both"}])
def test_choices_are_listed(option):
    with pytest.raises(ValueError, match=r"mlp or convolution|free, residual or merged"):
        plan(load("digits"), "very-deep", **option)


def test_images_are_needed_for_maps():
    with pytest.raises(ValueError, match=r"got data of shape \(7,\)"):
        very_deep((7,), **MAPS)
