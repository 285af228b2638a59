"""What `--precision auto` becomes, and that the plan says so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lowerbound.data.given import dataset_of
from lowerbound.data.overrides import Overrides
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


WORDS = [" ".join(f"w{k + j}" for j in range(20)) for k in range(0, 5000, 20)] * 2


def of_text(**given: Any) -> Any:
    data = dataset_of(WORDS, overrides=Overrides.said(given.pop("kind", "text:vocabulary=4094")), hold_out=False)
    return plan(data, given.pop("recipe", "sentence-vae"), **{"device": "cpu", "steps": 10, **given})


@pytest.mark.usefixtures("_multiplies")
@pytest.mark.parametrize("given", [{}, {"recipe": "language-model"}, {"precision": "auto"}], ids=str)
def test_lstms_of_text_with_many_symbols_are_bf16_with_the_reason(given: dict[str, Any]) -> None:
    found = of_text(**given)
    assert found.precision == "bf16"
    expected = "this processor multiplies in bfloat16, and the scores of 4,096 symbols are most of a step"
    assert found.reasons["precision"] == expected


@pytest.mark.usefixtures("_multiplies")
@pytest.mark.parametrize(
    "given",
    [
        {"precision": "fp32"},
        {"kind": "text:vocabulary=4093"},
        {"width": 64},
        {"embedding_dim": 64},
        {"decoder": "convolution"},
        {"encoder": "bag-of-words"},
        {"softmax": "adaptive"},
        {"context_at": "first-state"},
        {"objective": "iwae"},
        {"objective": "free-bits:nats=4,per=group"},
        {"objective": "beta-elbo:beta=0.5,rate=kl"},
        {"loss": "aggressive", "objective": "elbo"},
    ],
    ids=str,
)
def test_text_that_was_not_compared_is_fp32(given: dict[str, Any]) -> None:
    assert of_text(**given).precision == "fp32"
