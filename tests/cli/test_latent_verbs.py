"""traverse, interpolate, neighbours, attribute, sweep and export as commands."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pandas
import pytest
import torch
from PIL import Image

import lowerbound as lb
from lowerbound.fitted import Fitted
from lowerbound.fitting.preparing import prepare
from lowerbound.runs import Run
from lowerbound.training.engine import Engine
from lowerbound.verbs import exporting
from lowerbound.verbs.sweeping import validated, validation_rows

from .conftest import TINY


def test_traverse_of_a_table(cli, refused, table_run, tmp_path) -> None:
    printed = cli("traverse", table_run, "--latents", 2, "--steps", 3)
    assert printed.code == 0
    assert "width" in printed.out
    assert "12 rows" in printed.out
    out = tmp_path / "t.csv"
    assert cli("traverse", table_run, "--latents", 2, "--steps", 3, "--out", out).code == 0
    frame = pandas.read_csv(out)
    assert list(frame.columns) == ["latent", "activity", "step", "z", "width", "length", "weight"]
    assert len(frame) == 6
    assert "is there already" in refused("traverse", table_run, "--out", out)
    assert refused("traverse", table_run, "--row", 99).startswith("Row 99 is none of flowers.csv")
    assert "A .gif shows images" in refused("traverse", table_run, "--out", tmp_path / "t.gif")


def test_walks_of_images(cli, refused, digits_run, tmp_path) -> None:
    assert cli("traverse", digits_run, "--latents", 2, "--steps", 4, "--row", 3, "--out", tmp_path / "t.gif").code == 0
    with Image.open(tmp_path / "t.gif") as gif:
        assert gif.n_frames == 6  # four steps forth, and two between the ends back
    answer = cli("interpolate", digits_run, 0, 5, "--steps", 3, "--way", "circle", "--out", tmp_path / "i.npz")
    assert answer.code == 0
    fitted = Fitted.open(digits_run)
    rows = fitted.test_rows()
    pair = type(rows)(x=rows.x[[0, 5]], y=None, num_test=0, name="pair", schema=rows.schema)
    with np.load(tmp_path / "i.npz") as archive:
        assert archive["x"].shape == (3, *fitted.schema.event_shape)
        assert archive["t"].tolist() == [0, 0.5, 1]
        own = fitted.interpolate(pair, 3, way="circle", seed=0)
        assert np.abs(archive["x"] - own).max() <= 0.5  # of rounded pixels
    assert "Missing option --out" in refused("traverse", digits_run)
    assert "'x' is none" in refused("interpolate", digits_run, "x", 1, "--out", tmp_path / "x.png")


def test_neighbours_say_what_they_are(cli, refused, table, table_run, tmp_path) -> None:
    answer = cli("neighbours", table_run, "0,2", "--count", 2)
    assert answer.code == 0
    assert answer.out.count("itself") == 2
    assert "species" in answer.out
    assert cli("neighbours", table_run, "4", "--data", table, "--count", 3, "--out", tmp_path / "n.csv").code == 0
    frame, data = pandas.read_csv(tmp_path / "n.csv"), pandas.read_csv(table)
    assert frame["of"].tolist() == [4] * 3
    assert 4 not in set(frame["row"])
    assert frame["length"].to_numpy() == pytest.approx(data["length"].to_numpy()[frame["row"]])
    assert frame["species"].tolist() == data["species"][frame["row"]].tolist()
    assert "count=12 and 11 rows" in refused("neighbours", table_run, "0", "--count", 12)
    assert "no list of places" in refused("neighbours", table_run, "x")


def test_attribute_is_judged_and_added(cli, refused, table, table_run, tmp_path) -> None:
    answer = cli("attribute", table_run, "species=ab", "--data", table)
    assert answer.code == 2
    assert "expected one of a, b" in answer.err
    out = tmp_path / "a.csv"
    answer = cli("attribute", table_run, "length", "--data", table, "--row", 7, "--steps", 3, "--out", out)
    assert answer.code == 0
    assert "of 12 held-out rows (48 to learn from)" in answer.out
    assert pandas.read_csv(out)["added"].tolist() == [0, 1, 2]
    assert "finite" in refused(
        "attribute", table_run, "length", "--data", table, "--add", "inf", "--out", out, "--force"
    )


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("sweep")
    np.save(path / "x.npy", rng.normal(size=(60, 3)))
    words = ["sweep", path / "x.npy", "--recipe", "vae", "--steps", 4, *TINY, "--out", path / "runs"]
    return path, [*words, "--num-evidence-samples", 5]


def test_a_sweep_goes_on_and_chooses_on_validation_rows(cli, refused, swept) -> None:
    path, words = swept
    over = ["--over", "learning-rate=0.01,0.001"]
    assert cli(*words, *over).code == 0
    first = path / "runs" / "lr=0.01"
    before = (first / "model.safetensors").stat().st_mtime_ns
    (path / "runs" / "lr=0.001" / "model.safetensors").unlink()  # as if it had been killed at its end
    answer = cli(*words, *over)
    assert answer.code == 0
    assert (first / "model.safetensors").stat().st_mtime_ns == before
    assert (path / "runs" / "lr=0.001" / "model.safetensors").exists()
    said = json.loads((path / "runs" / "sweep.json").read_text())
    means = {run["run"]: run["validation"]["mean"] for run in said["runs"]}
    assert said["best"] == max(means, key=lambda name: means[name])
    assert f"Best on validation rows: {path / 'runs' / said['best']}" in answer.out
    assert "lr=0.001" in (path / "runs" / "comparison.html").read_text()
    assert "differs in batch_size" in refused(*words, *over, "--batch-size", 5)
    run = Run.open(first)
    rows = validation_rows(run.fitted())
    source = prepare(run.dataset, run.plan, Engine(device="cpu")).held_out
    assert source is not None
    assert rows is not None
    assert np.array_equal(rows.x, source.gather(torch.arange(len(source)))[0].numpy())
    assert means["lr=0.01"] == pytest.approx(run.fitted().score(rows, num_samples=5, seed=0).mean())


def test_the_example_for_optuna_maximises_the_validated_score(table, monkeypatch, tmp_path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "verbs.md").read_text()
    (text,) = (block for block in re.findall(r"```py\n(.*?)```", page, re.DOTALL) if "optuna" in block)
    study, trial = Mock(), Mock(suggest_int=lambda *_: 1, suggest_float=lambda *_, log: 1e-3)
    monkeypatch.setitem(sys.modules, "optuna", Mock(create_study=lambda direction: study))
    names: dict = {}
    exec(text.replace("penguins.csv", str(table)).replace("steps=500", "steps=2, hidden=[4]"), names)
    study.optimize.assert_called_once_with(names["objective"], n_trials=20)
    fitted = lb.fit(str(table), "vae", latent_dim=1, lr=1e-3, steps=2, hidden=[4])
    score = validated(fitted)
    assert score is not None
    assert names["objective"](trial) == score.mean


def test_what_no_sweep_takes(refused, swept) -> None:
    _, words = swept
    assert "expected OPTION=VALUE,VALUE" in refused(*words, "--over", "nix=1")
    assert "'a' is not a valid" in refused(*words, "--over", "lr=0.1,a")
    assert "give different ones" in refused(*words, "--over", "lr=0.1,0.1")
    assert "names lr twice" in refused(*words, "--over", "lr=0.1", "--over", "lr=0.2")


def test_a_sweep_of_which_one_run_is_refused_fits_none(refused, table, tmp_path) -> None:
    words = ["sweep", table, "--recipe", "vae", "--steps", 4, *TINY, "--out", tmp_path / "runs"]
    for over in ("seed=0,99999999999999999999", "gradient=pathwise,enumerate", "posterior=diagonal-normal,none"):
        refused(*words, "--over", over)
        assert not (tmp_path / "runs").exists()
    assert "File name too long" in refused(*words[:-1], "x" * 300, "--over", "seed=0,1")


def test_differences_of_programs_are_parts_of_the_largest_number_of_all_rows() -> None:
    rows = torch.tensor([[1.0], [1e4]], dtype=torch.float64)
    assert exporting._apart(lambda x: x + 1e-3, rows, lambda count: (rows[:count],)) == pytest.approx(1e-7)
    assert exporting._apart(lambda x: x[:1], rows, lambda count: (rows[:count],)) == float("inf")


def test_a_posterior_without_moments_is_named(tmp_path) -> None:
    x = np.random.default_rng(0).random((30, 4))
    fitted = lb.fit(x, "vae", posterior="planar", steps=1, hidden=[4], latent_dim=2)
    with pytest.raises(ValueError, match="posterior Planar has no mean and standard deviation in closed form"):
        fitted.export(tmp_path / "out")


def test_an_exported_program_gives_what_the_run_gives(cli, refused, monkeypatch, table, table_run, tmp_path) -> None:
    out = tmp_path / "programs"
    assert cli("export", table_run, "--out", out).code == 0
    said = json.loads((out / "export.json").read_text())
    assert [column["name"] for column in said["columns"]] == ["width", "length", "weight"]
    assert [d for name, d in said["largest_difference_from_the_run"].items() if name.endswith(".pt2")] == [0.0, 0.0]
    raw = pandas.read_csv(table)[["width", "length", "weight"]].to_numpy()
    program = torch.export.load(io.BytesIO((out / "encoder.pt2").read_bytes())).module()
    mean, scale = program(torch.from_numpy(raw))
    encoded = Fitted.open(table_run).encode(table)
    assert mean.detach().numpy() == pytest.approx(encoded.mean, abs=1e-6)
    assert scale.detach().numpy() == pytest.approx(encoded.scale, abs=1e-6)
    again = torch.export.load(io.BytesIO((out / "decoder.pt2").read_bytes())).module()(mean)
    assert abs(again[:, 1].mean().item() - raw[:, 1].mean()) < 20  # in the units of the table, around 100
    assert "already holds" in refused("export", table_run, "--out", out)
    assert "place of a run" in refused("export", table_run, "--out", table_run)
    for words in (("export", table_run, "--out", "x" * 300), ("pull", "./none", "--out", "x" * 300)):
        assert "Traceback" not in refused(*words)
    assert "Could not write" in refused("push", table_run, f"./{'x' * 300}")
    monkeypatch.setattr(exporting, "TOLERANCE", -1.0)
    assert "nothing was written" in refused("export", table_run, "--out", tmp_path / "other")

    def refuses(*args, **kwargs):
        print("def forward(self):", file=sys.stderr)  # as torch does with the graph that it had until there
        raise RuntimeError("no graph")

    monkeypatch.setattr(torch.export, "export", refuses)
    assert refused("export", table_run, "--out", tmp_path / "other").startswith(
        "The encoder (diagonal-normal) cannot be"
    )
    assert not (tmp_path / "other").exists()
