"""Images in colour: the plan if nothing is said, what leads elsewhere, and that a fit does what is asked of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import lowerbound as lb
from lowerbound.data import Dataset
from lowerbound.data.given import dataset_of
from lowerbound.evaluate import shrunk_gaussian
from lowerbound.fitted import Fitted
from lowerbound.fitting.colour import settings_of_colour
from lowerbound.fitting.defaults import next_to_try
from lowerbound.fitting.planning import plan
from lowerbound.fitting.preparing import prepare
from lowerbound.models import vae
from lowerbound.training.engine import Engine
from lowerbound.verbs.score_parts import baselines_of

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, size=(60, 8, 8, 3), dtype=np.uint8)
SMALL: dict[str, Any] = {"steps": 2, "channels": 4, "hidden": [8, 8], "latent_dim": 3, "device": "cpu"}


def test_pixels_are_told_by_those_around_them_and_the_plan_says_why():
    found = plan(dataset_of(COLOUR))
    assert found.recipe == "pixel-vae"
    assert found.model["likelihood"] == "discretized-logistic-mixture:num_components=3"
    assert (found.model["network"], found.model["hidden"]) == ("convolution", [32, 64])
    assert found.loss == "auxiliary:weight=0.3"
    assert (found.objective, found.steps, found.batch_size) == ("elbo:rate=kl", 2000, 44)
    assert "colour" in found.reasons["recipe"]
    assert found.reasons["batch_size"] == "2,816 pixels a step"
    for name in ("likelihood", "network", "layers", "objective", "loss", "batch_size", "steps"):
        assert found.reasons[name], name


def test_the_recipe_by_its_name_has_the_same_settings():
    one, other = plan(dataset_of(COLOUR)).to_json(), plan(dataset_of(COLOUR), "pixel-vae").to_json()
    one["reasons"].pop("recipe")
    assert one == other


@pytest.mark.parametrize(
    "x, given, recipe",
    [
        (COLOUR / 255, {}, "pixel-vae"),
        (COLOUR, {"latent_dim": 4}, "pixel-vae"),
        (COLOUR, {"likelihood": "discretized-logistic"}, "vae"),
        (COLOUR[..., 0], {}, "vae"),
        (COLOUR > 127, {}, "vae"),
        (RNG.random((60, 8, 8, 3)), {}, "vae"),
        (COLOUR[:, :7], {}, "vae"),
    ],
    ids=["bytes over 255", "latents said", "likelihood said", "grey", "two levels", "intensities", "small"],
)
def test_what_is_no_picture_of_levels_in_colour_or_has_a_likelihood_goes_elsewhere(x, given, recipe):
    found = plan(dataset_of(x), **given)
    assert found.recipe == recipe
    assert found.model["latent_dim"] == given.get("latent_dim", {"pixel-vae": 32, "vae": 16}[recipe])


def test_what_is_said_of_the_latents_or_of_the_causal_net_has_no_reason_that_is_false():
    said = plan(dataset_of(COLOUR), prior="vamp", causal="transformer")
    assert (said.recipe, said.objective) == ("pixel-vae", "elbo")
    assert "objective" not in said.reasons
    assert "layers" not in said.reasons
    loss = prepare(dataset_of(COLOUR), said, Engine()).loss
    loss.check(torch.zeros(2, 3, 8, 8))


def test_an_autoencoder_that_loses_is_answered_with_it():
    assert next_to_try(dataset_of(COLOUR), "vae") == "pixel-vae"
    assert next_to_try(dataset_of(COLOUR), "pixel-vae") is None  # trained longer


def test_a_step_is_as_dear_for_large_pictures_and_many_rows_have_one_pass():
    large = Dataset.from_array(
        np.zeros((20, 64, 64, 3), np.uint8) + RNG.integers(0, 256, (20, 1, 1, 3), dtype=np.uint8)
    )
    found = settings_of_colour(large, 100_000, {})
    assert (found["batch_size"][0], found["steps"][0]) == (8, 12_500)
    assert settings_of_colour(large, 100_000, {"batch_size": 50})["steps"][0] == 2000


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    return lb.fit(COLOUR[:20], seed=1, **SMALL)


def test_it_is_fitted_drawn_and_encoded(fitted: Fitted):
    assert fitted.plan is not None
    assert (fitted.plan.recipe, fitted.plan.loss) == ("pixel-vae", "auxiliary:weight=0.3")
    assert fitted.sample(1).shape == (1, 8, 8, 3)
    assert fitted.sample(1).dtype == np.uint8
    assert fitted.encode(COLOUR[:5]).mean.shape == (5, 3)


def test_a_shrunk_gaussian_is_a_baseline_of_levels():
    x = torch.from_numpy(np.moveaxis(COLOUR[:12, :2, :1], -1, 1) / np.float32(255))
    likelihood = vae((3, 2, 1), latent_dim=1, hidden=[2], likelihood="discretized-logistic").likelihood
    found = baselines_of(likelihood, x, x[:5], 0)
    torch.testing.assert_close(found["shrunk gaussian"], shrunk_gaussian(x, x[:5], num_levels=256))
    assert "shrunk gaussian" not in baselines_of(likelihood, x[:3], x[:5], 0)


@pytest.mark.slow
def test_it_is_scored_beside_a_gaussian(fitted: Fitted):
    scores = fitted.evaluate(num_samples=2)
    assert set(scores["baselines"]) == {"independent elements", "shrunk gaussian"}
    assert scores["bits_per_dim"] > 4
