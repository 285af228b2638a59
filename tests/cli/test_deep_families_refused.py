"""Deep families of images: what they cannot be made for is one sentence and exit code 2, and leaves no folder."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lowerbound.likelihoods import Bernoulli, DiscretizedLogisticMixture
from lowerbound.models import vae
from lowerbound.nets import MLP
from lowerbound.one_call import fit
from lowerbound.posteriors import DiagonalNormal

MAPS = "very-deep:network=convolution,width=4,hidden=2,latent_channels=2"


@pytest.mark.parametrize(
    "recipe, sentence",
    [
        (
            f"{MAPS},groups=[1,1,1,1]",
            "An image of 8×8 can be halved 3 times, and halvings=1 with numbers of groups for 4",
        ),
        (f"{MAPS},groups=[1],halvings=9", "halvings=9 with numbers of groups for 1 resolutions takes 9; take fewer"),
        ("biva:network=convolution,levels=[1,1,1,1]", "An image of 8×8 can be halved 3 times"),
        ("draw:read=9", "draw got read=9 for images of 8×8 and needs 2 to 8 places"),
        ("pixel-vae:kernel=99", "take kernel=15 or less"),
        ("very-deep:latent_channels=0", "latent_channels=0 and needs at least 1"),
        ("very-deep:norm_groups=7", "norm_groups is 7 for 200 channels"),
        ("very-deep:groups=[900],width=200000", "The plan needs at least"),
        ("draw:glimpses=5000", "glimpses=5,000 and takes at most 1,000"),
        ("skip-vae:hidden=[]", "one or more"),
    ],
)
def test_sizes_that_do_not_fit(refused, tmp_path, recipe, sentence):
    told = refused("fit", "digits", "--out", tmp_path / "run", "--recipe", recipe, "--steps", "2", "--device", "cpu")
    assert sentence in told
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "recipe, sentence",
    [
        ("draw", r"got data of shape (7,) and writes images"),
        ("pixel-vae", "take the network transformer for vectors"),
        (MAPS, "A pyramid got data of shape (7,)"),
    ],
)
def test_rows_are_no_images(refused, tmp_path, recipe, sentence):
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).normal(size=(60, 7)))
    told = refused(
        "fit", tmp_path / "rows.npy", "--out", tmp_path / "run", "--recipe", recipe, "--likelihood", "normal",
        "--steps", "2", "--device", "cpu",
    )  # fmt: skip
    assert sentence in told


@pytest.mark.parametrize("channels, of_likelihood", [(3, 1), (1, 3)])
def test_a_likelihood_of_another_number_of_channels(channels, of_likelihood):
    x = np.random.default_rng(0).integers(0, 2, (40, channels, 6, 6)).astype(np.float32)
    shape = (of_likelihood, 6, 6)
    mixture = DiscretizedLogisticMixture.parameter_shape(shape, 2)
    for likelihood in (
        Bernoulli(MLP(2, [4], shape)),
        DiscretizedLogisticMixture(MLP(2, [4], mixture), event_shape=shape, num_components=2, num_levels=2),
    ):
        with pytest.raises(ValueError, match=rf"rows .*\({channels}, 6, 6\)") as told:
            fit(x, "vae", latent_dim=2, hidden=[4], likelihood=likelihood, steps=2)
        assert len(str(told.value)) < 300


def test_an_error_of_another_kind_stays_what_it_is(monkeypatch):
    def broken(self: Bernoulli, x: torch.Tensor) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(Bernoulli, "initialize", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        vae((4,), latent_dim=2, hidden=[4]).initialize(torch.zeros(3, 4))


def test_a_latent_shape_that_no_net_gives():
    with pytest.raises(ValueError, match=r"latent_shape=5 needs \(2, 5\); build the net with"):
        DiagonalNormal(MLP(4, [], (2, 3)), 5)
    x = np.random.default_rng(0).integers(0, 2, (40, 4)).astype(np.float32)
    with pytest.raises(ValueError, match=r"latents of shape \(3,\) and p\(z\) over \(2,\)"):
        fit(x, "vae", latent_dim=2, hidden=[4], likelihood="bernoulli", posterior=DiagonalNormal(MLP(4, [4], (2, 3))),
            steps=2)  # fmt: skip
