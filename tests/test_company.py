"""What goes with a prior or a posterior where the user says nothing of it."""

from __future__ import annotations

import pytest
from torch import nn

import lowerbound as lb
from lowerbound.data import load
from lowerbound.fitting.company import company

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
