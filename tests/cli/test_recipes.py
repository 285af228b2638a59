"""`lowerbound fit --recipe NAME`: every named model from its options to its files, and what labels do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from some_molecules import SMILES

from lowerbound.cli import main
from lowerbound.data import load
from lowerbound.models.recipe import Recipe
from lowerbound.recipes import recipes
from lowerbound.runs import Run

SMALL = {
    "vae": "vae:latent_dim=2,hidden=[8]",
    "factor-analysis": "factor-analysis:latent_dim=2",
    "probabilistic-pca": "probabilistic-pca:latent_dim=2",
    "linear-ica": "linear-ica:latent_dim=2,hidden=[8]",
    "mixture-of-factor-analysers": "mixture-of-factor-analysers:latent_dim=2,components=2",
    "latent-classes": "latent-classes:components=2",
    "linear-path": "linear-path:latent_dim=2,hidden=[8]",
    "counts": "counts:latent_dim=2,hidden=[8]",
    "cells": "cells:latent_dim=2,hidden=[8]",
    "labelled-cells": "labelled-cells:latent_dim=2,hidden=[8]",
    "multimodal": "multimodal:latent_dim=2,hidden=[8],blocks=a=0-3;b=4-8",
    "cvae": "cvae:latent_dim=2,hidden=[8]",
    "vade": "vade:latent_dim=2,hidden=[8],clusters=3",
    "semi-supervised": "semi-supervised:latent_dim=2,hidden=[8]",
    "deep-latent-gaussian": "deep-latent-gaussian:latent_dims=[3,2],hidden=[[8],[8]]",
    "ladder": "ladder:latent_dims=[3,2],hidden=[[8],[8]]",
    "binary-layers": "binary-layers:latent_dims=[3,2]",
    "concrete-layers": "concrete-layers:latent_dims=[3,2]",
    "biva": "biva:levels=[2,1],latent_channels=2,width=8,hidden=4",
    "very-deep": "very-deep:groups=[2,1],latent_channels=2,width=8,hidden=4",
    "draw": "draw:glimpses=2,latent_dim=2,width=8,read=3,write=3",
    "pixel-vae": "pixel-vae:latent_dim=2,hidden=[8],channels=4,layers=2",
    "dvae": "dvae:latent_dim=4,hidden=[8]",
    "avb": "avb:latent_dim=2,hidden=[8],noise_dim=2",
    "aae": "aae:latent_dim=2,hidden=[8]",
    "vae-gan": "vae-gan:latent_dim=2,hidden=[8]",
    "fsq": "fsq:levels=[3,2],hidden=[8],prior_channels=4,prior_layers=1,prior_epochs=1",
    "vq": "vq:num_codes=8,features=2,hidden=[8],prior_channels=4,prior_layers=1,prior_epochs=3",
    "two-stage": "two-stage:latent_dim=2,hidden=[8],prior_epochs=3",
    "rate-distortion": "rate-distortion:code_channels=2,hidden=[4]",
    "rate-distortion-video": "rate-distortion-video:code_channels=2,hidden=[4],prior_channels=[4]",
    "skip-vae": "skip-vae:latent_dim=2,hidden=[8]",
    "sentence-vae": "sentence-vae:latent_dim=2,embedding_dim=4,width=8",
    "language-model": "language-model:embedding_dim=4,width=8",
    "molecule-vae": "molecule-vae:latent_dim=2,embedding_dim=4,width=8",
    "autoregressive-rows": "autoregressive-rows:latent_dim=2,hidden=[8],recurrent_dim=8",
    "state-space": "state-space:latent_dim=2,hidden=[8],recurrent_dim=8",
    "hidden-markov": "hidden-markov:states=2",
    "lda": "lda:topics=2,passes=2",
    "prodlda": "prodlda:topics=2,hidden=[8]",
}


TEXTS = ("sentence-vae", "language-model")
WITHOUT_DENSITY = ("avb", "aae")
MIXTURE = "mixture-of-factor-analysers"
TABLES = {
    **dict.fromkeys(("counts", "cells", "lda", "prodlda"), "counts"),
    "labelled-cells": "labelled",
    **dict.fromkeys(("latent-classes", "linear-path", "mixture-of-factor-analysers", "multimodal"), "reals"),
}


@pytest.fixture(scope="module")
def small_digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first digits, as an archive with labels."""
    digits = load("digits")
    path = tmp_path_factory.mktemp("data") / "few.npz"
    np.savez(
        path,
        x_train=digits.x_train[:100],
        y_train=digits.y_train[:100],
        x_test=digits.x_test[:20],
        y_test=digits.y_test[:20],
    )
    return path


@pytest.fixture(scope="module")
def data_for(tmp_path_factory: pytest.TempPathFactory, small_digits: Path) -> Callable[[str], Path]:
    """What a recipe is fitted to: the digits, counts, columns of reals, clips, texts or molecules."""
    folder, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    counts, reals = rng.poisson(2, size=(120, 9)), rng.normal(size=(120, 9))
    for name, x in (("counts", counts), ("reals", reals)):
        np.savez(folder / f"{name}.npz", x_train=x[:100], x_test=x[100:])
    y = rng.integers(0, 2, 120)
    np.savez(folder / "labelled.npz", x_train=counts[:100], x_test=counts[100:], y_train=y[:100], y_test=y[100:])
    texts = [" ".join(rng.choice(["the", "a", "cat", "dog", "ran"], 3)) for _ in range(100)]
    (folder / "texts.txt").write_text("\n".join(texts))
    (folder / "molecules.smi").write_text("\n".join(SMILES * 5))
    files = {name: folder / f"{data}.npz" for name, data in TABLES.items()} | dict.fromkeys(TEXTS, folder / "texts.txt")
    np.save(folder / "clips.npy", rng.random((100, 3, 1, 8, 8)).astype(np.float32))
    files["rate-distortion-video"] = folder / "clips.npy"
    files["molecule-vae"] = folder / "molecules.smi"
    return lambda name: files.get(name, small_digits)


def test_every_recipe_has_a_small_form() -> None:
    assert set(SMALL) == set(recipes())


@pytest.mark.parametrize("name", sorted(SMALL))
def test_a_recipe_fits_waiting_for_no_device_reopens_scores_samples_and_encodes(
    cli, refused, tmp_path, data_for, waits, name
):
    words = [] if recipes()[name].defaults.get("steps") == 0 else ["--steps", 3]
    run = tmp_path / "run"
    words += ["--out", run, "--no-evaluate", "--device", "cpu"]
    answer = cli("fit", data_for(name), "--recipe", SMALL[name], *words)
    assert answer.code == 0, answer.err
    assert not waits
    assert Run.open(run).plan.recipe == name
    by = ["--annealed", 3] if name in WITHOUT_DENSITY else []
    answer = cli("evaluate", run, "--num-samples", 5, "--json", *by)
    assert answer.code == 0, answer.err
    scores = json.loads(answer.out)
    if name in WITHOUT_DENSITY:
        assert scores["elbo"] is scores["rate"] is None
        assert "evaluate --annealed" in refused("evaluate", run)
    else:
        assert scores["log_evidence"] >= scores["elbo"] - 5 * scores["elbo_standard_error"]
    for command, more in {"sample": ["--count", 7], "encode": [], "reconstruct": ["--count", 7]}.items():
        out = tmp_path / f"{command}.npz"
        answer = cli(command, run, "--out", out, *more)
        assert answer.code == 0, answer.err
    with np.load(tmp_path / "sample.npz") as drawn, np.load(tmp_path / "encode.npz") as codes:
        shapes = dict.fromkeys(TABLES, (7, 9)) | dict.fromkeys(TEXTS, (7, 4)) | {"molecule-vae": (7, 28)}
        shapes |= {"rate-distortion-video": (7, 3, 1, 8, 8)}
        assert drawn["x"].shape == shapes.get(name, (7, 8, 8))
        assert codes["mean"].shape[0] == 20
        assert ("assigned" in codes) == recipes()[name].assigns
    learns_labels = name in ("semi-supervised", "labelled-cells")
    assert ("accuracy" in scores, "clustering_accuracy" in scores) == (learns_labels, name == "vade")
    if name in ("cvae", "factor-analysis", "ladder"):  # conditional, without steps, in layers
        answer = cli("report", run)
        assert answer.code == 0, answer.err


def conditional(path: Path, data: Path) -> Path:
    words = ["--recipe", SMALL["cvae"], "--steps", "3", "--no-evaluate", "--device", "cpu", "--out", str(path)]
    assert main(["fit", str(data), *words]) == 0
    return path


def test_a_conditional_run_samples_a_class_and_says_which(cli, refused, tmp_path, small_digits):
    run = conditional(tmp_path / "run", small_digits)
    assert cli("sample", run, "--count", 12, "--out", tmp_path / "all.npz").code == 0
    assert cli("sample", run, "--class", 7, "--count", 3, "--out", tmp_path / "seven.npz").code == 0
    with np.load(tmp_path / "all.npz") as every, np.load(tmp_path / "seven.npz") as seven:
        assert every["label"].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
        assert seven["label"].tolist() == [7, 7, 7]
        model = Run.open(run).fitted().model
        context = torch.eye(10)[torch.tensor([7])]
        assert model.sample(2, context).shape == (2, 1, 8, 8)
    sentence = refused("sample", run, "--class", "eleven", "--out", tmp_path / "no.npz")
    assert sentence.startswith("There is no class 'eleven'")


def test_a_run_without_labels_has_no_class_to_sample(refused, digits_run, tmp_path):
    assert "was fitted without labels" in refused("sample", digits_run, "--class", 3, "--out", tmp_path / "no.npz")


def test_a_conditional_run_needs_labels_that_it_knows(refused, tmp_path, small_digits):
    run = conditional(tmp_path / "run", small_digits)
    with np.load(small_digits) as data:
        x, y = data["x_test"], data["y_test"]
    np.savez(tmp_path / "unlabelled.npz", x=x)
    np.savez(tmp_path / "strange.npz", x=x, y=np.where(y == y[3], 12, y))
    assert "has no labels" in refused("evaluate", run, "--data", tmp_path / "unlabelled.npz")
    assert "hold the class '12' at row" in refused("evaluate", run, "--data", tmp_path / "strange.npz")


def test_labels_are_hidden_in_equal_shares(cli, refused, tmp_path, small_digits):
    words = ["--recipe", SMALL["semi-supervised"], "--steps", 2, "--no-evaluate", "--device", "cpu"]
    assert cli("fit", small_digits, *words, "--labelled", 30, "--out", tmp_path / "some").code == 0
    assert Run.open(tmp_path / "some").plan.labelled == 30
    too_many = refused("fit", small_digits, *words, "--labelled", 500, "--out", tmp_path / "many")
    assert too_many.startswith("500 labels were asked for")
    unused = refused("fit", small_digits, "--labelled", 30, "--out", tmp_path / "vae")
    assert "does not learn from some labels" in unused


def test_an_estimate_has_no_patience_and_leaves_no_folder(refused, small_digits, tmp_path):
    words = ["--recipe", SMALL["avb"], "--steps", 3, "--patience", 2, "--out", tmp_path / "run"]
    assert "leave patience out" in refused("fit", small_digits, *words)
    assert not (tmp_path / "run").exists()


def test_an_option_of_another_recipe_is_refused(refused, small_digits, tmp_path):
    wrong = refused("fit", small_digits, "--recipe", "ladder", "--latent-dim", 3, "--out", tmp_path / "run")
    assert wrong.startswith("The ladder recipe has no option 'latent_dim'; it has latent_dims")
    assert "no option 'width'" in refused("fit", small_digits, "--recipe", "vade:width=3", "--out", tmp_path / "run")
    assert refused("fit", small_digits, "--recipe", "gan", "--out", tmp_path / "run").startswith("There is no recipe")
    assert not (tmp_path / "run").exists()


def test_the_start_is_run_once_and_again_only_without_a_checkpoint(cli, tmp_path, small_digits, monkeypatch):
    calls: list[tuple[int, ...]] = []

    def start(loss: torch.nn.Module, x: torch.Tensor, *, seed: int) -> None:
        calls.append((*x.shape, seed))

    monkeypatch.setitem(recipes(), "started", Recipe(name="started", make=recipes()["vae"].make, start=start))
    words = ["--recipe", "started:latent_dim=2,hidden=[8]", "--steps", 3, "--seed", 5, "--no-evaluate"]
    assert cli("fit", small_digits, *words, "--out", tmp_path / "run").code == 0
    assert calls == [(90, 8, 8, 5)]
    assert cli("fit", "--resume", tmp_path / "run", "--no-evaluate").code == 0
    assert len(calls) == 1


LARGE = ("biva", "draw", "very-deep")
"""By default so large that one step and scores take ten seconds and more."""

DRAWN = ("vae", "mixture-of-factor-analysers", "counts", "ladder", "state-space")
"""One recipe for each set of pictures: drawing takes longer than all the rest."""


@pytest.mark.slow
@pytest.mark.drawn
@pytest.mark.parametrize("name", DRAWN)
def test_pictures_of_recipes_are_drawn(cli, tmp_path, data_for, name):
    words = [] if recipes()[name].defaults.get("steps") == 0 else ["--steps", 1]
    words += ["--blocks", "a=0-3;b=4-8"] if name == "multimodal" else []  # which nobody else can say
    answer = cli("fit", data_for(name), "--recipe", name, *words, "--out", tmp_path / "run", "--device", "cpu")
    assert (answer.code, answer.err) == (0, "")
    page = (tmp_path / "run" / "report.html").read_text()
    assert page.count("<img") == page.count("base64,iVBOR") >= 2


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in LARGE else name for name in sorted(SMALL)]
)
def test_every_recipe_writes_a_report_with_nothing_but_its_defaults(cli, tmp_path, data_for, monkeypatch, name):
    """The report: `fit digits --recipe rows` ended with exit code 2. Only the number of steps is cut here."""
    monkeypatch.setattr("lowerbound.verbs.effort._MOST", 3)
    words = [] if recipes()[name].defaults.get("steps") == 0 else ["--steps", 1]
    words += ["--blocks", "a=0-3;b=4-8"] if name == "multimodal" else []  # which nobody else can say
    answer = cli("fit", data_for(name), "--recipe", name, *words, "--out", tmp_path / "run", "--device", "cpu")
    assert (answer.code, answer.err) == (0, "")
    assert (tmp_path / "run" / "report.html").stat().st_size > 1000
    scores = Run.open(tmp_path / "run").evaluation()
    if name in WITHOUT_DENSITY:
        assert scores is None
        assert "There is no bound to score by" in answer.out
        return
    assert scores is not None
    baseline = {MIXTURE: "gaussian", "sentence-vae": "unigram", "language-model": "unigram", "molecule-vae": "unigram"}
    baseline["cells"] = baseline["labelled-cells"] = "negative binomials given library"
    assert baseline.get(name, "independent elements") in scores["baselines"]
    assert ("Weighed by rows that none of them saw" in answer.out) == (name in ("latent-classes", MIXTURE))
    assert ("below a baseline" in answer.out) == ("try `lowerbound fit" in answer.out or "longer: `low" in answer.out)
    drawn = Run.open(tmp_path / "run").plan.binarization == "dynamic"
    assert (scores["bits_per_dim"] is not None) == (drawn or name in ("counts", "cells", "labelled-cells"))


def test_the_nearest_recipes_are_named(refused, small_digits):
    sentence = refused("fit", small_digits, "--recipe", "latent-clases")
    assert "lists are latent-classes, " in sentence
    assert "`lowerbound choices recipes`" in sentence


def test_molecules_beside_a_covariate_are_advised_as_such(refused, tmp_path):
    lines = ["smiles,logp", *(f"{'C' * n}O,{n / 10}" for n in range(1, 15))]
    (tmp_path / "mols.csv").write_text("\n".join(lines))
    sentence = refused("fit", tmp_path / "mols.csv", "--covariates", "logp", "--out", tmp_path / "run")
    assert sentence.endswith("or say kind 'text' or 'molecules' if its texts are the data.")
