"""Blocks on the command and in Python: tables and archives in, one modality from another, and what it says of rows."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import lowerbound as lb
from lowerbound.data.column_blocks import numbered_blocks
from lowerbound.data.given import dataset_of
from lowerbound.verbs import cross_generating

BLOCKS = "rna=gene_*;protein=adt_*;kind=group"
SETTINGS = {"steps": 5, "latent_dim": 2, "hidden": [8], "device": "cpu", "compile": False}


@pytest.fixture(scope="module")
def cells() -> pd.DataFrame:
    """Two groups that genes and proteins tell apart; some cells have no proteins, others no group."""
    g = np.random.default_rng(0)
    group = g.integers(2, size=120)
    frame = pd.DataFrame({f"gene_{i}": 3 * group + g.normal(0, 0.3, 120).round(2) for i in range(3)})
    for i in range(2):
        frame[f"adt_{i}"] = g.poisson(np.where(group == 0, 1, 20)).astype(float)
    frame["group"] = np.array(["small", "large"])[group].astype(object)
    frame.loc[::10, ["adt_0", "adt_1"]] = np.nan
    frame.loc[5::10, "group"] = None
    return frame


@pytest.fixture(scope="module")
def run(tmp_path_factory, cells) -> Path:
    from lowerbound.cli import main

    folder = tmp_path_factory.mktemp("blocks")
    cells.to_csv(folder / "cells.csv", index=False)
    words = ["--blocks", BLOCKS, "--steps", "5", "--latent-dim", "2", "--hidden", "8", "--device", "cpu"]
    words += ["--no-compile", "--no-evaluate", "--out", str(folder / "run")]
    assert main(["fit", str(folder / "cells.csv"), *words]) == 0
    return folder / "run"


@pytest.fixture(scope="module")
def trained(cells):
    return lb.fit(cells, blocks=BLOCKS, **{**SETTINGS, "steps": 150, "latent_dim": 1, "lr": 0.03})


def test_both_roads_give_the_same_plan_and_the_same_scores(run, cells):
    opened, fitted = lb.Fitted.open(run), lb.fit(cells, blocks=BLOCKS, **SETTINGS)
    assert fitted.plan.recipe == "multimodal"
    assert opened.plan.model == fitted.plan.model
    assert fitted.plan.model["blocks"] == "rna=0-2;protein=3-4;kind=5"
    assert fitted.plan.gradient == "stratified"
    assert "mixture" in fitted.plan.reasons["gradient"]
    np.testing.assert_array_equal(opened.score(cells, num_samples=5), fitted.score(cells, num_samples=5))
    product = lb.fit(cells, blocks=BLOCKS, experts="product", **SETTINGS)
    assert (product.plan.loss, product.plan.objective) == ("subsets", "elbo:rate=kl")


def test_verbs(cli, refused, run, tmp_path):
    out = tmp_path / "out.csv"
    answer = cli("cross-generate", run, "--data", run.parent / "cells.csv", "--given", "protein", "--out", out)
    assert answer.code == 0, answer.err
    assert "Left out 12 rows of cells.csv that lack protein." in answer.err
    made = pd.read_csv(out)
    assert list(made.columns) == ["row", "gene_0", "gene_1", "gene_2", "group"]
    assert len(made) == 108
    assert 10 not in set(made["row"])
    assert set(made["group"]) <= {"small", "large"}
    assert "--force" in refused("cross-generate", run, "--given", "rna", "--out", out)
    answer = cli("cross-generate", run, "--given", "rna,protein", "--draw", "--out", tmp_path / "x.parquet")
    assert answer.code == 0, answer.err
    answer = cli("score", run, "--given", "rna", "--num-samples", 5, "--out", out, "--force")
    assert answer.code == 0, answer.err
    scores = pd.read_csv(out)
    np.testing.assert_allclose(scores["log_p"] - scores["log_p_given"], scores["log_p_others_given"])
    answer = cli("coherence", run, "--of", "group", "--num-draws", 50)
    assert answer.code == 0, answer.err
    assert "all (joint)" in answer.out
    assert "has rna, protein, kind" in refused("cross-generate", run, "--given", "dna", "--out", tmp_path / "y.csv")
    assert "leave one" in refused("score", run, "--given", "rna,protein,kind", "--out", tmp_path / "y.csv")
    assert "must be a column of classes" in refused("coherence", run, "--of", "adt_0")
    few = ["--data", run.parent / "cells.csv", "--given", "protein", "--num-samples", 10**20]  # that twelve rows lack
    assert "takes at most" in refused("cross-generate", run, *few, "--out", tmp_path / "y.csv")
    assert "takes at most" in refused("score", run, *few, "--out", tmp_path / "y.csv")
    assert "at most 10,000,000" in refused("coherence", run, "--of", "group", "--num-draws", 10**8)


def test_the_share_of_agreeing_draws_does_not_depend_on_how_many_are_drawn_at_once(run, monkeypatch):
    trained = lb.Fitted.open(run)
    whole = trained.coherence("group", num_draws=300).joint
    monkeypatch.setattr(cross_generating, "_MOST_AT_ONCE", 70)
    parts = trained.coherence("group", num_draws=300).joint
    assert abs(parts - whole) < 5 * (0.5 / 300**0.5)
    assert round(parts * 300, 6).is_integer()


@pytest.mark.slow
def test_encoders_and_decoders_of_blocks_are_exported(cli, run, tmp_path):
    answer = cli("export", run, "--out", tmp_path / "out")
    assert answer.code == 0, answer.err
    decoder = torch.export.load(io.BytesIO((tmp_path / "out" / "decoder.pt2").read_bytes())).module()
    assert decoder(torch.zeros(3, 2)).shape == (3, 6)


def test_one_modality_follows_from_another(trained, cells):
    """Groups are 3 apart in every gene with noise 0.3, so that each tells the others."""
    rows = cells.dropna()
    large = (rows["group"] == "large").to_numpy()
    made = trained.cross_generate(rows, "protein")
    assert list(made.columns) == ["gene_0", "gene_1", "gene_2", "group"]
    assert ((made["group"] == "large").to_numpy() == large).mean() > 0.95
    assert np.abs(made["gene_0"].to_numpy() - 3 * large).mean() < 0.6
    shuffled = rows.assign(group=rows["group"].to_numpy()[::-1], gene_0=0.0)
    again = trained.cross_generate(shuffled, "protein")  # what is to be generated is not looked at
    pd.testing.assert_frame_equal(again.reset_index(drop=True), made.reset_index(drop=True))
    drawn = trained.cross_generate(rows, ["protein"], draw=True)
    assert ((drawn["group"] == "large").to_numpy() == large).mean() > 0.9
    scores = trained.block_scores(rows, "protein", num_samples=200)
    apart = trained.block_scores(rows.assign(group=np.where(large, "small", "large")), "protein", num_samples=200)
    assert (scores["log_p_others_given"] - apart["log_p_others_given"]).mean() > 2
    np.testing.assert_allclose(scores["log_p_given"], apart["log_p_given"])
    without = rows.assign(**{f"gene_{i}": np.nan for i in range(3)}, group=None)
    alone = trained.score(without, num_samples=1000)
    assert abs(alone.mean() - trained.block_scores(rows, "protein")["log_p_given"].mean()) < 0.2
    assert np.isnan(trained.block_scores(without, "protein", num_samples=5)["log_p_others_given"]).all()


@pytest.mark.slow
def test_coherence_counts_the_rows_in_which_classes_agree(trained):
    found = trained.coherence("group", num_draws=200)
    assert set(found.given) == {"rna", "protein", "kind"}
    assert found.accuracy["kind"] == 1
    assert min(found.accuracy.values()) > 0.9
    assert min(share for others in found.given.values() for share in others.values()) > 0.75
    with torch.no_grad():  # a decoder of the group that says the opposite
        trained.model.likelihood.parts[2].net.layers[-1].weight.mul_(-1)
        trained.model.likelihood.parts[2].net.layers[-1].bias.mul_(-1)
    broken = trained.coherence("group", num_draws=200)
    assert broken.given["rna"]["kind"] < 0.25
    assert broken.given["rna"]["protein"] == found.given["rna"]["protein"]


def test_arrays_of_an_archive_are_blocks(cli, refused, tmp_path):
    g = np.random.default_rng(0)
    image, label = (g.random((40, 2, 3)) < 0.5).astype(np.uint8), g.choice(["a", "b"], 40)
    np.savez(tmp_path / "pairs.npz", image=image, label=label)
    dataset = dataset_of(tmp_path / "pairs.npz", array="image,label")
    assert dataset.schema.column_names == (*(f"image_{i}" for i in range(6)), "label")
    assert numbered_blocks(dataset, None) == "image=0-5;label=6"
    words = ["--array", "image,label", "--recipe", "multimodal:latent_dim=2,hidden=[4]", "--steps", 2]
    answer = cli("fit", tmp_path / "pairs.npz", *words, "--device", "cpu", "--no-evaluate", "--out", tmp_path / "run")
    assert answer.code == 0, answer.err
    assert "image=bernoulli;label=mixed:columns=categorical-2" in answer.out
    assert cli("score", tmp_path / "run", "--data", tmp_path / "pairs.npz", "--out", tmp_path / "s.csv").code == 0
    np.savez(tmp_path / "bad.npz", image=image, label=label[:-1])
    said = refused("fit", tmp_path / "bad.npz", *words)
    assert "'label' of bad.npz has 39 rows and 'image' has 40" in said
    assert "has no 'lab'" in refused("fit", tmp_path / "pairs.npz", "--array", "image,lab", "--recipe", "multimodal")


@pytest.mark.parametrize(
    "blocks, message",
    [
        ("rna=gene_*;protein=adt_*", "Column 'group' is in no block"),
        ("rna=gene_*;protein=adt_*;kind=group,gene_0", "is in the blocks 'rna' and 'kind'"),
        ("rna=gene_*;protein=prot_*;kind=group", "names 'prot_*', which fits no column"),
        ("rna=gene_*;rna=adt_*", "names 'rna' twice"),
        ("rna", "write each as NAME=WORDS"),
    ],
)
def test_bad_blocks_are_refused_in_a_sentence(refused, run, blocks, message):
    assert message in refused("fit", run.parent / "cells.csv", "--blocks", blocks)


def test_a_row_without_any_block_and_other_data_are_refused(refused, run, cells, tmp_path):
    empty = cells.astype(object).copy()
    empty.iloc[7] = None
    empty.to_csv(tmp_path / "empty.csv", index=False)
    said = refused("fit", tmp_path / "empty.csv", "--blocks", BLOCKS)
    assert "ow 7 of empty.csv lacks every block (rna, protein, kind)" in said
    assert "blocks are columns of a table" in refused("fit", "digits", "--blocks", "a=0-31;b=32-63")
    assert "no blocks were said" in refused("fit", run.parent / "cells.csv", "--recipe", "multimodal")
    frame = cells.assign(adt_0=np.nan).dropna(subset=["adt_1"])[["adt_0", "adt_1", "gene_0"]]
    frame["adt_0"] = (frame["gene_0"] > 1).astype(int)
    plain = lb.fit(frame, recipe="vae", **SETTINGS)
    with pytest.raises(ValueError, match="has no blocks, which the recipe multimodal fits"):
        plain.cross_generate(frame, "adt_0")
