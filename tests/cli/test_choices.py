"""`lowerbound choices AXIS NAME`: what a choice is, takes, needs and cites, as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest


def told(cli: Callable[..., Any], *words: str) -> dict[str, Any]:
    answer = cli("choices", *words, "--json")
    assert answer.code == 0, answer
    return json.loads(answer.out)


def test_a_likelihood_says_its_facts_its_options_and_its_works(cli: Callable[..., Any]) -> None:
    found = told(cli, "likelihood", "normal")
    assert (found["axis"], found["name"]) == ("likelihoods", "normal")
    assert found["options"][0] == {
        "name": "scale",
        "type": "a number or shared, per-dimension or heteroscedastic",
        "default": "shared",
        "needed": False,
    }
    assert found["needs"]["one element of x"] == "reals"
    assert [work["key"] for work in found["cites"]] == ["kingma2014auto", "rybkin2021simple"]


@pytest.mark.parametrize(
    "axis, name, latents, gradient",
    [
        ("prior", "rbm", "bits", False),
        ("prior", "autoregressive-map", "bits", False),
        ("prior", "laplace", "continuous", True),
        ("posterior", "categorical", "one-hot vectors", False),
        ("posterior", "relaxed-categorical", "continuous", True),
    ],
)
def test_latents_are_looked_at(cli: Callable[..., Any], axis: str, name: str, latents: str, gradient: bool) -> None:
    assert told(cli, axis, name)["needs"] == {"latents": latents, "draws carry a gradient": gradient}


@pytest.mark.slow
def test_an_estimator_says_its_fewest_samples_and_its_pairs(cli: Callable[..., Any]) -> None:
    needs = told(cli, "gradient", "disarm")["needs"]
    assert (needs["gradient of q"], needs["fewest samples"]) == ("unbiased", 2)
    pairs = needs["objectives by latents"]
    assert (pairs["normal"], pairs["categorical"]) == ([], [])
    assert "ELBO (unbiased)" in pairs["bernoulli"]
    assert not any(pair.startswith("IWAE") for pair in pairs["bernoulli"])


@pytest.mark.slow
def test_an_objective_says_its_bound_and_its_estimators(cli: Callable[..., Any]) -> None:
    from lowerbound.testing.matrix import KINDS, cells

    needs = told(cli, "objective", "iwae")["needs"]
    assert (needs["bound of log p(x)"], needs["linear in log w"]) == ("lower", False)
    for kind, taken in needs["estimators by latents"].items():
        whole = {
            row.partition(",")[0]
            for (row, of), c in cells(KINDS[kind]).items()
            if of == "IWAE" and c.status != "refused"
        }
        assert {words.partition(" ")[0] for words in taken} == whole


def test_the_same_in_words(cli: Callable[..., Any]) -> None:
    lines = cli("choices", "baseline", "leave-one-out").out.splitlines()
    assert "  fewest samples: 2" in lines
    assert "  fewest samples: 1" in cli("choices", "baseline", "constant").out.splitlines()
    assert lines[-1].startswith("  cites Mnih & Rezende (2016). Variational Inference for Monte Carlo Objectives.")
    assert "  cites Jiang, Zheng" in cli("choices", "recipe", "vade").out


def test_json_needs_a_name(refused: Callable[..., str]) -> None:
    assert "--json is for one choice; give AXIS and NAME" in refused("choices", "prior", "--json")
