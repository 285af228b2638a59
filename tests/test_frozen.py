"""Run folders as earlier versions wrote them open, and give the numbers that they gave."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from lowerbound.data.errors import DataError
from lowerbound.runs import Run

FROZEN = Path(__file__).parent / "frozen"
FORMAT_1 = ("digits", "table", "by-class")
FORMAT_2 = ("images", "frame", "counts")


@pytest.fixture
def thawed(tmp_path: Path):
    """A copy of the frozen folders of a format, with the paths of its data where they now are."""

    def copy(number: int) -> Path:
        folder = Path(shutil.copytree(FROZEN / f"format-{number}", tmp_path / "runs"))
        for file in folder.glob("*/run.json"):
            file.write_text(file.read_text().replace("FOLDER", str(folder)))
        return folder

    return copy


EXACT = 2e-4
"""Nats: columns are standardised in float64 now, and were in float32."""

DRAWN = {"elbo": (-1, 0.08), "distortion": (1, 0.08), "rate": (0, 0.08), "log_evidence": (-1, 0.02)}
"""The sign of Σ log scale, and nats: four standard errors of a difference. `evaluate` draws from streams of its own,
so that the same seed gives other draws than it gave then."""


@pytest.mark.parametrize("name", FORMAT_1)
def test_a_run_of_format_1_gives_the_scores_that_it_gave(thawed, name: str) -> None:
    """Scores of standardised columns moved by Σ log scale, on purpose."""
    run = Run.open(thawed(1) / name)
    then, fitted = run.evaluation(), run.fitted()
    assert then is not None
    scale = fitted.log_scale
    assert (scale == 0) == (name == "digits")
    now = fitted.evaluate(num_samples=then["num_samples"])
    for score, (sign, tolerance) in DRAWN.items():
        assert now[score] == pytest.approx(then[score] + sign * scale, abs=tolerance), score
    for score in ("elbo_standard_error", "log_evidence_standard_error"):
        assert now[score] == pytest.approx(then[score], rel=0.05), score
    for count in ("num_data", "num_samples", "num_dimensions", "latent_dim", "active_units"):
        assert now[count] == then[count], count
    np.testing.assert_allclose(now["kl_per_dimension"], then["kl_per_dimension"], atol=EXACT)
    former = {"Gaussian": "gaussian", "Gaussian mixture": "gaussian mixture", "Bernoulli mixture": "bernoulli mixture"}
    for before, baseline in then["baselines"].items():
        found = now["baselines"][former.get(before, "independent elements")]
        assert found["log_likelihood"] == pytest.approx(baseline["log_likelihood"] - scale, abs=EXACT), before


@pytest.mark.parametrize("name", FORMAT_1)
def test_a_run_of_format_1_encodes_samples_and_reports(thawed, name: str) -> None:
    folder = thawed(1)
    run = Run.open(folder / name)
    fitted = run.fitted()
    encoded = fitted.encode(fitted.test_rows())
    assert encoded.mean.shape == ((360, 2) if name == "digits" else (12, 2))
    drawn = fitted.sample(6)
    if name == "digits":
        assert drawn.shape == (6, 8, 8)
    else:
        assert list(drawn.columns) == ["height", "weight", "width"]
        one = fitted.score(folder / "table.csv", num_samples=3)
        assert one.shape == (60,)
    if name == "by-class":
        assert fitted.schema.classes == ("ant", "cat", "dog")
        assert fitted.draw(2, label="cat")[2].tolist() == [1, 1]  # type: ignore[union-attr]
    assert fitted.report(run.path / "report.html").stat().st_size > 1000


def test_a_run_of_format_1_whose_data_are_gone_still_samples_and_scores_arrays(thawed) -> None:
    folder = thawed(1)
    (folder / "table.csv").unlink()
    fitted = Run.open(folder / "table").fitted()
    drawn = fitted.sample(5)
    assert drawn.shape == (5, 3)
    assert fitted.score(drawn, num_samples=3).shape == (5,)
    with pytest.raises(DataError, match="no file"):
        _ = fitted.dataset


@pytest.mark.parametrize("name", FORMAT_2)
def test_a_run_of_format_2_gives_the_scores_that_it_gave(thawed, name: str) -> None:
    run = Run.open(thawed(2) / name)
    then, fitted = run.evaluation(), run.fitted()
    assert then is not None
    now = fitted.evaluate(num_samples=then["num_samples"])
    assert set(now) == set(then)
    for score in ("elbo", "log_evidence", "rate", "distortion", "log_scale"):
        assert now[score] == pytest.approx(then[score], abs=1e-4), score
    for before, baseline in then["baselines"].items():
        assert now["baselines"][before]["log_likelihood"] == pytest.approx(baseline["log_likelihood"], abs=1e-3)
    assert len(fitted.sample(3)) == 3
    assert fitted.encode(fitted.test_rows()).mean.shape[1] == 2
    if name != "images":
        assert list(fitted.sample(3).columns) == list(fitted.schema.column_names or ())


@pytest.mark.parametrize("number", [1, 2])
def test_a_frozen_folder_says_its_format_and_no_place(number: int) -> None:
    for file in (FROZEN / f"format-{number}").glob("*/run.json"):
        content = json.loads(file.read_text())
        assert content["format"] == number
        assert content["data"].get("path", "FOLDER").startswith("FOLDER")
