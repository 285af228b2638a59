"""The user's mistakes, one by one: exit code 2 and one sentence on stderr."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest
import torch

from lowerbound.runs import Run

from .conftest import TINY


@pytest.fixture
def fit_refused(refused, tmp_path):
    """Refused to fit data, and no run folder was left behind."""

    def run(data: object, *options: str) -> str:
        sentence = refused("fit", data, "--out", tmp_path / "run", "--steps", "5", *TINY, *options)
        assert not (tmp_path / "run").exists()
        return sentence

    return run


def _saved(path, array, **options):
    np.save(path, array, **options)
    return path


def test_unknown_data_set(fit_refused):
    assert "did you mean 'digits'" in fit_refused("dgits")


def test_missing_file(fit_refused, tmp_path):
    assert "There is no file" in fit_refused(tmp_path / "none.npy")


def test_unknown_format(fit_refused, tmp_path):
    (tmp_path / "x.doc").write_text("1 2 3")
    assert "'x.doc' is not one of" in fit_refused(tmp_path / "x.doc")
    (tmp_path / "x.txt").write_text("1 2 3")
    assert "holds numbers in columns; save it as .csv" in fit_refused(tmp_path / "x.txt")


def test_damaged_file(fit_refused, tmp_path):
    (tmp_path / "x.npy").write_bytes(b"\x93NUMPY cut")
    assert "not a readable .npy file" in fit_refused(tmp_path / "x.npy")


@pytest.mark.skipif(os.getuid() == 0, reason="root reads every file")
def test_unreadable_file(fit_refused, tmp_path):
    path = _saved(tmp_path / "x.npy", np.eye(9))
    path.chmod(0)
    assert "cannot be read" in fit_refused(path)


def test_text_in_a_numeric_column(fit_refused, tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n1,2\n3,four\n5,6\n")
    sentence = fit_refused(tmp_path / "x.csv")
    assert "column 'b'" in sentence.lower()
    assert "'four' at row 1" in sentence


def test_label_that_is_not_a_column(fit_refused, table):
    assert "'species'" in fit_refused(table, "--label", "spices")


@pytest.mark.parametrize(
    "x, part",
    [
        (np.where(np.eye(9) > 0, np.inf, 0.5), "infinite"),
        (np.full((9, 3), 2.0), "no column to learn from ('0': one value only (2)"),
        (np.zeros((0, 3)), "empty"),
        (np.ones((1, 3)), "one row"),
        (np.array([[1, "a"], [2, "b"]], dtype=object), "Python objects"),
    ],
)
def test_unusable_array(fit_refused, tmp_path, x, part):
    assert part in fit_refused(_saved(tmp_path / "x.npy", x, allow_pickle=True))


def test_values_that_bernoulli_cannot_take(fit_refused, tmp_path):
    path = _saved(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(20, 3)))
    assert "column '1'; Bernoulli takes numbers in [0, 1]" in fit_refused(path, "--likelihood", "bernoulli")


@pytest.mark.parametrize(
    "options, part",
    [
        (("--prior", "standard-nomal"), "standard-normal"),
        (("--likelihood", "normal:scale=0"), "scale"),
        (("--objective", "elbo", "--gradient", "dreg"), "DReG"),
        (("--device", "cuda"), "No cuda device"),
        (("--precision", "fp16"), "fp16 needs"),
    ],
)
def test_choices_that_do_not_exist_or_go_together(fit_refused, options, part):
    if "cuda" in options and torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    assert part in fit_refused("digits", *options)


def test_folder_that_holds_a_run(refused, digits_run):
    before = {p.name: p.read_bytes() for p in digits_run.iterdir()}
    assert "already holds a run" in refused("fit", "digits", "--out", digits_run, "--steps", 5, *TINY)
    assert "is a file and cannot hold a run" in refused("fit", "digits", "--out", digits_run / "run.json", *TINY)
    assert {p.name: p.read_bytes() for p in digits_run.iterdir()} == before


def test_folder_that_cannot_be_made(refused, tmp_path):
    (tmp_path / "file").write_text("")
    assert "Could not write" in refused("fit", "digits", "--out", tmp_path / "file" / "run", "--steps", 5, *TINY)


@pytest.mark.parametrize(
    "words", [["data"], ["--seed", "3"], ["--batch-size", "8"], ["--freeze", "prior"], ["--hidden", "256,256"]]
)
def test_resume_refuses_every_other_option_by_name(refused, digits_run, words):
    words = ["digits"] if words == ["data"] else words
    name = "DATA" if words == ["digits"] else words[0]
    assert refused("fit", *words, "--resume", digits_run).startswith(f"{name} cannot be given with --resume")


@pytest.mark.parametrize("command", ["evaluate", "report", "sample", "encode", "reconstruct"])
def test_a_folder_without_a_run_and_a_run_without_a_model(refused, digits_run, tmp_path, command):
    out = {"sample": ["--out", tmp_path / "x.npz"]}
    out |= {"encode": out["sample"], "reconstruct": out["sample"]}
    assert "is not a run folder" in refused(command, tmp_path, *out.get(command, []))
    untrained = tmp_path / "untrained"
    untrained.mkdir()
    shutil.copy(digits_run / "run.json", untrained)
    assert f"fit --resume {untrained}" in refused(command, untrained, *out.get(command, []))
    assert [p.name for p in untrained.iterdir()] == ["run.json"]


def test_data_of_another_shape(refused, table_run, tmp_path):
    path = _saved(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(9, 4)))
    sentence = refused("encode", table_run, "--data", path, "--out", tmp_path / "z.npz")
    assert "rows of 4 features; expected rows of 3 features" in sentence


def test_bytes_are_not_taken_for_intensities(refused, digits_run, tmp_path):
    path = _saved(tmp_path / "x.npy", np.arange(9 * 64, dtype=np.uint8).reshape(9, 8, 8))
    sentence = refused("evaluate", digits_run, "--data", path)
    assert "holds values from 0 to 255; the model was fitted to pixels that are numbers in [0, 1]" in sentence


def test_data_that_has_changed(refused, table_run, table, tmp_path):
    run = shutil.copytree(table_run, tmp_path / "run")
    changed = tmp_path / "flowers.csv"
    changed.write_text(table.read_text().replace("0.", "1.", 1))
    text = (run / "run.json").read_text()
    (run / "run.json").write_text(text.replace(str(table), str(changed)))
    assert "has changed since the run began" in refused("evaluate", run)


@pytest.mark.parametrize(
    "command, name, part",
    [
        ("sample", "x.jpg", "must end in .png, .gif, .npz, .csv, .parquet"),
        ("reconstruct", "x", "must end in .png, .gif, .npz"),
        ("encode", "x.txt", "must end in .npz, .csv, .parquet"),
        ("sample", "none/x.npz", "Could not write"),
    ],
)
def test_outputs_that_cannot_be_written(refused, digits_run, tmp_path, command, name, part):
    assert part in refused(command, digits_run, "--out", tmp_path / name)


@pytest.mark.parametrize("command", ["sample", "reconstruct"])
def test_rows_of_a_table_have_no_picture(refused, table_run, tmp_path, command):
    assert "no picture" in refused(command, table_run, "--out", tmp_path / "x.png")


def test_label_without_data(refused, digits_run):
    assert "--label goes with --data" in refused("evaluate", digits_run, "--label", "y")


def test_run_of_another_format_and_damaged_weights(refused, digits_run, tmp_path):
    run = shutil.copytree(digits_run, tmp_path / "run")
    (run / "model.safetensors").write_bytes(b"cut")
    assert "is damaged" in refused("evaluate", run)
    (run / "run.json").write_text('{"format": 99}')
    assert "another format" in refused("evaluate", run)
    (run / "run.json").write_text("{")
    assert "not readable as JSON" in refused("evaluate", run)


def test_refusals_leave_the_session_runs_alone(digits_run, table_run):
    for run in (digits_run, table_run):
        assert sorted(p.name for p in run.iterdir()) == [
            ".lock",
            "metrics.jsonl",
            "model.safetensors",
            "run.json",
            "state.safetensors",
        ]
        assert Run.open(run).finished
