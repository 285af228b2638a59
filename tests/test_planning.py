"""The plan: everything resolved once, typed, with reasons, the same by every road."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

import numpy as np
import pandas
import pytest

from lowerbound.data import Dataset, load, parse_columns
from lowerbound.data.covariates import Covariate
from lowerbound.data.given import dataset_of
from lowerbound.data.overrides import Overrides
from lowerbound.fitting.defaults import as_ordinal
from lowerbound.fitting.planning import Plan, plan
from lowerbound.fitting.preparing import prepare
from lowerbound.likelihoods import Poisson
from lowerbound.models.recipe import Recipe
from lowerbound.models.variational_autoencoder import vae
from lowerbound.recipes import recipes
from lowerbound.training.engine import Engine
from lowerbound.training.loop import steps_for

RNG = np.random.default_rng(0)
REAL = RNG.normal([5, -3, 100], [2, 0.1, 30], size=(60, 3))
COUNTS = RNG.poisson(3, size=(60, 4))
BITS = RNG.integers(0, 2, size=(60, 5))
BYTES = RNG.integers(0, 256, size=(60, 8, 8), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, size=(60, 8, 8, 3), dtype=np.uint8)
LABELS = np.array(["ant", "cat", "dog"])[np.arange(60) % 3]


@pytest.mark.parametrize(
    "x, likelihood, binarization, standardize",
    [
        (REAL, "normal:scale=per-dimension", "none", True),
        (COUNTS, "negative-binomial", "none", False),
        (BITS, "bernoulli", "none", False),
        (BYTES, "bernoulli", "dynamic", False),
        (BYTES / 255, "bernoulli", "dynamic", False),
        (COLOUR, "discretized-logistic", "none", False),
    ],
    ids=["reals", "counts", "bits", "grey bytes", "grey intensities", "colour bytes"],
)
def test_what_is_left_open_follows_the_kind_of_data(x: Any, likelihood: str, binarization: str, standardize: bool):
    found = plan(dataset_of(x), "vae")
    assert (found.model["likelihood"], found.binarization, found.standardize) == (likelihood, binarization, standardize)
    assert "likelihood" in found.reasons
    assert "likelihood" not in plan(dataset_of(x), "vae", likelihood=likelihood).reasons


def test_a_plan_comes_back_from_json_whole() -> None:
    found = plan(load("digits"), latent_dim=3, hidden=[8], objective="elbo", clip_norm=1)
    assert Plan.from_json(json.loads(json.dumps(found.to_json()))) == found
    assert found.given == {"latent_dim": 3, "hidden": [8], "objective": "elbo", "clip_norm": 1}
    assert set(found.model) == set(recipes()["vae"].options)


def test_steps_are_counted_from_the_rows_that_are_trained_on() -> None:
    data = load("digits")  # 1437 rows, 143 of them to choose the weights
    assert plan(data, epochs=2, batch_size=100).steps == 26
    assert plan(data, steps=7).steps == 7
    assert plan(data).steps >= 8000


def test_the_objective_decides_samples_and_estimator_unless_they_are_given() -> None:
    data = load("digits")
    found = [plan(data, objective=name) for name in ("iwae", "elbo")]
    assert [(p.num_samples, p.gradient) for p in found] == [(8, "dreg"), (1, "pathwise")]
    assert plan(data, objective="iwae", num_samples=3, gradient="pathwise").num_samples == 3


@pytest.mark.parametrize(
    "given, sentence",
    [
        ({"latent_dims": 4}, "A fit has no setting 'latent_dims'; it has latent_dim"),
        ({"latent_dim": "four"}, "The vae recipe got latent_dim='four' and expected a whole number"),
        ({"hidden": 64}, r"The vae recipe got hidden=64 and expected a list of whole numbers such as \[64,64\]"),
        ({"lr": "fast"}, "The plan got lr='fast' and expected a number"),
        ({"lr": float("nan")}, "The plan got lr=nan and expected a finite number"),
        ({"clip_norm": float("nan")}, "The plan got clip_norm=nan and expected a number or None"),
        ({"steps": 5, "epochs": 2}, "epochs and steps both say how long to train; give one of them"),
        ({"network": "transformer"}, "The vae recipe got network='transformer' and expected mlp, convolution or skip"),
    ],
)
def test_a_mistake_is_one_sentence(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        plan(load("digits"), **given)


@pytest.mark.parametrize(
    "words, sentence",
    [
        ("vade:clusters=ten", "The vade recipe got clusters='ten' and expected a whole number"),
        ("vade:clusters=1e3,hidden=[1,[2]]", "expected a list of whole numbers"),
        ("vade:clusters=-", "expected a whole number"),
        ("vade:colour=red", "The vade recipe has no option 'colour'; it has clusters"),
        ("vadee", "There is no recipe named 'vadee'"),
    ],
)
def test_a_recipe_in_words_is_checked(words: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        plan(load("digits"), words)


def test_a_setting_of_a_newer_version_is_named() -> None:
    content = plan(load("digits")).to_json()
    with pytest.raises(ValueError, match="has the setting 'warp', which this version does not know"):
        Plan.from_json({**content, "warp": 9})
    with pytest.raises(ValueError, match="The plan has no 'steps'"):
        Plan.from_json({name: value for name, value in content.items() if name != "steps"})


def _small(event_shape, *, width: int = 4, likelihood: str = "normal"):
    return vae(event_shape, latent_dim=2, hidden=[width], likelihood=likelihood)


def test_a_recipe_from_elsewhere_needs_nothing_but_itself() -> None:
    """A stranger's errand: one object with its own defaults, no registry."""
    mine = Recipe(name="mine", make=_small, defaults={"objective": "elbo", "lr": 0.5, "width": 6})
    found = plan(dataset_of(REAL), mine)
    assert (found.recipe, found.lr, found.model["width"], found.objective) == ("mine", 0.5, 6, "elbo:rate=kl")
    training = prepare(dataset_of(REAL), found, Engine(device="cpu"), mine)
    assert training.loss.model.posterior.net.layers[0].out_features == 6


@pytest.mark.parametrize("name", list(recipes()))
def test_every_recipe_is_planned_and_prepared_with_nothing_but_its_defaults(name: str) -> None:
    data = _data_for(recipes()[name])
    found = plan(data, name, **({"blocks": "a=0-1;b=2"} if name == "multimodal" else {}))
    training = prepare(data, found, Engine(device="cpu"))
    assert training.num_steps == found.steps
    assert Plan.from_json(json.loads(json.dumps(found.to_json()))) == found


@pytest.mark.parametrize("penalty", ["factor-vae", "mmd", "total-correlation"])
def test_a_penalty_learns_the_length_of_z_from_the_model(penalty: str) -> None:
    """The report: `vade --penalty factor-vae` was told 16 latents where the recipe has 10."""
    data = load("digits")
    training = prepare(data, plan(data, "vade", penalty=penalty, hidden=[8]), Engine(device="cpu"))
    assert training.loss.penalty is not None


def _data_for(recipe: Recipe) -> Dataset:
    if recipe.likelihood == "tokens":
        return dataset_of(["a model of text", "text of a model", "a text"] * 10)
    if recipe.labels == "covariates":
        return dataset_of(RNG.poisson(2, (60, 5)), np.resize(["b", "t"], 60) if recipe.needs_classes else None)
    if recipe.name == "rate-distortion-video":
        return dataset_of(RNG.random((20, 3, 1, 16, 16)).astype(np.float32))
    if recipe.name == "rate-distortion":
        return dataset_of(RNG.integers(0, 256, (20, 16, 16)).astype(np.uint8))
    if recipe.labels != "unused":
        return dataset_of(BYTES / 255, LABELS)
    if recipe.likelihood in ("negative-binomial", "bag-of-words"):
        return dataset_of(COUNTS)
    return load("digits") if "likelihood" in recipe.options else dataset_of(REAL)


@pytest.mark.parametrize("epochs", [float("inf"), 0.0, -1.0])
def test_passes_that_are_no_number_of_steps_are_refused(epochs: float) -> None:
    with pytest.raises(ValueError, match=r"finite number|above 0"):
        plan(load("digits"), epochs=epochs)
    with pytest.raises(ValueError, match="epochs is nan and must be a finite number above 0"):
        steps_for(float("nan"), 10, 2)


@pytest.mark.parametrize(
    "given, sentence",
    [
        (
            {"epochs": 1e30},
            "epochs=1e+30 of 1,294 rows are 1.01e+31 steps of 128 rows and a plan",
        ),
        ({"steps": 10**12}, "The plan got steps=1,000,000,000,000 and takes at most 1,000,000,000; take fewer."),
        ({"batch_size": 10**9, "steps": 1}, "a step takes at most 100 times; take at most 129,400."),
    ],
)
def test_what_would_not_end_is_refused(given: dict[str, float], sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        plan(load("digits"), **given)


def test_what_takes_long_is_allowed() -> None:
    made = plan(load("digits"), steps=10**9, batch_size=129_400, latent_dim=2, hidden=[4])
    assert (made.steps, made.batch_size) == (10**9, 129_400)
    assert steps_for(10**6, 10**5, 100) == 10**9


def test_columns_on_few_values_are_named_with_the_option_that_changes_them() -> None:
    x = np.random.default_rng(1).normal(size=(400, 3))
    x[:, :2] = x[:, :2].round()
    dataset = dataset_of(x)
    assert as_ordinal(dataset) == {"0": "ordinal", "1": "ordinal"}
    assert "--columns '0=ordinal,1=ordinal'" in plan(dataset).reasons["recipe"]
    said = dataset_of(x, overrides=Overrides(columns=parse_columns("0=ordinal,1=ordinal")))
    assert as_ordinal(said) == {}
    assert plan(said).recipe == "latent-classes"
    assert plan(said).model["columns"].startswith("ordinal-")


WITH_GAPS = np.where(RNG.random(REAL.shape) < 0.1, np.nan, REAL)
MIXED = np.concatenate([REAL, COUNTS[:, :1], BITS[:, :1]], 1)


@pytest.mark.parametrize(
    "x, recipe, trained",
    [
        (REAL, "mixture-of-factor-analysers", "vae"),
        (REAL[:, :1], "mixture-of-factor-analysers", "vae"),
        (COUNTS, "latent-classes", "counts"),
        (WITH_GAPS, "latent-classes", "vae"),
        (np.where(RNG.random(COUNTS.shape) < 0.1, np.nan, COUNTS), "latent-classes", "vae"),
        (MIXED, "latent-classes", "vae"),
    ],
    ids=["reals", "one column of reals", "counts", "reals with gaps", "counts with gaps", "several kinds"],
)
def test_another_recipe_than_with_nothing_said_is_said(x: Any, recipe: str, trained: str) -> None:
    assert plan(dataset_of(x)).recipe == plan(dataset_of(x), seed=3).recipe == recipe
    other = plan(dataset_of(x), steps=5)
    assert other.recipe == trained
    assert f"steps was given; with nothing said it is {recipe}" in other.reasons["recipe"]
    assert "recipe" not in plan(dataset_of(x), "vae", steps=5).reasons


@pytest.mark.parametrize("given, recipe", [({"hidden": [8]}, "counts"), ({"prior": "mixture-normal"}, "vae")])
def test_counts_keep_their_autoencoder_unless_another_part_is_said(given: dict[str, Any], recipe: str) -> None:
    assert plan(dataset_of(COUNTS), **given).recipe == recipe


@pytest.mark.parametrize(
    "given, sentence",
    [
        ({"batch_size": 0}, "The plan got batch_size=0 and needs at least 1"),
        ({"seed": -1}, "The plan got seed=-1 and needs at least 0"),
        ({"patience": 0}, "The plan got patience=0 and needs at least 1"),
        ({"clip_norm": -1.0}, "The plan got clip_norm=-1 and needs a finite number above 0"),
        ({"epochs": "ten"}, "The plan got epochs='ten' and expected a number"),
        ({"epochs": -1}, "The plan got epochs=-1 and needs a finite number above 0"),
        ({"objective": 3}, "The plan got objective=3 and expected a word"),
        ({"likelihood": Poisson}, "expected a word or a Module"),
    ],
)
def test_numbers_that_the_command_refuses_are_refused_from_python(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        plan(load("digits"), **given)


def test_the_kinds_of_columns_are_told_to_latent_classes() -> None:
    found = plan(dataset_of(MIXED))
    assert found.model == {
        "columns": "3*continuous+small-count-11+categorical-2",
        "components": None,
        "latent_dim": None,
    }
    assert not found.standardize
    assert plan(dataset_of(REAL), "latent-classes", components=3).model["columns"] == "3*continuous"
    assert plan(dataset_of(BITS)).recipe == plan(dataset_of(MIXED[:10])).recipe == "vae"  # too few rows to choose by


def test_a_recipe_may_say_its_batch_size():
    """That of the data took its place in silence."""
    recipe = Recipe(name="own", make=vae, defaults={"batch_size": 16})
    dataset = load("digits")
    assert plan(dataset, recipe).batch_size == 16
    assert plan(dataset, recipe, batch_size=8).batch_size == 8
    assert plan(dataset, "vae").batch_size == 128


@pytest.mark.parametrize("recipe", ["vae", "vae-gan", "two-stage", "avb"])
def test_widths_suit_the_network_by_every_road(recipe):
    images = dataset_of(np.random.default_rng(0).integers(0, 256, (40, 28, 28)).astype(np.uint8))
    by_plan = {network: plan(images, recipe, network=network).model["hidden"] for network in ("convolution", "mlp")}
    assert by_plan == {"convolution": [32, 64], "mlp": [256, 256]}
    by_hand = vae((28, 28), network="convolution")
    assert [p.shape for p in by_hand.parameters()] == [
        p.shape for p in vae((28, 28), network="convolution", hidden=(32, 64)).parameters()
    ]


def test_a_convolution_takes_fewer_samples_unless_it_is_said():
    images = dataset_of(np.random.default_rng(0).integers(0, 256, (40, 8, 8)).astype(np.uint8))
    left_open = plan(images, network="convolution")
    assert (left_open.objective, left_open.num_samples, left_open.gradient) == ("iwae", 3, "dreg")
    assert "convolution" in left_open.reasons["num_samples"]
    assert plan(images, network="convolution", num_samples=5).num_samples == 5
    assert plan(images, network="convolution", objective="elbo").num_samples == 1
    assert plan(images).num_samples == 8


def test_series_have_mixtures_and_those_with_steps_that_are_missing_a_model_that_takes_them():
    x = np.random.default_rng(0).normal(size=(30, 12, 2))
    assert plan(dataset_of(x)).recipe == "mixture-of-factor-analysers"
    assert plan(dataset_of(x), steps=5).recipe == plan(dataset_of(np.tile(x, (1, 13, 1)))).recipe == "vae"
    x[3:7, 4:9] = np.nan
    assert plan(dataset_of(x)).recipe == plan(dataset_of(x), steps=5).recipe == "hidden-markov"


CITY = Covariate(name="city", categories=("u", "v"), shares=(0.5, 0.5))


def test_covariates_of_a_table_are_refused_by_what_takes_them() -> None:
    table = dataset_of(pandas.DataFrame({"a": RNG.normal(size=40), "b": RNG.normal(size=40), "c": list("uv") * 20}))
    given = dataclasses.replace(table, schema=dataclasses.replace(table.schema, covariates=(CITY,)))
    with pytest.raises(ValueError, match=r"is of kind table and got covariates \('city'\), which models of cells"):
        plan(given)


def test_clusters_of_narrow_rows_have_a_narrow_net() -> None:
    """500, 500 and 2000 units put all rows of two planted groups in one cluster, after minutes."""
    narrow, wide = plan(dataset_of(REAL), "vade"), plan(dataset_of(RNG.normal(size=(60, 100))), "vade")
    assert tuple(narrow.model["hidden"]) == (64,)
    assert "fewer than 100 numbers" in narrow.reasons["hidden"]
    assert tuple(wide.model["hidden"]) == (500, 500, 2000)
    assert plan(dataset_of(REAL), "vade", hidden=[8]).model["hidden"] == [8]
