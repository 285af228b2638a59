"""The perceptron whose input enters every layer."""

from __future__ import annotations

import pytest
import torch

from lowerbound.models import skip_vae
from lowerbound.nets import MLP, SkipMLP


def test_without_skips_it_is_an_mlp_and_with_them_z_passes_where_the_layers_let_nothing_through():
    torch.manual_seed(0)
    plain, skip = MLP(3, [5, 4], (2, 3)), SkipMLP(3, [5, 4], (2, 3))
    of_plain = [layer for layer in plain.layers if isinstance(layer, torch.nn.Linear)]
    for mine, other in zip(skip.layers, of_plain, strict=True):
        mine.load_state_dict(other.state_dict())
    for part in skip.skips:
        torch.nn.init.zeros_(part.weight)
    z = torch.randn(7, 2, 3)
    torch.testing.assert_close(skip(z), plain(z))
    assert torch.equal(skip.output_bias, plain.output_bias)
    for layer in list(skip.layers)[1:]:
        torch.nn.init.zeros_(layer.weight)
    still = skip(z)
    torch.nn.init.ones_(skip.skips[-1].weight)
    torch.testing.assert_close(skip(z) - still, z.sum(-1)[..., None, None].expand(7, 2, 2, 3))


def test_the_recipe_decodes_by_it():
    model = skip_vae((4, 3), latent_dim=2, hidden=[6, 5])
    assert isinstance(model.likelihood.net, SkipMLP)
    assert [layer.out_features for layer in model.likelihood.net.layers] == [5, 6, 12]
    assert isinstance(model.posterior.net, MLP)


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda: SkipMLP(3, [], 2), r"hidden=\[\] and needs widths of at least 1, and one or more"),
        (lambda: SkipMLP(3, [4], 2)(torch.zeros(5, 2)), r"an input of shape \(5, 2\) and expected \(\.\.\., \(3,\)\)"),
    ],
)
def test_mistakes_are_named(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
