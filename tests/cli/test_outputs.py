"""Every command that reads a run, and every format that it writes."""

from __future__ import annotations

import csv
import json
import os
import shutil

import numpy as np
import pytest
import torch

from lowerbound.runs import Run

pytestmark = pytest.mark.usefixtures("one_mixture")


def test_evaluate_scores_the_test_rows_and_saves(cli, digits_run, tmp_path):
    run = shutil.copytree(digits_run, tmp_path / "run")
    answer = cli("evaluate", run, "--num-samples", 5)
    assert (answer.code, answer.err) == (0, "")
    saved = json.loads((run / "evaluation.json").read_text())
    assert (saved["num_data"], saved["num_samples"], saved["latent_dim"]) == (360, 5, 2)
    for name in ("log_evidence", "elbo", "rate", "distortion"):
        assert f"{saved[name]:.2f}" in answer.out
    assert "bernoulli mixture" in answer.out
    assert "360 rows of digits" in answer.out


def test_evaluate_prints_json_alone_and_saves_nothing_of_fewer_rows(cli, digits_run):
    answer = cli("evaluate", digits_run, "--num-samples", 3, "--limit", 10, "--json")
    assert json.loads(answer.out)["num_data"] == 10
    assert not (digits_run / "evaluation.json").exists()


def test_evaluate_scores_other_data(cli, digits_run, tmp_path):
    x = Run.open(digits_run).dataset.x_test
    np.save(tmp_path / "same.npy", x)
    own = json.loads(cli("evaluate", digits_run, "--num-samples", 3, "--limit", 400, "--json").out)
    other = json.loads(cli("evaluate", digits_run, "--num-samples", 3, "--json", "--data", tmp_path / "same.npy").out)
    assert (own.pop("data"), other.pop("data")) == ("digits", "same.npy")
    assert other == own  # the same rows, in the order of the file
    assert not (digits_run / "evaluation.json").exists()


def test_encode_writes_what_the_model_infers_in_three_formats(cli, digits_run, tmp_path):
    fitted = Run.open(digits_run).fitted()
    with torch.no_grad():
        q = fitted.model.infer(fitted.events(fitted.test_rows().x))
    for name in ("codes.npz", "codes.csv", "codes.parquet"):
        assert cli("encode", digits_run, "--out", tmp_path / name).code == 0
    arrays = np.load(tmp_path / "codes.npz", allow_pickle=False)
    np.testing.assert_allclose(arrays["mean"], q.mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(arrays["scale"], q.stddev, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(arrays["label"], fitted.dataset.y_test)
    np.testing.assert_array_equal(arrays["row"], np.arange(360))
    header, *lines = list(csv.reader((tmp_path / "codes.csv").read_text().splitlines()))
    assert header == ["row", "mean_0", "mean_1", "scale_0", "scale_1", "label"]
    expected = np.column_stack([arrays["row"], arrays["mean"], arrays["scale"], arrays["label"]]).astype(np.float32)
    np.testing.assert_array_equal(np.array(lines, dtype=np.float32), expected)
    parquet = pytest.importorskip("pyarrow.parquet").read_table(tmp_path / "codes.parquet")
    assert parquet.column_names == header
    np.testing.assert_array_equal(parquet["mean_1"].to_numpy(), arrays["mean"][:, 1])


def test_encode_numbers_test_rows_by_their_place_in_the_file(cli, table_run, table, tmp_path):
    assert cli("encode", table_run, "--out", tmp_path / "held_out.npz").code == 0
    assert cli("encode", table_run, "--data", table, "--out", tmp_path / "all.npz").code == 0
    held_out, all_rows = (np.load(tmp_path / f"{name}.npz") for name in ("held_out", "all"))
    assert 0 < len(held_out["row"]) < len(all_rows["row"]) == 60
    np.testing.assert_allclose(held_out["mean"], all_rows["mean"][held_out["row"]], rtol=1e-5, atol=1e-6)


def test_encode_keeps_the_order_of_a_file_and_its_labels(cli, table_run, table, tmp_path):
    assert cli("encode", table_run, "--data", table, "--label", "species", "--out", tmp_path / "codes.csv").code == 0
    rows = list(csv.DictReader((tmp_path / "codes.csv").read_text().splitlines()))
    assert [row["label"] for row in rows] == ["a", "b"] * 30
    values = np.loadtxt(table, delimiter=",", skiprows=1, usecols=(0, 1, 2))
    fitted = Run.open(table_run).fitted()
    with torch.no_grad():
        mean = fitted.model.infer(fitted.events(values)).mean
    np.testing.assert_allclose([float(row["mean_0"]) for row in rows], mean[:, 0], rtol=1e-4, atol=1e-5)


def test_encode_takes_all_rows_of_a_named_data_set_training_part_first(cli, digits_run, tmp_path):
    assert cli("encode", digits_run, "--data", "digits", "--out", tmp_path / "codes.npz").code == 0
    digits = Run.open(digits_run).dataset
    labels = np.load(tmp_path / "codes.npz")["label"]
    assert digits.y_train is not None
    assert digits.y_test is not None
    np.testing.assert_array_equal(labels, np.concatenate([digits.y_train, digits.y_test]))


def test_encode_keeps_the_two_parts_of_an_archive(cli, table_run, tmp_path):
    rng = np.random.default_rng(1)
    np.savez(tmp_path / "parts.npz", x_train=rng.normal(size=(8, 3)), x_test=rng.normal(size=(2, 3)))
    np.savez(tmp_path / "whole.npz", x=np.concatenate(list(np.load(tmp_path / "parts.npz").values())))
    for name in ("parts", "whole"):
        assert (
            cli("encode", table_run, "--data", tmp_path / f"{name}.npz", "--out", tmp_path / f"{name}-z.npz").code == 0
        )
    parts, whole = (np.load(tmp_path / f"{name}-z.npz")["mean"] for name in ("parts", "whole"))
    np.testing.assert_allclose(parts, whole, rtol=1e-5)


def test_samples_are_in_the_units_of_the_data(cli, table_run, tmp_path):
    assert cli("sample", table_run, "--count", 500, "--out", tmp_path / "x.npz").code == 0
    arrays = np.load(tmp_path / "x.npz")
    assert arrays["x"].shape == arrays["mean"].shape == (500, 3)
    assert (abs(arrays["x"].mean(0) - [0, 100, 5]) < [0.5, 5, 0.05]).all()
    np.testing.assert_allclose(arrays["x"].std(0), [1, 10, 0.1], rtol=0.7)


def test_samples_depend_on_the_seed_alone(cli, digits_run, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert cli("sample", digits_run, "--count", 3, "--seed", seed, "--out", tmp_path / f"{name}.npz").code == 0
    a, b, c = (np.load(tmp_path / f"{name}.npz")["x"] for name in "abc")
    assert set(np.unique(a)) <= {0.0, 1.0}
    assert (a == b).all()
    assert (a != c).any()


@pytest.mark.parametrize("command", ["sample", "reconstruct"])
def test_pictures_are_png(cli, digits_run, tmp_path, command):
    assert cli(command, digits_run, "--count", 3, "--out", tmp_path / "x.PNG").code == 0
    assert (tmp_path / "x.PNG").read_bytes().startswith(b"\x89PNG\r\n")


def test_reconstructions_stand_beside_their_rows(cli, table_run, table, tmp_path):
    words = ["reconstruct", table_run, "--data", table, "--label", "species", "--count", 7, "--out", tmp_path / "x.npz"]
    assert cli(*words).code == 0
    arrays = np.load(tmp_path / "x.npz")
    values = np.loadtxt(table, delimiter=",", skiprows=1, usecols=(0, 1, 2), max_rows=7)
    np.testing.assert_allclose(arrays["x"], values, rtol=1e-5)
    np.testing.assert_allclose(arrays["seen"], values, rtol=1e-4, atol=1e-4)
    assert arrays["reconstruction"].shape == (7, 3)
    assert (abs(arrays["reconstruction"].mean(0) - [0, 100, 5]) < [1, 10, 0.1]).all()


def test_report_is_written_with_and_without_scores(cli, digits_run, tmp_path):
    run = shutil.copytree(digits_run, tmp_path / "run")
    answer = cli("report", run)
    assert (answer.code, answer.out) == (0, f"Report: {run / 'report.html'}\n")
    before = (run / "report.html").read_text()
    assert cli("evaluate", run, "--num-samples", 5).code == 0
    assert cli("report", run).code == 0
    after = (run / "report.html").read_text()
    number = f"{json.loads((run / 'evaluation.json').read_text())['log_evidence']:.2f}".lstrip("-")
    assert number in after
    assert number not in before


def test_datasets_lists_the_catalogue(cli):
    from lowerbound.data import names

    answer = cli("datasets")
    first = [line.split()[0] for line in answer.out.splitlines() if line[:1].strip()]  # long cells are folded
    assert first[1 : 1 + len(names())] == list(names())
    assert "8 x 8" in answer.out


def test_encode_by_chains_says_which_rows_are_not_to_be_trusted(cli, refused, table_run, tmp_path):
    out = tmp_path / "latents.csv"
    answer = cli("encode", table_run, "--out", out, "--inference", "hmc:num_warmup=5,num_samples=8")
    assert answer.code == 0
    assert "have an effective sample size below 100" in answer.err
    assert all(line.startswith("Warning: ") for line in answer.err.splitlines())
    assert ".py" not in answer.err
    assert len(out.read_text().splitlines()) == 13
    assert cli("encode", table_run, "--out", out, "--force", "--inference", "local:num_steps=3").err == ""
    words = ("encode", table_run, "--out", tmp_path / "other.csv", "--inference")
    assert "both refine and inference" in refused(*words, "local", "--refine", 3)
    assert "is trained with a model" in refused(*words, "iterative-amortised:latent_dim=2")
    assert "hmcc" in refused(*words, "hmcc")


@pytest.mark.parametrize(
    "words", [["sample", "--count", 2], ["encode"], ["reconstruct", "--count", 2], ["report"]], ids=lambda w: w[0]
)
def test_a_file_that_is_there_is_overwritten_by_force_alone(cli, refused, digits_run, tmp_path, words):
    out = tmp_path / ("x.html" if words[0] == "report" else "x.npz")
    out.write_text("mine")
    command = [words[0], digits_run, *words[1:], "--out", out]
    assert "is there already; choose another place, or overwrite it with --force" in refused(*command)
    assert out.read_text() == "mine"
    assert cli(*command, "--force").code == 0
    assert out.stat().st_size > 100


def test_nothing_that_is_read_and_no_file_of_a_run_is_overwritten_by_force(refused, table_run, digits_run, tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(9, 3)))
    np.savez(tmp_path / "x.npz", x=np.load(tmp_path / "x.npy"))
    os.link(tmp_path / "x.npz", tmp_path / "same.npz")
    other = shutil.copytree(digits_run, tmp_path / "other")
    for out in ("x.npz", "same.npz"):
        command = ["encode", table_run, "--data", tmp_path / "x.npz", "--out", tmp_path / out, "--force"]
        assert "is a file that a run reads or holds" in refused(*command)
    assert "reads or holds" in refused("report", table_run, "--out", other / "report.html", "--force")
    np.testing.assert_array_equal(np.load(tmp_path / "x.npz")["x"], np.load(tmp_path / "x.npy"))


def test_a_picture_has_an_end(digits_run, refused, tmp_path):
    sentence = refused("sample", digits_run, "--count", "10001", "--out", tmp_path / "x.png")
    assert sentence == "A picture shows at most 10,000 and got 10,001; write .npz."


def test_latents_that_are_not_finite_are_not_written(digits_run, refused, tmp_path):
    words = ["encode", digits_run, "--inference", "local:lr=1e30,num_steps=3", "--out", tmp_path / "z.npz"]
    assert "rows, row 0 first, is not finite; take a smaller lr of the inference" in refused(*words)
    assert not (tmp_path / "z.npz").exists()
