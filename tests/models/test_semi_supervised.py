from __future__ import annotations

import pytest
import torch

from lowerbound.models.with_few_labels import BroadcastMLP, semi_supervised
from lowerbound.nets import MLP
from lowerbound.recipes import recipe_named


@pytest.mark.parametrize("hidden", [[], [5, 4]])
def test_broadcasting_is_concatenation(hidden: list[int]) -> None:
    net = BroadcastMLP([(2, 3), 4], hidden, (2, 7)).double()
    other = MLP([(2, 3), 4], hidden, (2, 7)).double()
    other.load_state_dict(net.state_dict())
    x, y = torch.randn(5, 2, 3, dtype=torch.float64), torch.randn(6, 5, 4, dtype=torch.float64)
    torch.testing.assert_close(net(x, y), other(x, y))


def test_shapes_of_every_part() -> None:
    model = semi_supervised((4, 4), num_classes=3, latent_dim=2, hidden=[8])
    x = torch.rand(5, 4, 4).round()
    z, y = model.infer(x).sample(torch.Size((7,)))
    assert z.shape == (7, 5, 2)
    assert y.shape == (7, 5, 3)
    assert model.decode((z, y)).batch_shape == (7, 5)
    assert model.log_weights(x, 7).log_w.shape == (7, 5)
    assert model.transfer(x, torch.arange(3)).shape == (5, 3, 4, 4)


def test_initialize_puts_the_mean_of_the_data_into_the_output() -> None:
    model, x = semi_supervised((6,), num_classes=3, latent_dim=2, hidden=[8]), (torch.rand(100, 6) < 0.2).float()
    model.initialize(x)
    torch.testing.assert_close(model.likelihood.net.output_bias.sigmoid(), x.mean(0).clamp(0.01, 0.99))


@pytest.mark.parametrize("wrong", [{"latent_dim": 0}, {"num_classes": 1}, {"likelihood": "nothing"}])
def test_bad_values_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match=r"at least|There is no likelihood"):
        semi_supervised((6,), **{"num_classes": 3, **wrong})


def test_a_plan_without_the_number_of_classes_is_one_sentence():
    """An altered run.json ended in a TypeError."""
    with pytest.raises(ValueError, match="semi-supervised recipe got no num_classes, which the data decide"):
        recipe_named("semi-supervised").model((4,), {"latent_dim": 2})


@pytest.mark.parametrize("posterior", ["categorical", "bernoulli", "relaxed-bernoulli", "finite-scalar"])
def test_latents_other_than_real_vectors_are_refused(posterior: str) -> None:
    with pytest.raises(ValueError, match=f"posterior is '{posterior}', whose latents are not real vectors"):
        semi_supervised((4, 4), num_classes=3, latent_dim=2, hidden=[8], posterior=posterior)
