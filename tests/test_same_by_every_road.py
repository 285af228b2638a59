"""The same array through the command, the estimator and `lb.fit`: the same plan, weights and scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import torch

import lowerbound as lb
from lowerbound.cli import main
from lowerbound.data.split import num_held_out, split_rows
from lowerbound.runs import Run

RNG = np.random.default_rng(0)
TRAIN, TEST, K, SEED = 50, 10, 4, 3
CASES: dict[str, np.ndarray] = {
    "reals": RNG.normal([5, -3, 1000], [2, 0.1, 30], size=(TRAIN + TEST, 3)),
    "counts": RNG.poisson([3, 0.4, 7, 1], size=(TRAIN + TEST, 4)),
    "bits": RNG.integers(0, 2, size=(TRAIN + TEST, 5)),
    "grey": RNG.integers(0, 256, size=(TRAIN + TEST, 6, 6), dtype=np.uint8),
    "intensities": RNG.random(size=(TRAIN + TEST, 6, 6), dtype=np.float32),
    "colour": RNG.integers(0, 256, size=(TRAIN + TEST, 3, 6, 6), dtype=np.uint8),
}


def _run(tmp_path: Path, data: Path) -> Run:
    words = ["fit", str(data), "--hidden", "8", "--latent-dim", "2", "--epochs", "2", "--seed", str(SEED)]
    assert main([*words, "--device", "cpu", "--no-evaluate", "--out", str(tmp_path / "run")]) == 0
    return Run.open(tmp_path / "run")


def _vae(X: Any, **given: Any) -> lb.VAE:
    vae = lb.VAE(2, hidden=[8], epochs=2, num_evidence_samples=K, random_state=SEED, device="cpu", **given)
    return vae.fit(X)


def _same(run: Run, vae: lb.VAE, test: Any) -> None:
    """`test` as the command takes it; the estimator's own road is compared by the caller."""
    one, other = run.plan.to_json(), vae.plan_.to_json()
    given = [content.pop("given") for content in (one, other)]
    for content in (one, other):
        content["reasons"].pop("recipe", None)  # the estimator is of one recipe, the command chooses and says why
    assert one == other
    assert given[0] == given[1]
    fitted, weights = run.fitted(), vae.model_.state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in fitted.model.state_dict().items())
    assert [r["terms"] for r in run.metrics()] == [record.terms for record in vae.history_]
    for records in (vae.history_, vae.fitted_.records, run.metrics()):
        assert len(lb.plots.training_curves(records).axes) > 2
    assert fitted.log_scale == vae.fitted_.log_scale
    np.testing.assert_array_equal(fitted.score(test, num_samples=K), vae.fitted_.score(test, num_samples=K))


@pytest.mark.parametrize("name", CASES)
def test_an_array(tmp_path: Path, name: str) -> None:
    x = CASES[name]
    np.savez(tmp_path / "x.npz", x_train=x[:TRAIN], x_test=x[TRAIN:])
    flat, image = x.reshape(len(x), -1), x.ndim > 2
    vae = _vae(flat[:TRAIN], event_shape=x.shape[1:] if image else None)
    run = _run(tmp_path, tmp_path / "x.npz")
    _same(run, vae, x[TRAIN:])
    np.testing.assert_array_equal(vae.score_samples(flat[TRAIN:]), run.fitted().score(x[TRAIN:], num_samples=K))
    evaluated = run.fitted().evaluate(num_samples=K)
    assert evaluated["num_data"] == TEST
    np.testing.assert_allclose(vae.transform(flat[TRAIN:]), run.fitted().encode(x[TRAIN:]).mean)


def test_a_mixed_frame(tmp_path: Path) -> None:
    count = TRAIN + TEST
    frame = pandas.DataFrame({
        "species": np.array(["ant", "cat", "dog"], dtype=object)[RNG.integers(0, 3, count)],
        "legs": RNG.poisson(1, count),
        "weight": RNG.normal(50, 7, count).round(2),
    })  # fmt: skip
    frame.loc[::7, "species"] = None
    frame.loc[3::9, "weight"] = np.nan
    frame.to_csv(tmp_path / "x.csv", index=False)
    read = pandas.read_csv(tmp_path / "x.csv")
    train, test = (read.iloc[np.sort(rows)] for rows in split_rows(count, num_held_out(count)))
    _same(_run(tmp_path, tmp_path / "x.csv"), _vae(train), test)


WORDS = [" ".join(RNG.choice(["the", "a", "cat", "dog", "ran"], 3)) for _ in range(60)]
MOLECULES = ["CCO", "CCC", "CCN", "CCCO", "CC(C)O", "c1ccccc1", "CC(=O)O", "CCOC", "CCCC", "OCCO"] * 5
CELLS = pandas.DataFrame(RNG.poisson([3, 0.4, 7, 1], (60, 4)), columns=list("abcd"))
GAPS = np.where(RNG.random((30, 4, 1)) < 0.2, np.nan, RNG.normal(size=(30, 4, 2)))
SMALL_TEXT = "latent_dim=2,embedding_dim=4,width=4"
OTHER_KINDS: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "words.txt": (WORDS, f"sentence-vae:{SMALL_TEXT}", {}),
    "some.smi": (MOLECULES, f"molecule-vae:{SMALL_TEXT}", {"kind": "molecules"}),
    "clips.npy": (
        RNG.random((40, 3, 1, 8, 8), dtype=np.float32),
        "rate-distortion-video:code_channels=2,hidden=[4],prior_channels=[4]",
        {},
    ),
    "cells.csv": (
        CELLS.assign(batch=np.resize(["x", "y"], 60)),
        "cells:latent_dim=2,hidden=[4]",
        {"covariates": ["batch"]},
    ),
    "two.csv": (
        pandas.DataFrame(RNG.normal(size=(60, 5)), columns=["u1", "u2", "v1", "v2", "v3"]),
        "multimodal:latent_dim=2,hidden=[4]",
        {"blocks": "u=u*;v=v*"},
    ),
    "series.npy": (GAPS, "hidden-markov:states=2", {}),
}
"""By the name of a file: what it holds, a recipe, and what else is said."""


def _write(path: Path, data: Any) -> None:
    if isinstance(data, list):
        path.write_text("\n".join(data) + "\n")
    elif isinstance(data, np.ndarray):
        np.save(path, data)
    else:
        data.to_csv(path, index=False)


@pytest.mark.parametrize("name", OTHER_KINDS)
def test_other_kinds_of_data(tmp_path: Path, name: str) -> None:
    data, recipe, said = OTHER_KINDS[name]
    _write(tmp_path / name, data)
    words = [f"--{word}={','.join(value) if isinstance(value, list) else value}" for word, value in said.items()]
    steps = {} if recipe.startswith("hidden-markov") else {"steps": 2}
    words += [f"--steps={value}" for value in steps.values()]
    out = str(tmp_path / "run")
    common = ["--recipe", recipe, "--seed", str(SEED), "--device", "cpu", "--no-evaluate", "--out", out]
    assert main(["fit", str(tmp_path / name), *words, *common]) == 0
    run = Run.open(tmp_path / "run")
    by_command, by_call = run.fitted(), lb.fit(data, recipe, seed=SEED, device="cpu", **steps, **said)
    assert by_call.plan is not None
    assert run.plan.to_json() == by_call.plan.to_json()
    weights = by_call.model.state_dict()
    assert all(torch.equal(tensor, weights[key]) for key, tensor in by_command.model.state_dict().items())
    rows = data[:12] if not isinstance(data, pandas.DataFrame) else data.head(12)
    np.testing.assert_array_equal(by_command.score(rows, num_samples=K), by_call.score(rows, num_samples=K))


def test_the_estimator_of_probabilistic_pca_is_the_recipe_on_standardised_columns() -> None:
    x = CASES["reals"]
    fitted = lb.fit(x, "probabilistic-pca", latent_dim=1, hold_out=False)
    scale = x.std(0)
    by_estimator = lb.sklearn.ProbabilisticPCA(1, correction=0).fit((x - x.mean(0)) / scale)
    in_units = by_estimator.score_samples((x - x.mean(0)) / scale) - np.log(scale).sum()
    np.testing.assert_allclose(fitted.score(x, num_samples=1), in_units, rtol=1e-4)
