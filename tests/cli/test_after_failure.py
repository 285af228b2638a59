"""A run that met a number which is not finite: what is kept, what works on it, and how to go on."""

from __future__ import annotations

import json
import re

import pytest
import torch

from lowerbound.report import collect
from lowerbound.runs import Run
from lowerbound.runs.folders import read_weights
from lowerbound.training.steps import EagerStep

from .conftest import TINY

BAD_STEP, EVERY = 14, 3


@pytest.fixture(autouse=True)
def spoilt_at_high_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    """From step 14 on, a step at a learning rate above 0.001 spoils a parameter."""
    take_step, counts = EagerStep.__call__, {}

    def step(self: EagerStep, raw: tuple[torch.Tensor, ...], lr: float) -> torch.Tensor:
        counts[id(self)] = counts.get(id(self), 0) + 1
        if counts[id(self)] > BAD_STEP and lr > 0.001:
            with torch.no_grad():
                self._trained[0].fill_(float("nan"))
        return take_step(self, raw, lr)

    monkeypatch.setattr(EagerStep, "__call__", step)


@pytest.fixture
def failed(cli, tmp_path):
    """The folder of a run that failed, and what was said."""
    words = ["--steps", 60, "--lr", 0.002, "--lr-schedule", "constant", "--out", tmp_path / "run", "--no-evaluate"]
    answer = cli("fit", "digits", *words, *TINY)
    assert answer.code == 1
    return tmp_path / "run", answer.err


def _rows(said: str) -> list[str]:
    return re.search(r"batch of rows ([\d, ]+)", said)[1].split(", ")  # pyright: ignore[reportOptionalSubscript]


def test_the_sentence_names_term_step_rows_and_the_way_on(failed):
    run, said = failed
    assert said.count("\n") == 1
    assert len(said) <= 301
    assert re.search(r"At step 14 the \w+ term, .*, became nan \(in a batch of rows \d+", said)
    assert "the best weights of the first 12 steps are kept" in said
    assert f"{run} --lr 0.0002`" in said


def test_the_best_of_the_good_weights_are_kept(failed):
    run = Run.open(failed[0])
    records = run.metrics()
    assert [r["step"] for r in records] == [3, 6, 9, 12]
    groups, numbers = run.checkpoint.load()
    assert (numbers["step"], numbers["failure"]["step"]) == (12, BAD_STEP)
    assert all(t.isfinite().all() for tensors in groups.values() for t in tensors.values())
    model, _, weights = read_weights(run.path, run.plan, run.schema)
    expected = groups.get("best", groups["loss"])
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, expected[f"model.{name}"])
    assert str(weights).startswith("The best weights of the first 12 steps. At step 14")


def test_commands_work_and_say_which_weights_they_use(failed, cli, one_mixture, tmp_path):
    run = failed[0]
    for words in (
        ["evaluate", run, "--num-samples", 3, "--limit", 20],
        ["sample", run, "--count", 2, "--out", tmp_path / "x.npz"],
        ["encode", run, "--out", tmp_path / "z.npz"],
    ):
        answer = cli(*words)
        assert answer.code == 0, answer
        assert answer.err.startswith("Weights: The best weights of the first 12 steps. At step 14")
    contents = collect(Run.open(run).fitted())
    assert "first 12 steps" in str(contents.configuration["weights"])


def test_going_on_as_before_is_refused_with_the_way_on(failed, refused):
    sentence = refused("fit", "--resume", failed[0])
    assert "would again; change a setting, as in `lowerbound fit --resume" in sentence
    assert "--lr 0.0002" in sentence
    assert _rows(sentence) == _rows(failed[1])  # of the user's file, both


def test_going_on_with_a_lower_rate_says_where_it_came_from(failed, cli, tmp_path):
    run, new = failed[0], tmp_path / "new"
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    assert cli("fit", "--resume", run, "--lr", 0.0005, "--out", new, "--no-evaluate").code == 0
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before
    made = Run.open(new)
    assert made.config["came_from"] == {"run": str(run), "step": 12, "changed": {"lr": [0.002, 0.0005]}}
    assert [r["step"] for r in made.metrics()] == list(range(EVERY, 61, EVERY))
    assert made.metrics()[:4] == Run.open(run).metrics()
    assert (made.plan.lr, made.plan.given["lr"], made.fitted().weights) == (0.0005, 0.0005, None)
    assert "came_from" in collect(made.fitted()).configuration


def test_a_run_that_fails_before_its_first_record_says_so_and_goes_on_at_a_lower_rate(
    cli, refused, tmp_path, monkeypatch
):
    monkeypatch.setattr(f"{__name__}.BAD_STEP", 1)
    words = ["--steps", 60, "--lr", 0.002, "--out", tmp_path / "run", "--no-evaluate", *TINY]
    assert "no step before it was recorded" in cli("fit", "digits", *words).err
    assert "failed before its first record" in refused("evaluate", tmp_path / "run")
    words = ["fit", "--resume", tmp_path / "run", "--lr", 0.0005, "--steps", 30, "--out", tmp_path / "new"]
    assert cli(*words, "--no-evaluate").code == 0
    assert Run.open(tmp_path / "new").metrics()[-1]["step"] == 30


def test_a_longer_run_goes_on_from_a_finished_one(cli, refused, digits_run, tmp_path):
    new = tmp_path / "new"
    assert cli("fit", "--resume", digits_run, "--steps", 25, "--out", new, "--no-evaluate").code == 0
    assert [r["step"] for r in Run.open(new).metrics()] == list(range(1, 26))
    assert "are asked for in all; give more" in refused(
        "fit", "--resume", digits_run, "--steps", 5, "--out", tmp_path / "shorter"
    )
    assert "has taken 20 steps and 20 are asked for" in refused(
        "fit", "--resume", digits_run, "--lr", 0.01, "--out", tmp_path / "none"
    )
    assert "--out goes with --resume only where" in refused("fit", "--resume", digits_run, "--out", tmp_path / "same")


@pytest.mark.parametrize(
    "words, said",
    [
        (["--strategy", "fsdp"], "there is none here; use ddp"),
        (["--compile", "--accumulate", 2], "compile=True needs one process"),
    ],
)
def test_going_on_in_a_way_that_is_refused_leaves_no_folder(refused, digits_run, tmp_path, words, said):
    new = tmp_path / "new"
    assert said in refused("fit", "--resume", digits_run, *words, "--out", new, "--steps", 25)
    assert not new.exists()


def test_a_branch_without_its_checkpoint_is_not_begun_from_nothing(cli, refused, digits_run, tmp_path):
    new = tmp_path / "new"
    assert cli("fit", "--resume", digits_run, "--steps", 25, "--out", new, "--no-evaluate").code == 0
    (new / "state.safetensors").unlink()
    assert "has lost the checkpoint" in refused("fit", "--resume", new)
    json.loads((new / "run.json").read_text(), parse_constant=pytest.fail)


@pytest.mark.parametrize("words", [("--optimizer", "adam:betas=3"), ("--penalty", "mmd", "--batch-size", 1)])
def test_a_choice_that_is_refused_leaves_no_folder(cli, tmp_path, table, words):
    """It stayed, and the mended command said that it already holds a run."""
    fit = ("fit", table, "--recipe", "vae:latent_dim=2,hidden=[4]", "--steps", 2, "--no-evaluate")
    assert cli(*fit, *words, "--out", tmp_path / "run").code == 2
    assert not (tmp_path / "run").exists()
    assert cli(*fit, "--out", tmp_path / "run").code == 0


def test_the_name_of_a_run_in_which_nothing_was_trained_is_free(cli, tmp_path):
    words = ["--out", tmp_path / "run", "--no-evaluate", *TINY]
    answer = cli("fit", "digits", "--lr", 1e30, "--steps", 400, *words)
    assert answer.code == 1
    assert "no step before it was recorded" in answer.err
    assert "--lr 0.001" in answer.err
    words += ["--steps", 4]
    assert cli("fit", "digits", *words).code == 0
    assert "already holds a run" in cli("fit", "digits", *words).err
