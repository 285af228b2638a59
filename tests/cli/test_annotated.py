"""An .h5ad file on the command and the same AnnData in Python: one plan, one model, the same scores."""

import types

import numpy as np
import pandas
import pytest

import lowerbound as lb

h5py = pytest.importorskip("h5py")

CHOICES = {"latent_dim": 2, "hidden": [8], "steps": 4, "seed": 3}


def test_both_roads_give_the_same_run(cli, tmp_path):
    rng = np.random.default_rng(0)
    x = rng.poisson(rng.gamma(0.5, 2, 6), (40, 6))
    genes, types_of_cells = [f"gene{i}" for i in range(6)], ["B", "T"] * 20
    with h5py.File(tmp_path / "x.h5ad", "w") as file:
        file["X"], file["layers/counts"] = np.log1p(x), x
        file["var/_index"], file["obs/_index"] = genes, [f"cell{i}" for i in range(40)]
        file["obs/type"] = types_of_cells
        for table in ("obs", "var"):
            file[table].attrs["_index"] = "_index"
    cells = types.SimpleNamespace(
        X=np.log1p(x),
        layers={"counts": x},
        raw=None,
        obs=pandas.DataFrame({"type": types_of_cells}),
        var_names=pandas.Index(genes),
    )
    words = ["--array", "counts", "--label", "type", "--recipe", "counts:latent_dim=2,hidden=[8]", "--steps", 4]
    words += ["--seed", 3, "--device", "cpu", "--no-evaluate", "--out", tmp_path / "run"]
    assert cli("fit", tmp_path / "x.h5ad", *words).code == 0
    opened = lb.Fitted.open(tmp_path / "run")
    fitted = lb.fit(cells, "counts", y="type", array="counts", device="cpu", **CHOICES)
    assert opened.plan is not None
    assert fitted.plan is not None
    one, other = opened.plan.to_json(), fitted.plan.to_json()
    assert {**one, "given": None} == {**other, "given": None}
    scores = fitted.score(cells, num_samples=5)
    np.testing.assert_array_equal(opened.score(tmp_path / "x.h5ad", num_samples=5), scores)
    np.testing.assert_array_equal(opened.score(cells, num_samples=5), scores)
    assert list(opened.sample(2).columns) == genes
    assert cli("encode", tmp_path / "run", "--data", tmp_path / "x.h5ad", "--out", tmp_path / "z.csv").code == 0
    assert pandas.read_csv(tmp_path / "z.csv")["label"].tolist() == types_of_cells
    refused = cli("fit", tmp_path / "x.h5ad", "--out", tmp_path / "other")
    assert refused.code != 0
    assert "which is no count; expected 0, 1, 2, …: name a layer of counts with array=NAME ('counts')" in refused.err
    assert not (tmp_path / "other").exists()
