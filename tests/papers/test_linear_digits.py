"""The recipe at toy size."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

RECIPE = Path(__file__).parents[2] / "papers" / "linear_digits.py"


@pytest.mark.slow
def test_the_exact_models_agree_with_scikit_learn_and_em_never_falls(tmp_path, monkeypatch):
    out = tmp_path / "result.json"
    options = ["--num-rows", "300", "--latent-dim", "3", "--components", "2", "--iterations", "10"]
    monkeypatch.setattr(sys, "argv", [str(RECIPE), *options, "--out", str(out)])
    runpy.run_path(str(RECIPE), run_name="__main__")
    result = json.loads(out.read_text())
    for row in result["agreement"]:
        for name in ("factor_analysis", "probabilistic_pca"):
            assert row[name] == pytest.approx(row[f"{name}_scikit_learn"], abs=1e-6)
    models = result["models"]
    assert models["factor analysis"]["test"] == pytest.approx(models["scikit-learn FactorAnalysis"]["test"], abs=1e-3)
    for name in ("profile likelihood", "EM", "EM, 20 % missing"):
        assert np.diff(result["curves"][name]).min() > -1e-9
    errors = result["imputation"]
    assert errors["factor analysis"] < errors["column mean"]
    assert out.with_suffix(".png").stat().st_size > 1000
