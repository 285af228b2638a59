"""What is shown of p(x | z): its mean, or means along a draw, and which of the two."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Distribution, Normal

from lowerbound.fitting.defaults import facts_of
from lowerbound.models import pixel_vae, vae
from lowerbound.models.sequence import autoregressive_rows
from lowerbound.report.contents import ReportContents
from lowerbound.report.figures import illustrations
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


@pytest.mark.parametrize(
    "model, is_mean",
    [
        (autoregressive_rows((5, 3), latent_dim=2, hidden=[8], recurrent_dim=6), False),
        (pixel_vae((5, 3), latent_dim=2, hidden=[8], channels=4, layers=1), False),
        (vae((5, 3), latent_dim=2, hidden=[8]), True),
    ],
    ids=["rows", "pixels", "factorised"],
)
def test_a_likelihood_states_which_of_the_two_and_titles_say_it(model, is_mean):
    assert facts_of(model.likelihood).has_mean == is_mean == shown(model.decode(torch.zeros(2, 2))).is_mean
    images = model.sample_mean(4).numpy()
    contents = ReportContents(
        title="t", kind="image", originals=images, reconstructions=images, samples=images, shows_means=is_mean
    )
    for illustration in illustrations(contents):
        title = illustration.figure.axes[0].get_title(loc="left")
        assert ("E[x | z]" in title) == is_mean
        assert ("E[x_d | x_<d, z] along one draw of x" in title) != is_mean
