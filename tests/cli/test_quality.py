"""`evaluate --quality`, and the same in Python."""

from __future__ import annotations

import json

import numpy as np

from lowerbound.one_call import fit


def test_a_fit_and_the_command_say_what_is_compared(cli, tmp_path):
    run = tmp_path / "run"
    answer = cli("fit", "digits", "--latent-dim", 2, "--hidden", 8, "--steps", 5, "--out", run, "--no-evaluate")
    assert answer.code == 0, answer.err
    answer = cli("evaluate", run, "--num-samples", 5, "--quality")
    assert answer.code == 0, answer.err
    assert "a classifier of the labels" in " ".join(answer.out.split())
    saved = json.loads((run / "evaluation.json").read_text())["quality"]
    assert saved["num_data"] == saved["num_samples"] == 360
    assert saved["frechet"] > 5 * saved["frechet_of_data"]  # five steps make no digits
    answer = cli("evaluate", run, "--quality", "--data", "digits")
    assert answer.code == 2
    assert "leave out --data" in answer.err
    table = np.random.default_rng(0).normal(size=(60, 3))
    fitted = fit(table, "probabilistic-pca", latent_dim=2)
    assert fitted.sample_quality(num_rows=40)["features"] == "the numbers of a row"
    assert fitted.sample_quality(features=lambda x: x[:, :2])["features"] == "as given"
