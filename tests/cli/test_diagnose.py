"""`lowerbound diagnose`: what it prints, writes and refuses."""

from __future__ import annotations

import json
import shlex
import shutil
from typing import NamedTuple

import pytest
import torch

import lowerbound as lb
from lowerbound.cli import main
from lowerbound.data import load
from lowerbound.diagnosis import PROBLEMS, case_of
from lowerbound.runs import Run

from .conftest import TINY


@pytest.fixture
def run(digits_run, tmp_path):
    return shutil.copytree(digits_run, tmp_path / "run")


def test_words_page_and_json_are_what_the_function_finds(cli, brief_diagnosis, run):
    answer = cli("diagnose", run, "--num-rows", 40)
    assert (answer.code, answer.err) == (0, "")
    assert "40 test rows" in answer.out
    assert all(answer.out.count(name) >= 2 for name in PROBLEMS)
    assert "at least 1.00" in answer.out
    assert f"Page: {run / 'diagnosis.html'}" in answer.out
    assert "Not asked: name other data with --against" in answer.out
    found = lb.diagnose(run, num_rows=40)
    examined = [finding.present is not None for finding in found.findings]
    assert (run / "diagnosis.html").read_text().count("<img") == sum(examined) >= 8
    content = json.loads(cli("diagnose", run, "--num-rows", 40, "--json").out)
    assert content["num_held_out"] == found.num_held_out == 40
    assert [f["name"] for f in content["findings"]] == list(PROBLEMS)
    for plain, finding in zip(content["findings"], found.findings, strict=True):
        assert (plain["present"], plain["sentence"], plain["remedy"]) == (
            finding.present,
            finding.sentence,
            finding.remedy,
        )
        if finding.evidence is not None:
            assert plain["evidence"]["value"] == finding.evidence.value
    assert content["findings"][0]["evidence"]["high"] is None


class _Values(NamedTuple):
    values: torch.Tensor


@pytest.mark.slow
def test_other_data(cli, brief_diagnosis, run, tmp_path, monkeypatch, capsys):
    import numpy as np

    other = 1 - load("digits").x_test
    np.save(tmp_path / "other.npy", other)
    words = ["diagnose", run, "--num-rows", 40, "--json"]
    answer = cli(*words, "--against", tmp_path / "other.npy")
    assert answer.err == ""
    finding = json.loads(answer.out)["findings"][-1]
    assert finding["evidence"]["value"] > 0.9
    assert "other.npy" in finding["sentence"]
    fitted = Run.open(run).fitted()
    again = fitted.events(fitted.test_rows().x, seed=9)[:40]  # the same rows, binarized anew
    same = PROBLEMS[finding["name"]](case_of(fitted, x_against=again, against="digits", num_rows=40))
    assert same.evidence is not None
    assert abs(same.evidence.value - 0.5) < 0.2
    assert same.present is True
    assert same.remedy is not None
    program = shlex.split(same.remedy)[2]
    monkeypatch.setattr("lowerbound.evaluate.likelihood_regret", lambda model, x: _Values(values=-x.flatten(1).sum(1)))
    exec(program, {})  # what it prints is the area for the stand-in
    assert "value=" in capsys.readouterr().out


def test_an_untrained_run_is_refused(refused, run):
    (run / "model.safetensors").unlink()
    assert "fit --resume" in refused("diagnose", run)


def test_no_run_is_refused(refused, tmp_path):
    assert "is not a run folder" in refused("diagnose", tmp_path)


def test_data_that_are_gone_are_refused(refused, table, tmp_path):
    copy = shutil.copy(table, tmp_path / "copy.csv")
    words = ["fit", str(copy), "--label", "species", "--steps", "2", "--out", str(tmp_path / "run"), "--no-evaluate"]
    assert main([*words, *TINY]) == 0
    copy.unlink()
    said = refused("diagnose", tmp_path / "run")
    assert "are gone: there is no file" in said
    assert "name the rows with --data" in said


@pytest.mark.parametrize(
    "words, part",
    [
        (["--against", "dgits"], "did you mean 'digits'"),
        (["--against", "shapes"], "shape"),
        (["--num-rows", "1"], "'--num-rows'"),
    ],
)
def test_refusals(refused, digits_run, words, part):
    assert part in refused("diagnose", digits_run, *words)
    assert not (digits_run / "diagnosis.html").exists()


def test_a_table(cli, brief_diagnosis, table_run, tmp_path):
    run = shutil.copytree(table_run, tmp_path / "run")
    answer = cli("diagnose", run, "--json")
    assert answer.code == 0
    assert Run.open(run).config["data"]["path"] == json.loads(answer.out)["findings"][0]["remedy"].split()[2]


@pytest.mark.parametrize(
    "options",
    [
        "--posterior bernoulli --prior bernoulli --objective elbo --gradient score-function",
        pytest.param(
            "--posterior categorical:categories=3 --prior categorical:categories=3 --objective elbo "
            "--gradient score-function",
            marks=pytest.mark.slow,
        ),
        pytest.param("--posterior iaf --objective elbo", marks=pytest.mark.slow),
        pytest.param("--posterior auxiliary-normal --objective elbo", marks=pytest.mark.slow),
        pytest.param(
            "--posterior mixture-normal --objective elbo --prior vamp-prior:components=5", marks=pytest.mark.slow
        ),
        pytest.param("--loss wake-sleep --objective iwae", marks=pytest.mark.slow),
    ],
)
def test_every_kind_of_model(cli, brief_diagnosis, as_users_run, tmp_path, options):
    words = ["fit", "digits", "--steps", "2", "--out", str(tmp_path / "run"), "--no-evaluate", *TINY, *options.split()]
    assert main(words) == 0
    answer = cli("diagnose", tmp_path / "run", "--num-rows", 10, "--json")
    assert (answer.code, answer.err) == (0, "")
    findings = json.loads(answer.out)["findings"]
    assert sum(f["present"] is not None for f in findings) >= 5


@pytest.mark.slow
@pytest.mark.parametrize(
    "options, name",
    [
        ("--objective beta-elbo:beta=100", "posterior collapse"),
        ("--objective beta-elbo:beta=0.01", "holes"),
        ("--objective beta-elbo:beta=0.01", "imbalance of rate and distortion"),
        ("--objective elbo --likelihood normal:scale=0.05 --binarization none", "dispersion of the likelihood"),
        ("--objective elbo --gradient score-function:baseline=None", "noise of the gradient"),
    ],
)
def test_trained_to_be_ill(cli, tmp_path, options, name):
    size = "--hidden 128 --latent-dim 8 --device cpu --num-samples 1 --no-compile --steps 1000"
    words = ["fit", "digits", "--out", str(tmp_path / "run"), "--no-evaluate", *size.split(), *options.split()]
    assert main(words) == 0
    findings = json.loads(cli("diagnose", tmp_path / "run", "--json").out)["findings"]
    assert name in [f["name"] for f in findings if f["present"]]
