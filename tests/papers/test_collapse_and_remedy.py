"""The recipe at toy size, on data that every installation has."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest

from lowerbound.fitted import Fitted

RECIPE = Path(__file__).parents[2] / "papers" / "collapse_and_remedy.py"


def run(monkeypatch, tmp_path, *words):
    out = tmp_path / "result.json"
    options = ["--data", "digits", "--num-rows", "20", "--samples", "10", "--runs", str(tmp_path), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", [str(RECIPE), *options, *words])
    monkeypatch.syspath_prepend(RECIPE.parent)
    runpy.run_path(str(RECIPE), run_name="__main__")
    return json.loads(out.read_text()), out


@pytest.fixture
def quick(monkeypatch):
    """An examination with little of everything that this recipe does not look at."""
    monkeypatch.setattr("lowerbound.diagnosis.case._STEPS", 5)
    monkeypatch.setattr("lowerbound.diagnosis.gradient_noise._MINIBATCHES", 4)
    monkeypatch.setattr("lowerbound.diagnosis.approximation._DISTRIBUTIONS", 3)
    monkeypatch.setattr("lowerbound.cli.diagnose._write", lambda diagnosis, path: path)


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_the_remedy_is_the_command_that_was_proposed(tmp_path, monkeypatch):
    result, out = run(monkeypatch, tmp_path, "--beta", "50", "--steps", "100")
    before, after = result["before"], result["after"]
    assert "posterior collapse" in before["present"]
    (proposed,) = [found["remedy"] for found in before["findings"] if found["name"] == "posterior collapse"]
    assert after["command"] == proposed
    assert "--objective free-bits" in proposed
    one, other = (Fitted.open(tmp_path / f"collapse-{when}").plan for when in ("before", "after"))
    assert (one.objective, other.objective) == ("beta-elbo:beta=50", "free-bits:nats=0.5")
    assert (one.steps, one.model) == (other.steps, other.model)
    assert "posterior collapse" not in after["present"]
    assert result["mutual_information"]["before"]["value"] < 1 < result["mutual_information"]["after"]["value"]
    assert after["active_units"] > before["active_units"]
    assert out.with_suffix(".png").stat().st_size > 1000


def test_a_healthy_model_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(RECIPE.parent)
    recipe = runpy.run_path(str(RECIPE))["main"]
    healthy = {"findings": [{"name": "posterior collapse", "remedy": None, "sentence": "The latents hold 3 nats."}]}
    examined = []
    monkeypatch.setitem(recipe.__globals__, "fit_and_examine", lambda *words: examined.append(words) or healthy)
    monkeypatch.setattr(sys, "argv", [str(RECIPE), "--runs", str(tmp_path)])
    with pytest.raises(SystemExit, match="Nothing to cure: The latents hold 3 nats"):
        recipe()
    assert len(examined) == 1
