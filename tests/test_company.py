"""What goes with a prior or a posterior where the user says nothing of it."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest
from torch import nn

import lowerbound as lb
from lowerbound import priors
from lowerbound.data import load
from lowerbound.fitting.company import company

BITS = (np.random.default_rng(0).random((40, 6)) < 0.4).astype(np.float32)
OF_BITS = {"objective": "elbo", "gradient": "score-function", "num_samples": 4}


@pytest.mark.parametrize(
    "given, expected",
    [
        ({}, {}),
        ({"posterior": "iaf", "prior": "vamp-prior"}, {}),
        ({"posterior": "bernoulli"}, {"prior": "bernoulli", **OF_BITS}),
        ({"prior": "rbm"}, {"posterior": "bernoulli", **OF_BITS}),
        ({"posterior": "bernoulli", "prior": "rbm"}, OF_BITS),
        ({"posterior": "bernoulli", "objective": "iwae"}, {"prior": "bernoulli", **OF_BITS} | {"objective": None}),
        ({"posterior": "relaxed-bernoulli:temperature=0.3"}, {"prior": "relaxed-bernoulli"}),
        ({"posterior": "categorical:categories=5"}, {"prior": "categorical:categories=5", **OF_BITS}),
        ({"prior": "relaxed-categorical:categories=4"}, {"posterior": "relaxed-categorical:categories=4"}),
        ({"posterior": nn.Identity()}, {}),
        ({"prior": "hyperprior"}, {}),  # a word of the recipe rate-distortion
    ],
    ids=str,
)
def test_what_is_not_said_is_found_in_turn(given, expected):
    found = {name: value for name, (value, _) in company(given).items()}
    assert found == {name: value for name, value in expected.items() if value is not None}


def test_the_plan_says_what_goes_with_what():
    plan = lb.plan(load("digits"), "vae", prior="rbm:sweeps=3")
    assert (plan.model["posterior"], plan.gradient, plan.num_samples) == ("bernoulli", "score-function", 4)
    assert plan.reasons["posterior"] == "goes with the prior rbm"
    assert plan.reasons["gradient"] == "goes with the posterior bernoulli"


def test_what_a_recipe_states_stays():
    plan = lb.plan(load("digits"), "aae", posterior="implicit")
    assert plan.gradient == lb.plan(load("digits"), "aae").gradient != "density-ratio"


def test_a_part_that_is_brought_has_z_of_the_same_shape():
    small: dict[str, Any] = {"latent_dim": 2, "hidden": [4], "steps": 1, "compile": False}
    fitted = lb.fit(BITS, "vae", posterior="categorical:categories=3", **small)
    assert fitted.model.prior(None).event_shape == (2, 3)


def test_codes_are_left_to_the_recipes_that_have_nets_for_them():
    for words, recipe in {
        "finite-scalar:levels=[3,3]": "fsq",
        "lookup-free": "fsq",
        "residual-quantized": "vq",
    }.items():
        with pytest.raises(ValueError, match=f"{words.partition(':')[0]} gives codes, .* take the recipe {recipe}, "):
            company({"posterior": words})
    assert company({"posterior": "finite-scalar", "prior": "categorical:categories=240"}) == {}


def test_a_gradient_that_is_named_has_its_own_number_of_samples():
    plan = lb.plan(load("digits"), "vae", posterior="bernoulli", gradient="disarm")
    assert (plan.model["prior"], plan.num_samples) == ("bernoulli", 2)


def test_a_part_of_ones_own_brings_any_setting():
    class Regular(priors.StandardNormal):
        goes_with: ClassVar[dict[str, Any]] = {"penalty": "mmd", "optimizer": "sgd"}

    plan = lb.plan(load("digits"), "vae", prior=Regular(3), latent_dim=3, optimizer="adamw")
    assert (plan.penalty, plan.optimizer) == ("mmd", "adamw")
    assert plan.reasons["penalty"] == "goes with the prior Regular"
