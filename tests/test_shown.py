"""What is shown of p(x | z): its mean, or means along a draw, and which of the two."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Distribution, Normal

from lowerbound.models.sequence import autoregressive_rows
from lowerbound.shown import shown


def test_a_mean_is_shown_and_called_one():
    got = shown(Normal(torch.tensor([1.0, 2.0]), 3.0))
    assert got.is_mean
    assert got.values.tolist() == [1.0, 2.0]


def test_of_an_autoregressive_p_the_means_along_one_draw_are_shown():
    torch.manual_seed(0)
    model = autoregressive_rows((5, 3), latent_dim=2, hidden=[8], recurrent_dim=6)
    z = torch.randn(4, 2)
    p = model.decode(z)
    torch.manual_seed(1)
    got = shown(p)
    torch.manual_seed(1)
    x = p.sample()
    assert not got.is_mean
    assert got.values.shape == x.shape == (4, 5, 3)
    h = model.likelihood.nodes[0].conditional.history(x)
    expected = model.likelihood.nodes[0].conditional.step((h, z[:, None])).mean
    assert torch.allclose(got.values, expected, atol=1e-6)
    with pytest.raises(NotImplementedError):
        _ = p.mean
    for draw in (model.sample_mean(3), model.draw(3)[1], model.reconstruct(x)):
        assert ((draw > 0) & (draw < 1)).all()


def test_nothing_to_show_is_said():
    with pytest.raises(ValueError, match="Distribution has no mean in closed form"):
        shown(Distribution(validate_args=False))
