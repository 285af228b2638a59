"""Cells with covariates on the command and in Python: one plan, one model, the same scores, by every verb."""

import json
import shutil

import numpy as np
import pandas
import pytest
import torch
from some_cells import planted_cells, write_h5ad

import lowerbound as lb

pytest.importorskip("h5py")


@pytest.fixture(scope="module")
def cells():
    return planted_cells(80)[0]


@pytest.fixture(scope="module")
def run(tmp_path_factory, cells):
    """A finished run on the file of these cells, which the tests do not change."""
    from lowerbound.cli import main

    folder = tmp_path_factory.mktemp("cells")
    path = write_h5ad(folder / "x.h5ad", cells)
    words = ["--recipe", "cells", "--covariates", "batch,age", "--label", "type", "--steps", 5, "--latent-dim", 2]
    words += ["--hidden", 8, "--seed", 3, "--device", "cpu", "--no-evaluate", "--out", folder / "run"]
    assert main(["fit", str(path), *map(str, words)]) == 0
    return folder / "run"


def test_both_roads_give_the_same_run(run, cells):
    opened = lb.Fitted.open(run)
    settings = {"steps": 5, "latent_dim": 2, "hidden": [8], "seed": 3, "device": "cpu"}
    fitted = lb.fit(cells, "cells", y="type", covariates=["batch", "age"], **settings)
    assert {**opened.plan.to_json(), "given": None} == {**fitted.plan.to_json(), "given": None}
    assert opened.plan.model["covariate_sizes"] == [2, 1]
    assert opened.plan.reasons["covariate_sizes"] == "batch (2 categories), age (numbers)"
    scores = fitted.score(cells, num_samples=5)
    np.testing.assert_array_equal(opened.score(cells, num_samples=5), scores)
    np.testing.assert_array_equal(opened.score(run.parent / "x.h5ad", num_samples=5), scores)
    assert opened.dataset.checksum == fitted.dataset.checksum
    assert fitted.evaluate(num_samples=5)["baselines"].keys() == {"negative binomials given library"}
    assert lb.fit(cells, covariates=["batch"], steps=1, hidden=[4], device="cpu").plan.recipe == "cells"


def test_verbs(cli, run, cells, tmp_path):
    file, out = run.parent / "x.h5ad", tmp_path / "out.csv"
    assert cli("encode", run, "--data", file, "--out", out).code == 0
    found = pandas.read_csv(out)
    np.testing.assert_allclose(found[["mean_0", "mean_1"]], lb.Fitted.open(run).encode(cells).mean, rtol=1e-5)
    for words in (["score"], ["reconstruct", "--count", 5]):
        assert cli(*words, run, "--data", file, "--out", out, "--force").code == 0
    assert cli("sample", run, "--given", "batch=b", "--count", 4, "--out", out, "--force").code == 0
    drawn = pandas.read_csv(out)
    assert list(drawn.columns) == list(cells.var_names)
    assert all(dtype.kind == "i" for dtype in drawn.dtypes)
    told = cli("evaluate", run, "--num-samples", 5, "--data", file).out
    assert "Integration of 80 cells, 16 neighbours of each" in told
    assert "Batches should be mixed, and types apart" in told
    assert cli("evaluate", run, "--num-samples", 5, "--data", file, "--limit", 19).code == 0
    assert cli("report", run).code == 0
    assert "batch (2 categories), age (numbers)" in (run / "report.html").read_text()


def test_scores_of_integration_are_those_of_latents_and_components(run, cells):
    opened = lb.Fitted.open(run)
    found = opened.evaluate(cells, num_samples=2)["integration"]
    z = torch.from_numpy(opened.encode(cells).mean)
    y = np.log1p(10_000 * cells.X / cells.X.sum(1, keepdims=True))
    left, sizes, _ = np.linalg.svd(y - y.mean(0), full_matrices=False)
    for space, points in (("latents", z), ("principal components", torch.from_numpy((left * sizes)[:, :2]))):
        for role, column in (("batch", "batch"), ("type", "type")):
            own = np.unique(cells.obs[column], return_inverse=True)[1]
            assert found[space][role]["column"] == column
            mixing = lb.evaluate.neighbour_mixing(points, own, num_neighbours=16)
            assert found[space][role]["mixing"] == pytest.approx(mixing.value, abs=0.02)
            silhouette = lb.evaluate.mean_silhouette(points, own)
            assert found[space][role]["silhouette"] == pytest.approx(silhouette.value, abs=1e-3)
    assert {"normalized_mutual_information", "adjusted_rand_index"} < found["latents"]["type"].keys()


def test_refusals(refused, run, tmp_path):
    file = run.parent / "x.h5ad"
    out = ["--out", tmp_path / "out.csv"]
    assert "holds 'z', which the fit has not seen" in refused(
        "encode", run, "--data", file, "--covariates", "batch=z", *out
    )
    assert "expected COLUMN=VALUE" in refused("score", run, "--data", file, "--covariates", "batch", *out)
    assert "--covariates goes with --data" in refused("score", run, "--covariates", "batch=a", *out)
    assert "obs of x.h5ad has no 'donor'" in refused("fit", file, "--covariates", "donor", "--out", tmp_path / "r")
    words = ["--covariates", "batch", "--recipe", "counts", "--out", tmp_path / "r"]
    assert "The counts recipe is given no covariates and got 'batch'" in refused("fit", file, *words)
    assert "The list of covariates has no 'donor'" in refused("sample", run, "--given", "donor=b", *out)
    assert "given the covariates or sizes of rows" in refused("compress", run, file, "--out", tmp_path / "x.lb")


@pytest.mark.slow
def test_cells_are_examined_given_their_batch_and_library(cli, brief_diagnosis, run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "run")
    answer = cli("diagnose", copy, "--num-rows", 10, "--json")
    assert (answer.code, answer.err) == (0, "")
    found = {finding["name"]: finding for finding in json.loads(answer.out)["findings"]}
    assert not [name for name, finding in found.items() if "Not examined" in finding["sentence"]]
    assert sum(finding["present"] is not None for finding in found.values()) >= 8
    collapsed = found["posterior collapse"]
    assert "--covariates batch,age" in collapsed["remedy"]


def test_gradients_of_cells(cli, run, tmp_path):
    answer = cli("gradients", run, "--num-repeats", 4, "--json", "--out", tmp_path / "x.png")
    assert (answer.code, answer.err) == (0, "")
    assert "pathwise" in json.loads(answer.out)["estimators"]


def test_expression_and_differences_by_the_command(cli, refused, run, cells, tmp_path):
    file, out, opened = run.parent / "x.h5ad", tmp_path / "out.csv", lb.Fitted.open(run)
    assert cli("expression", run, "--data", file, "--given", "batch=a", "--num-samples", 3, "--out", out).code == 0
    found = pandas.read_csv(out, index_col="cell")
    expected = opened.normalized_expression(cells, given={"batch": "a"}, num_samples=3, seed=0)
    pandas.testing.assert_frame_equal(found, expected.rename_axis("cell"), check_dtype=False)
    words = ["--data", file, "--own-counts", "--num-samples", 3, "--out", out, "--force"]
    assert cli("expression", run, *words).code == 0
    expected = opened.normalized_expression(cells, own_counts=True, num_samples=3, seed=0).rename_axis("cell")
    pandas.testing.assert_frame_equal(pandas.read_csv(out, index_col="cell"), expected, check_dtype=False)
    words = ["--groups", "type", "--first", "T", "--num-draws", 50, "--out", out, "--force"]
    assert cli("differential-expression", run, *words).code == 0
    found = pandas.read_csv(out, index_col="gene")
    expected = opened.differential_expression(cells, "type", "T", num_draws=50, seed=0)
    pandas.testing.assert_frame_equal(found, expected, check_dtype=False)
    assert "obs of x.h5ad has no 'kind'" in refused("differential-expression", run, "--groups", "kind", *words[2:])
    words[5] = 10**9
    assert "num_draws=1,000,000,000 and takes at most" in refused("differential-expression", run, *words)


def test_latents_with_the_names_of_cells(cli, refused, run, cells, tmp_path):
    import h5py

    file, z = run.parent / "x.h5ad", lb.Fitted.open(run).encode(cells).mean
    for out in (tmp_path / "z.h5ad", tmp_path / "again.h5ad"):  # the second replaces what the first has written
        assert cli("encode", run, "--data", file, "--out", out).code == 0
        with h5py.File(out) as copy:
            np.testing.assert_array_equal(copy["obsm/X_lowerbound"], z)
            np.testing.assert_array_equal(copy["X"], cells.X)
        file = out
    assert cli("encode", run, "--out", tmp_path / "z.csv").code == 0
    names = pandas.read_csv(tmp_path / "z.csv")["name"]
    assert names.tolist() == [cells.obs.index[i] for i in lb.Fitted.open(run).dataset.test_rows]
    assert "is a copy of --data with the latents" in refused("encode", run, "--out", tmp_path / "y.h5ad")


def test_a_fit_goes_on_from_a_run_and_is_compared_with_its_like(cli, refused, run, cells, tmp_path):
    began = lb.fit(cells, start_from=run, freeze=["likelihood"], steps=2)
    frozen = lb.Fitted.open(run).model.likelihood.state_dict()
    assert all((tensor == frozen[name]).all() for name, tensor in began.model.likelihood.state_dict().items())
    file = run.parent / "x.h5ad"
    small = ["--steps", 2, "--hidden", 8, "--latent-dim", 2, "--device", "cpu", "--no-evaluate", "--label", "type"]
    for name, recipe in (("other", "cells:dispersion=gene-batch"), ("latent", "cells:library=latent")):
        words = ["--recipe", recipe, "--covariates", "batch,age", *small, "--out", tmp_path / name]
        assert cli("fit", file, *words).code == 0
    assert cli("compare", run, tmp_path / "other", "--num-samples", 5).code == 0
    sentence = refused("compare", run, tmp_path / "latent", "--num-samples", 5)
    assert "given batch, age, the size of its library" in sentence


def test_a_new_batch_is_mapped_by_the_command(cli, run, cells, tmp_path):
    new, _ = planted_cells(60, 5)
    new.obs["batch"] = "new"
    file, out = write_h5ad(tmp_path / "new.h5ad", new), tmp_path / "mapped"
    answer = cli("fit", file, "--from", run, "--steps", 4, "--out", out, "--device", "cpu")
    assert answer.code == 0
    assert f"num-added 1: 'new' came after {run.resolve()}" in " ".join(answer.out.split())
    opened = lb.Fitted.open(out)
    made = lb.fit(new, start_from=run, steps=4, device="cpu")
    np.testing.assert_array_equal(opened.score(new, num_samples=3), made.score(new, num_samples=3))
    np.testing.assert_array_equal(opened.encode(cells).mean, lb.Fitted.open(run).encode(cells).mean)
    table = tmp_path / "e.csv"
    words = ["--data", file, "--given", "batch=b", "--num-samples", 2, "--out", table]
    assert cli("expression", out, *words).code == 0


def test_types_of_cells_by_the_command(cli, refused, cells, tmp_path):
    import h5py

    some = planted_cells(80)[0]
    some.obs["type"] = np.where(np.arange(80) % 4 == 0, some.obs["type"], "unknown")
    file, run, out = write_h5ad(tmp_path / "x.h5ad", some), tmp_path / "run", tmp_path / "z.csv"
    words = ["--recipe", "labelled-cells", "--steps", 3, "--hidden", 8, "--latent-dim", 2, "--device", "cpu"]
    assert "has no labels and this model needs them" in refused("fit", file, *words, "--out", run)
    answer = cli("fit", file, *words, "--covariates", "batch", "--label", "type", "--no-evaluate", "--out", run)
    assert answer.code == 0
    assert "'unknown' stands for no label" in answer.out
    assert cli("encode", run, "--data", file, "--out", out).code == 0
    found, opened = pandas.read_csv(out), lb.Fitted.open(run)
    assert found["assigned"].tolist() == opened.assign(some).tolist()
    np.testing.assert_allclose(found["probability"], opened.probabilities(some).max(1), rtol=1e-5)
    assert cli("encode", run, "--data", file, "--out", tmp_path / "z.h5ad").code == 0
    with h5py.File(tmp_path / "z.h5ad") as copy:
        assert copy["obs/assigned"].asstr()[:].tolist() == found["assigned"].tolist()
        np.testing.assert_allclose(copy["obs/probability"], found["probability"], rtol=1e-5)
    assert cli("evaluate", run, "--num-samples", 3, "--json").code == 0
    assert "accuracy" in json.loads((run / "evaluation.json").read_text())
