"""What `--precision auto` becomes, and that the plan says so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lowerbound.data.given import dataset_of
from lowerbound.fitting import low_precision
from lowerbound.fitting.planning import plan

PICTURES = np.random.default_rng(0).integers(0, 2, (40, 16, 16)).astype(np.float32)


@pytest.fixture
def _multiplies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(low_precision, "multiplies_bf16", lambda: True)


def planned(pictures: np.ndarray = PICTURES, recipe: str = "vae", **given: Any) -> Any:
    return plan(dataset_of(pictures), recipe, **{"device": "cpu", "steps": 10, "objective": "elbo", **given})


@pytest.mark.usefixtures("_multiplies")
@pytest.mark.parametrize("given", [{}, {"precision": "auto"}, {"hidden": [512]}], ids=str)
def test_wide_perceptrons_of_pixels_are_bf16_with_the_reason(given: dict[str, Any]) -> None:
    found = planned(**given)
    assert found.precision == "bf16"
    assert found.reasons["precision"] == "this processor multiplies in bfloat16, and the layers are 256 wide or more"
    assert "precision" not in found.given


@pytest.mark.usefixtures("_multiplies")
@pytest.mark.parametrize(
    "given",
    [
        {"precision": "fp32"},
        {"hidden": [255]},
        {"hidden": [256, 64]},
        {"hidden": []},
        {"pictures": PICTURES[:, :15]},
        {"likelihood": "normal"},
        {"posterior": "full-normal"},
        {"prior": "vamp-prior"},
        {"objective": "iwae"},
        {"gradient": "score-function"},
        {"network": "convolution"},
        {"recipe": "ladder"},
    ],
    ids=str,
)
def test_what_was_not_compared_is_fp32(given: dict[str, Any]) -> None:
    found = planned(**given)
    assert found.precision == "fp32"
    assert "precision" not in found.reasons


def test_other_processors_compute_in_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(low_precision, "multiplies_bf16", lambda: False)
    assert planned().precision == "fp32"
