"""`lowerbound fit` from its options to its files, and going on after every kind of stop."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lowerbound.cli import main
from lowerbound.cli.progress import TrainingProgress
from lowerbound.fitting import low_precision, stages
from lowerbound.models import vae
from lowerbound.models.recipe import Recipe
from lowerbound.recipes import recipes
from lowerbound.runs import Run
from lowerbound.training.record import Record

from .conftest import TINY


def _same(one: Path, other: Path) -> None:
    """The same weights and records, bit for bit; only the time that was spent may differ."""
    assert (one / "model.safetensors").read_bytes() == (other / "model.safetensors").read_bytes()
    records = [[{**r, "seconds": 0} for r in Run.open(path).metrics()] for path in (one, other)]
    assert records[0] == records[1]


@pytest.mark.drawn
def test_fit_scores_and_reports(cli, one_mixture, tmp_path, monkeypatch):
    monkeypatch.setattr("lowerbound.verbs.effort._MOST", 20)
    answer = cli("fit", "digits", "--steps", 20, "--out", tmp_path / "run", *TINY)
    assert (answer.code, answer.err) == (0, "")
    run = Run.open(tmp_path / "run")
    scores = run.evaluation()
    assert scores is not None
    assert set(scores["baselines"]) == {"independent elements", "bernoulli mixture"}
    assert f"{scores['log_evidence']:.2f}" in answer.out
    assert f"Report: {tmp_path / 'run' / 'report.html'}" in answer.out
    page = (tmp_path / "run" / "report.html").read_text()
    assert "No scores" not in page
    assert "bernoulli mixture" in page.lower()
    assert "1,437 images of 8 x 8" in answer.out
    assert "anew at every visit" in answer.out
    assert re.search(r"Model: vae \([\d,]+ parameters\), .* hidden 8, latent-dim 2; iwae with 2 samples", answer.out)
    assert "Decided: likelihood bernoulli: the data are of kind image" in answer.out


def test_plain_lines_tell_the_last_step_and_no_more_than_twenty_one(cli, tmp_path):
    out = cli("fit", "digits", "--steps", 30, "--out", tmp_path / "run", "--no-evaluate", *TINY).out
    lines = re.findall(r"^step (\d+)/30  bound -\d", out, flags=re.M)
    assert lines[-1] == "30"
    assert len(lines) <= 21
    assert "\x1b" not in out


def test_default_folder_is_named_after_data_and_time(cli, table, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli("fit", table, "--label", "species", "--steps", 2, "--no-evaluate", *TINY).code == 0
    (run,) = (tmp_path / "runs").iterdir()
    assert re.fullmatch(r"flowers-\d{8}-\d{6}", run.name)
    assert Run.open(run).config["data"]["path"] == str(table)


def test_every_option_reaches_the_plan(cli, tmp_path):
    options = {
        "--likelihood": "normal:scale=0.5", "--prior": "standard-normal", "--posterior": "diagonal-normal",
        "--network": "mlp", "--activation": "tanh", "--latent-dim": "3", "--hidden": "5-4",
        "--objective": "elbo:rate=kl", "--gradient": "pathwise", "--num-samples": "2", "--binarization": "none",
        "--batch-size": "32", "--epochs": "0.1", "--lr": "0.01", "--lr-schedule": "constant", "--clip-norm": "3",
        "--optimizer": "adamw", "--accumulate": "2", "--ema": "0.9",
        "--skip-above": "20",
        "--patience": "4", "--seed": "5", "--device": "cpu", "--precision": "bf16", "--devices": "1",
    }  # fmt: skip
    words = [word for pair in options.items() for word in pair]
    assert cli("fit", "digits", "--out", tmp_path / "run", "--no-evaluate", "--no-compile", *words).code == 0
    planned = Run.open(tmp_path / "run").plan.to_json()
    model, given, reasons = (planned.pop(name) for name in ("model", "given", "reasons"))
    assert (len(given), reasons) == (len(options) + 1, {})
    assert model == {
        "likelihood": "normal:scale=0.5", "prior": "standard-normal", "posterior": "diagonal-normal", "network": "mlp",
        "activation": "tanh", "latent_dim": 3, "hidden": [5, 4], "missingness": None,
    }  # fmt: skip
    assert planned == {
        "penalty": None, "inference": None, "loss": "variational", "labelled": None, "freeze": (),
        "recipe": "vae", "objective": "elbo:rate=kl", "gradient": "pathwise", "num_samples": 2, "binarization": "none",
        "standardize": False, "log_columns": (), "batch_size": 32, "steps": 5, "lr": 0.01, "lr_schedule": "constant",
        "optimizer": "adamw", "accumulate": 2, "ema": 0.9, "skip_above": 20.0,
        "clip_norm": 3.0, "patience": 4, "seed": 5, "device": "cpu", "precision": "bf16", "devices": 1,
        "strategy": "ddp", "compile": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    "words, expected",
    [
        ([], ("iwae", "dreg", 8)),
        (["--objective", "elbo"], ("elbo:rate=kl", "pathwise", 1)),  # KL(q ‖ p) has a closed form
        (["--num-samples", "3", "--gradient", "pathwise"], ("iwae", "pathwise", 3)),
    ],
)
def test_gradient_and_samples_follow_the_objective(cli, tmp_path, words, expected):
    assert cli("fit", "digits", "--steps", 1, "--hidden", 4, "--out", tmp_path / "r", "--no-evaluate", *words).code == 0
    planned = Run.open(tmp_path / "r").plan
    assert (planned.objective, planned.gradient, planned.num_samples) == expected


def test_early_stopping_is_told_and_final(cli, tmp_path):
    words = ["fit", "digits", "--steps", 400, "--lr", 1, "--patience", 1, "--out", tmp_path / "run", "--no-evaluate"]
    answer = cli(*words, *TINY)
    assert answer.code == 0
    assert "no better held-out bound in 1 evaluations" in answer.out
    before = (tmp_path / "run" / "model.safetensors").read_bytes()
    assert cli("fit", "--resume", tmp_path / "run", "--no-evaluate").code == 0
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == before


def test_the_same_seed_gives_the_same_files_and_another_does_not(digits_run, tmp_path, cli):
    for name, seed in (("same", 0), ("other", 1)):
        words = ["fit", "digits", "--steps", 20, "--seed", seed, "--out", tmp_path / name, "--no-evaluate"]
        assert cli(*words, *TINY).code == 0
    _same(digits_run, tmp_path / "same")
    one, same = (json.loads((run / "run.json").read_text()) for run in (digits_run, tmp_path / "same"))
    assert same["plan"]["given"].pop("seed") == 0  # it was said there, and left open here
    assert one == same
    assert (digits_run / "model.safetensors").read_bytes() != (tmp_path / "other" / "model.safetensors").read_bytes()


def test_resuming_a_finished_run_changes_nothing(digits_run, tmp_path, cli):
    run = shutil.copytree(digits_run, tmp_path / "run")
    assert cli("fit", "--resume", run, "--no-evaluate").code == 0
    assert {p.name: p.read_bytes() for p in run.iterdir()} == {p.name: p.read_bytes() for p in digits_run.iterdir()}


@pytest.fixture
def interrupted_at_7(monkeypatch):
    """A function that lets a signal come at step 7, to a process that handles it in a given way; undone at the end."""
    update, before = TrainingProgress.update, {}

    def interrupt(number: int, handler: Any) -> None:
        def update_and_interrupt(self: TrainingProgress, record: Record) -> None:
            update(self, record)
            if record.step == 7:
                os.kill(os.getpid(), number)

        before[number] = signal.signal(number, handler)
        monkeypatch.setattr(TrainingProgress, "update", update_and_interrupt)

    yield interrupt
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_run_under_nohup_goes_on(digits_run, tmp_path, cli, interrupted_at_7):
    interrupted_at_7(signal.SIGHUP, signal.SIG_IGN)
    assert cli("fit", "digits", "--steps", 20, "--out", tmp_path / "run", "--no-evaluate", *TINY).code == 0
    _same(digits_run, tmp_path / "run")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interruption_saves_and_resumes_to_the_same_bits(digits_run, tmp_path, cli, interrupted_at_7, number):
    interrupted_at_7(number, signal.SIG_DFL)
    before = signal.getsignal(number)
    answer = cli("fit", "digits", "--steps", 20, "--out", tmp_path / "run", "--no-evaluate", *TINY)
    assert answer.code == 130
    assert answer.err.count("\n") == 1
    assert re.search(r"Stopped at step [78] of 20 and saved; .*--resume", answer.err)
    assert signal.getsignal(number) is before
    assert not (tmp_path / "run" / "model.safetensors").exists()
    assert cli("fit", "--resume", tmp_path / "run", "--no-evaluate").code == 0
    _same(digits_run, tmp_path / "run")


def test_a_run_in_the_precision_that_was_chosen_for_it_resumes_to_the_same_bits(
    tmp_path, cli, interrupted_at_7, monkeypatch
):
    monkeypatch.setattr(low_precision, "multiplies_bf16", lambda: True)
    x = torch.rand(60, 16, 16, generator=torch.Generator().manual_seed(0)).round().numpy()
    np.save(tmp_path / "x.npy", x)
    said = ["--recipe", "vae", "--objective", "elbo", "--hidden", 256, "--latent-dim", 2, "--device", "cpu"]
    words = ["fit", tmp_path / "x.npy", *said, "--steps", 9, "--no-evaluate", "--out"]
    assert cli(*words, tmp_path / "whole").code == 0
    interrupted_at_7(signal.SIGTERM, signal.SIG_DFL)
    assert cli(*words, tmp_path / "run").code == 130
    monkeypatch.setattr(low_precision, "multiplies_bf16", lambda: False)  # as on the machine that resumes it
    assert cli("fit", "--resume", tmp_path / "run", "--no-evaluate").code == 0
    assert Run.open(tmp_path / "run").plan.precision == "bf16"
    _same(tmp_path / "whole", tmp_path / "run")


@pytest.fixture
def heeded():
    """SIGINT as a terminal leaves it: a shell starts what it puts in the background with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeded")
def test_a_second_interruption_stops_at_once_and_resumes(digits_run, tmp_path, cli, monkeypatch):
    monkeypatch.setattr("lowerbound.cli.interrupt._SAME_REQUEST", 0.0)

    def twice(self: TrainingProgress, record: Record) -> None:
        if record.step == 7:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingProgress, "update", twice)
        answer = cli("fit", "digits", "--steps", 20, "--out", tmp_path / "run", "--no-evaluate", *TINY)
    assert (answer.code, answer.err.count("\n")) == (130, 1)
    assert "Stopped at once" in answer.err
    assert cli("fit", "--resume", tmp_path / "run", "--no-evaluate").code == 0
    _same(digits_run, tmp_path / "run")


def test_an_interruption_while_scoring_keeps_the_model(cli, tmp_path, monkeypatch):
    def interrupted(*given: object, **named: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lowerbound.cli.training.score_fitted", interrupted)
    answer = cli("fit", "digits", "--steps", 3, "--out", tmp_path / "run", *TINY)
    assert (answer.code, answer.err.count("\n")) == (130, 1)
    assert "lowerbound evaluate" in answer.err
    assert Run.open(tmp_path / "run").finished


_DRIVER = """
import dataclasses, sys
from pathlib import Path
from typing import Any
import torch
torch.set_num_threads(1)
from lowerbound.fitting.preparing import prepare
from lowerbound.runs import Run
run = Run.open(Path(sys.argv[1]))
run.checkpoint = dataclasses.replace(run.checkpoint, every=0)
engine = run.plan.engine()
for record in run.fit(prepare(run.dataset, run.plan, engine), engine):
    print(record.step, flush=True)
"""


def _kill_at(run: Path, step: int) -> int:
    """Go on with a run that saves at every record, kill it when it has told a step; the last step it told."""
    process = subprocess.Popen([sys.executable, "-c", _DRIVER, str(run)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    last = 0
    for line in process.stdout:
        last = int(line)
        if last >= step:
            process.kill()
    process.wait()
    process.stdout.close()
    assert process.returncode == -signal.SIGKILL
    return last


def _new_run(path: Path, like: Path) -> Path:
    """A folder in which nothing has happened yet, with the configuration of another run."""
    path.mkdir()
    shutil.copy(like / "run.json", path)
    return path


@pytest.mark.slow  # moments at random are in test_kills
def test_kills_lose_nothing(digits_run, tmp_path, cli):
    run = _new_run(tmp_path / "run", digits_run)
    _kill_at(run, 3)
    assert _kill_at(run, 9) >= 9  # a second life, killed again
    (run / ".state.safetensors.partial").write_bytes(b"half a checkpoint")
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 12, "epo')  # a line cut short
    assert cli("fit", "--resume", run, "--no-evaluate").code == 0
    _same(digits_run, run)


@pytest.mark.slow
def test_kills_lose_nothing_compiled(tmp_path):
    def command(*words: object) -> None:  # the type checks of the tests cannot be compiled, so in another process
        subprocess.run([sys.executable, "-m", "lowerbound", *map(str, words)], check=True, stdout=subprocess.DEVNULL)

    whole = tmp_path / "whole"
    command(
        "fit", "digits", "--steps", 20, "--no-evaluate", "--compile", "--gradient", "pathwise", "--out", whole, *TINY
    )
    run = _new_run(tmp_path / "run", whole)
    _kill_at(run, 5)
    command("fit", "--resume", run, "--no-evaluate")
    _same(whole, run)


@pytest.mark.parametrize("file", ["state.safetensors", "model.safetensors"])
def test_a_full_disk_is_one_sentence_and_the_run_goes_on_from_its_checkpoint(digits_run, tmp_path, cli, file):
    """A limit on the size of files, between the size of the records and that of the weights, stands for the disk."""
    run = shutil.copytree(digits_run, tmp_path / "run")
    saved = (run / "state.safetensors").read_bytes()
    if file == "state.safetensors":
        run = _new_run(tmp_path / "new", digits_run)
    (run / "model.safetensors").unlink(missing_ok=True)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000 if file == "model.safetensors" else 9000, before[1]))
    try:
        if file == "model.safetensors":
            (run / "metrics.jsonl").write_text("")
        answer = cli("fit", "--resume", run, "--no-evaluate")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert f"{run / file} (File too large)" in answer.err
    assert not list(run.glob(".*.partial"))
    if file == "model.safetensors":
        assert (run / "state.safetensors").read_bytes() == saved
    assert cli("fit", "--resume", run, "--no-evaluate").code == 0
    assert (run / "model.safetensors").read_bytes() == (digits_run / "model.safetensors").read_bytes()


class _Spoilt(torch.nn.Module):
    """A likelihood whose parameters are not a number once it has been called some times in training."""

    def __init__(self, likelihood: torch.nn.Module, calls: int):
        super().__init__()
        self.likelihood, self.left = likelihood, calls
        self.facts, self.support = likelihood.facts, likelihood.support

    def forward(self, context: torch.Tensor) -> torch.distributions.Distribution:
        self.left -= self.training
        return self.likelihood(context * float("nan") if self.left < 0 else context)


def test_a_bad_number_stops_the_run_names_the_term_and_keeps_the_checkpoint(cli, tmp_path, monkeypatch):
    def spoilt(event_shape: tuple[int, ...], *, latent_dim: int = 2, hidden: list[int] | None = None) -> object:
        model = vae(event_shape, latent_dim=latent_dim, hidden=hidden or [8])
        assert isinstance(model.likelihood, torch.nn.Module)
        model.likelihood = _Spoilt(model.likelihood, calls=51)
        return model

    run = tmp_path / "run"
    words = ["fit", "digits", "--recipe", "spoilt", "--steps", 200, "--out", run, "--no-evaluate", *TINY]
    with monkeypatch.context() as patch:
        patch.setitem(recipes(), "spoilt", Recipe(name="spoilt", make=spoilt))
        patch.setattr("lowerbound.runs.run.Checkpoint", lambda path: stages.Checkpoint(path=path, every=0.0))
        answer = cli(*words)
    assert (answer.code, answer.err.count("\n")) == (1, 1), answer.err
    assert "likelihood term, log p(x | z)," in answer.err
    step = int(re.findall(r"At step (\d+)", answer.err)[0])
    _, numbers = Run.open(run).checkpoint.load()
    assert 0 <= step - numbers["step"] < 10  # ten steps between records
    assert Run.open(run).metrics()[-1]["step"] == numbers["step"]


def test_main_reads_the_words_of_the_process(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["lowerbound", "--version"])
    assert main() == 0
    assert capsys.readouterr().out.startswith("lowerbound ")


def test_run_json_holds_nothing_that_is_not_json(digits_run):
    json.loads((digits_run / "run.json").read_text(), parse_constant=pytest.fail)


@pytest.mark.parametrize(
    "options, words",
    [
        (["--hidden", "8"], "numbers and more, and there is none here; use ddp"),
        (["--hidden", "1024", "--loss", "autoencoding"], "this is Autoencoding; use ddp"),
        (["--hidden", "1024", "--optimizer", "rmsprop"], "There is no optimizer named 'rmsprop'"),
        (["--recipe", "two-stage:hidden=[1024]"], "fsdp trains in one stage and two-stage has two; use ddp"),
    ],
)
def test_what_cannot_be_divided_is_refused_before_there_is_a_folder(refused, tmp_path, options, words):
    told = refused("fit", "digits", "--strategy", "fsdp", *options, "--steps", 2, "--out", tmp_path / "run")
    assert words in told
    assert not (tmp_path / "run").exists()
