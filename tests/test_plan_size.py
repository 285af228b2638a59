"""Plans that memory cannot hold are refused before any is asked for, with what they need and what there is."""

from __future__ import annotations

import numpy as np
import pytest

import lowerbound as lb
from lowerbound.data import load
from lowerbound.fitting import plan_size
from lowerbound.fitting.planning import plan
from lowerbound.recipes import recipe_named, recipes
from lowerbound.sklearn import VAE

X = np.random.default_rng(0).normal(size=(40, 3))


@pytest.mark.parametrize(
    "given",
    [
        {"hidden": [10**9]},
        {"hidden": [10**9, 10**9]},
        {"latent_dim": 10**9},
        {"prior": "mixture-normal:components=1000000000"},
        {"posterior": "maf:hidden=1000000000"},
        {"posterior": "full-normal", "latent_dim": 10**6},
        {"num_samples": 10**9},
        {"batch_size": 10**5, "num_samples": 10**5},
    ],
)
def test_sizes_of_a_thousand_million_are_one_sentence(given):
    with pytest.raises(
        ValueError, match=r"needs at least .* of memory \(.*\) and .* GiB are free; take smaller"
    ) as got:
        plan(load("digits"), "vae", **given)
    assert len(str(got.value)) < 300


def test_numbers_of_layers_beyond_reason_are_refused_soon():
    with pytest.raises(ValueError, match="transforms=1,000,000 and takes at most 256; take fewer"):
        plan(load("digits"), "vae", posterior="maf:transforms=1000000")


def test_every_road_refuses():
    with pytest.raises(ValueError, match="of memory"):
        lb.fit(X, "vae", hidden=[10**9], steps=1)
    with pytest.raises(ValueError, match="of memory"):
        VAE(hidden=(10**9,)).fit(X)


def test_draws_beyond_memory_are_refused():
    fitted = lb.fit(X, "vae", hidden=[8], latent_dim=2, steps=1)
    with pytest.raises(ValueError, match=r"1,000,000,000,000 draws.* are free; ask for fewer"):
        fitted.sample(10**12)


def test_the_count_is_that_of_the_model_and_of_its_layers(monkeypatch):
    """By hand: encoder 64-8-(2 x 2), decoder 2-8-64, with 8 numbers a parameter and 4 bytes a number."""
    parameters = 64 * 8 + 8 + 8 * 4 + 4 + 2 * 8 + 8 + 8 * 64 + 64
    step = 128 * (8 + 4 + 5 * (8 + 64) + 64)
    said = plan_size.StepSize(rows=128, num_samples=5)
    options = {"latent_dim": 2, "hidden": [8], "likelihood": "bernoulli"}
    needed = 4 * (8 * parameters + step)
    monkeypatch.setattr("lowerbound.fitting.plan_size.available_memory", lambda: needed)
    plan_size.check_model(recipe_named("vae"), options, (8, 8), said)
    monkeypatch.setattr("lowerbound.fitting.plan_size.available_memory", lambda: needed - 1)
    with pytest.raises(ValueError, match=rf"\({parameters:,} parameters with their moments, steps of 128 rows and 5"):
        plan_size.check_model(recipe_named("vae"), options, (8, 8), said)


@pytest.mark.parametrize("name", recipes())
def test_counting_leaves_no_trace_in_random_numbers(name):
    import torch

    recipe, state = recipe_named(name), torch.get_rng_state()
    known = {key: value for key, value in recipe.option_defaults.items() if value is not None}
    if name in ("sentence-vae", "language-model", "molecule-vae"):
        known["likelihood"] = "tokens:num_symbols=5"
    if name == "multimodal":
        known |= {"blocks": "a=0-31;b=32-63", "likelihoods": "a=normal;b=bernoulli"}
    shapes = {"rate-distortion": (16, 16), "rate-distortion-video": (3, 1, 16, 16)}
    square = ("autoregressive-rows", "draw", "fsq", "pixel-vae", "state-space", "vq")
    shape = shapes.get(name, (8, 8) if name in square else (64,))
    plan_size.check_model(recipe, {**known, **({"num_classes": 3} if recipe.needs_classes else {})}, shape)
    assert torch.equal(torch.get_rng_state(), state)
