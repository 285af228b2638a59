"""Recipes of sequence models: the chain rule against enumeration and against its own steps."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch

from lowerbound import data, evaluate, gradients, likelihoods, objectives
from lowerbound.losses import VariationalLoss
from lowerbound.models.directed import DirectedModel
from lowerbound.models.sequence import autoregressive_rows, state_space
from lowerbound.models.sequence_steps import ChainRule, EachStep
from lowerbound.nets import MLP
from lowerbound.nets.recurrent import CausalGRU
from lowerbound.shown import shown
from lowerbound.training.loop import train

SMALL: dict[str, Any] = {"hidden": [6], "recurrent_dim": 5}


def all_images(shape: tuple[int, int]) -> torch.Tensor:
    bits = itertools.product([0.0, 1.0], repeat=shape[0] * shape[1])
    return torch.tensor(list(bits), dtype=torch.float64).unflatten(1, shape)


NETWORKS = [{}, {"network": "lstm"}, {"network": "transformer", "recurrent_dim": 8}, {"network": "convolution"}]


@pytest.mark.parametrize("options", NETWORKS)
def test_the_chain_rule_sums_to_one_over_every_image(options: dict[str, Any]) -> None:
    model = autoregressive_rows((3, 2), **{**SMALL, **options}).double()
    x = all_images((3, 2))
    assert model.log_prob(x).exp().sum().item() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("options", NETWORKS)
def test_its_samples_have_its_probabilities(options: dict[str, Any]) -> None:
    model = autoregressive_rows((3, 2), **{**SMALL, **options}).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    x, size = all_images((3, 2)), 40_000
    code = 2 ** torch.arange(6, dtype=torch.float64)
    exact = torch.zeros(64).double()
    exact[(x.flatten(1) @ code).long()] = model.log_prob(x).exp().detach()
    counts = torch.bincount((model.sample(size).flatten(1) @ code).long(), minlength=64)
    statistic = ((counts - size * exact).square() / (size * exact)).sum()
    assert exact.max() > 3 / 64
    assert statistic < 63 + 6 * (2 * 63) ** 0.5


def test_with_a_latent_the_weights_average_to_a_distribution_over_images() -> None:
    model = autoregressive_rows((3, 2), latent_dim=2, **SMALL).double()
    with torch.no_grad():
        estimate = evaluate.log_evidence(model, all_images((3, 2)), num_samples=3000)
    assert estimate.log_evidence.exp().sum().item() == pytest.approx(1, abs=0.02)
    reconstructed = model.reconstruct(all_images((3, 2)))
    assert reconstructed.shape == (64, 3, 2)


def test_one_pass_over_the_history_serves_every_latent() -> None:
    chain = ChainRule(CausalGRU(2, 5), likelihoods.Bernoulli(MLP([5, 3], [4], 2)), 4).double()
    z, x = torch.randn(7, 6, 3).double(), (torch.rand(6, 4, 2) > 0.5).double()
    together = chain(z).log_prob(x)
    alone = torch.stack([chain(row).log_prob(x) for row in z])
    torch.testing.assert_close(together, alone)
    torch.testing.assert_close(chain(z[0, 0]).log_prob(x[0]), together[0, 0])
    changed = (together - chain(z + 1).log_prob(x)).abs().max()
    assert changed > 1e-3


@pytest.mark.parametrize(
    "recipe, options",
    [
        (autoregressive_rows, {}),
        (autoregressive_rows, {"latent_dim": 2}),
        (state_space, {"latent_dim": 2, "likelihood": "bernoulli"}),
        (state_space, {"latent_dim": 2}),
        (autoregressive_rows, {"latent_dim": 2, "network": "convolution", "layers": 2}),
        (state_space, {"latent_dim": 2, "network": "lstm"}),
        (state_space, {"latent_dim": 2, "network": "transformer", "recurrent_dim": 6}),
        (state_space, {"latent_dim": 2, "network": "convolution"}),
    ],
    ids=["rows", "with a latent", "bits", "numbers", "dilated", "by an LSTM", "by attention", "by convolutions"],
)
def test_recipes_start_train_and_draw(recipe: Callable[..., DirectedModel], options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = recipe((4, 3), **{**SMALL, **options})
    ones = (torch.rand(40, 1, 1) > 0.5).expand(40, 4, 3)
    x = torch.where(torch.rand(40, 4, 3) < 0.1, ~ones, ones).float()  # all ones or all zeros, but for a tenth
    model.initialize(x)
    loss = VariationalLoss(model, objectives.IWAE(), gradients.Pathwise(), num_samples=3)
    loss.check(x)
    before = loss(x).loss.item()
    list(train(loss, data.InMemory(x), num_steps=20, lr=0.01, batch_size=20, log_every=20, compile=False))
    assert loss(x).loss.item() < before
    assert model.sample(5).shape == model.sample_mean(5).shape == (5, 4, 3)
    assert model.reconstruct(x).shape == x.shape
    decoded = model.decode(model.prior(None).sample(torch.Size((5,))))
    assert decoded.sample().shape == shown(decoded).values.shape == (5, 4, 3)
    assert decoded.log_prob(x[:5]).shape == (5,)


def test_pictures_of_samples_are_of_different_draws() -> None:
    torch.manual_seed(0)
    images = autoregressive_rows((6, 5), **SMALL).sample_mean(4)
    assert len(images.flatten(1).unique(dim=0)) == 4


def test_pixels_start_at_the_mean_row() -> None:
    model = autoregressive_rows((4, 3), **SMALL)
    x = torch.tensor([0.2, 0.5, 0.9]).expand(40, 4, 3)
    model.initialize(x)
    step = model.order[0].conditional.step  # type: ignore[attr-defined]
    torch.testing.assert_close(step.net.output_bias.sigmoid().detach(), x[0, 0])


def test_without_hidden_layers_the_state_space_is_linear() -> None:
    model = state_space((4, 3), latent_dim=2, hidden=[], recurrent_dim=4)
    transition, emission = (node.conditional for node in model.order)
    z = torch.randn(3, 2)
    for part in (transition.transition, emission.step):  # type: ignore[attr-defined]
        p = part(z)
        middle = part((z[:1] + z[1:2]) / 2).mean
        torch.testing.assert_close(middle[0], (p.mean[0] + p.mean[1]) / 2)
        torch.testing.assert_close(p.stddev[0], p.stddev[1])
    assert isinstance(emission, EachStep)


@pytest.mark.parametrize(
    "make, sentence",
    [
        (
            lambda: autoregressive_rows((1, 8, 8)),
            r"autoregressive_rows got data of shape \(1, 8, 8\) and expected \(steps, numbers at one step\)",
        ),
        (
            lambda: autoregressive_rows((8, 8), latent_dim=-1),
            "autoregressive_rows got latent_dim=-1 and needs at least 0",
        ),
        (lambda: autoregressive_rows((8, 8), layers=2), "gru got layers=2 and has 1; take lstm"),
        (lambda: autoregressive_rows((8, 8), network="transformer", recurrent_dim=6), "a multiple of heads"),
        (lambda: state_space((8, 8), network="transformer", recurrent_dim=5), "width 5 in each direction and needs an"),
        (lambda: state_space((8,)), r"state_space got data of shape \(8,\)"),
        (lambda: state_space((8, 8), latent_dim=0), "state_space got latent_dim=0 and needs at least 1"),
        (lambda: autoregressive_rows((8, 8), likelihood="bernouli"), "bernoulli"),
        (lambda: autoregressive_rows((8, 8), **SMALL).log_prob(torch.zeros(2, 8, 7)), r"x has shape \(2, 8, 7\)"),
        (
            lambda: state_space((8, 8), **SMALL).log_weights(torch.zeros(2, 8, 7), 1),
            r"x has shape \(2, 8, 7\) and p\(x \| z\) is over \(batch, 8, 8\); give data of that shape",
        ),
        (
            lambda: state_space((8, 8), **SMALL).log_weights(torch.zeros(2, 7, 8), 1),
            r"x has shape \(2, 7, 8\) and p\(x \| z\) is over \(batch, 8, 8\)",
        ),
    ],
)
def test_mistakes_are_named(make: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        make()
