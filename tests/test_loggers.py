"""Loggers write the records of training, once each, and go on where a run is resumed."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

import lowerbound as lb
from lowerbound.cli import main
from lowerbound.gradients import Pathwise
from lowerbound.loggers import CSV, check_logger, recording, values_of
from lowerbound.losses import VariationalLoss
from lowerbound.models import vae
from lowerbound.objectives import ELBO
from lowerbound.training.record import Record

TINY = ["--hidden", "4", "--latent-dim", "2", "--num-samples", "2", "--device", "cpu", "--no-evaluate", "--no-compile"]


def record(step: int, **more: Any) -> Record:
    return Record(
        step=step,
        epoch=step / 10,
        seconds=1.0,
        learning_rate=0.1,
        terms={"bound": -float(step)},
        gradient_norm=2.0,
        **more,
    )


def lines(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def small() -> VariationalLoss:
    return VariationalLoss(vae((3,), latent_dim=2, hidden=[4], likelihood="normal"), ELBO(), Pathwise(), num_samples=1)


def test_train_gives_each_record_to_the_logger_once(tmp_path: Path) -> None:
    x, given = torch.randn(20, 3), {"num_steps": 6, "log_every": 2, "compile": False}
    records = list(lb.train(small(), x, logger=CSV(str(tmp_path)), **given))
    written = lines(tmp_path)
    assert [int(row["step"]) for row in written] == [2, 4, 6]
    for one, row in zip(records, written, strict=True):
        assert {name: float(row[name]) for name in values_of(one)} == values_of(one)
    seen: list[Record] = []
    assert list(lb.train(small(), x, logger=seen.append, **given)) == seen


def test_leaving_early_closes_the_logger() -> None:
    class Closed:
        def __init__(self) -> None:
            self.steps, self.closed = [], 0

        def __call__(self, one: Record) -> None:
            self.steps.append(one.step)

        def close(self) -> None:
            self.closed += 1

    logger = Closed()
    records = lb.train(small(), torch.randn(20, 3), num_steps=9, log_every=1, compile=False, logger=logger)
    for one in records:
        if one.step == 2:
            break
    records.close()
    assert (logger.steps, logger.closed) == ([1, 2], 1)


def test_csv_has_a_column_for_every_number_and_replaces_what_a_resumed_run_repeats(tmp_path: Path) -> None:
    first = CSV(str(tmp_path))
    for one in (record(1), record(2, held_out={"bound": -9.5}), record(3)):
        first(one)
    assert [row["held_out/bound"] for row in lines(tmp_path)] == ["", "-9.5", ""]
    again = CSV(str(tmp_path))
    for one in (record(2, held_out={"bound": -8.0}), record(4)):
        again(one)
    assert [(row["step"], row["held_out/bound"]) for row in lines(tmp_path)] == [("1", ""), ("2", "-8.0"), ("4", "")]


def test_fit_takes_a_name_with_a_folder(tmp_path: Path) -> None:
    fitted = lb.fit(
        torch.randn(30, 3).numpy(), "vae", steps=4, hidden=[4], latent_dim=2, logger=f"csv:folder={tmp_path / 'log'}"
    )
    assert [int(row["step"]) for row in lines(tmp_path / "log")] == [one["step"] for one in fitted.records]


def test_the_command_logs_beside_the_run_and_says_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    assert main(["fit", "digits", "--steps", "40", "--out", str(run), "--logger", "csv", *TINY]) == 0
    assert f"Log: csv in {run / 'logs'}" in capsys.readouterr().out
    steps = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [int(row["step"]) for row in lines(run / "logs")] == steps
    (run / "logs" / "metrics.csv").unlink()
    assert main(["fit", "--resume", str(run), "--logger", "csv", "--no-evaluate"]) == 0  # it is at its end
    assert main(["cite", str(run)]) == 0


@pytest.mark.parametrize(
    "words, sentence",
    [("paper", "There is no logger named 'paper'"), ("csv:colour=red", "csv has no option 'colour'")],
)
def test_the_command_refuses_an_unknown_logger(
    words: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", "digits", "--steps", "4", "--out", str(tmp_path / "run"), "--logger", words, *TINY]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_logger_whose_package_is_missing_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for name in ("tensorboard", "wandb", "mlflow"):
        with pytest.raises(ValueError, match=f"The logger {name} needs the package {name}; install it: pip install"):
            check_logger(name)


def test_words_come_before_what_is_given(tmp_path: Path) -> None:
    with recording(f"csv:folder={tmp_path / 'said'}", folder=str(tmp_path / "given"), config={}) as log:
        log(record(1))
    assert [row["step"] for row in lines(tmp_path / "said")] == ["1"]
    assert not (tmp_path / "given").exists()


def test_without_a_folder_its_option_is_named() -> None:
    with pytest.raises(ValueError, match="csv needs folder; write it as csv:folder=VALUE"), recording("csv"):
        pass


def three(logger: Any) -> None:
    with recording(logger) as log:
        for one in (record(1), record(2, held_out={"bound": -9.5}), record(3)):
            log(one)


def test_tensorboard_holds_the_curves(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    three(f"tensorboard:folder={tmp_path}")
    found = EventAccumulator(str(tmp_path))
    found.Reload()
    assert [(point.step, point.value) for point in found.Scalars("bound")] == [(1, -1.0), (2, -2.0), (3, -3.0)]
    assert [(point.step, point.value) for point in found.Scalars("held_out/bound")] == [(2, -9.5)]


def test_wandb_keeps_an_offline_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="wandb is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    three(f"wandb:folder={tmp_path},project=ours")
    run = (tmp_path / "wandb-run").read_text()
    three(f"wandb:folder={tmp_path},project=ours")
    files = sorted((tmp_path / "wandb").glob(f"offline-run-*-{run}/run-{run}.wandb"))
    assert files
    assert all(b"held_out/bound" in file.read_bytes() for file in files)


def test_mlflow_holds_the_curves(tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed")
    mlflow.set_tracking_uri(None)
    with recording("mlflow", folder=str(tmp_path), run_name="run", config={"lr": 0.1}) as log:
        for step in (1, 2, 3):
            log(record(step))
    run = mlflow.MlflowClient().get_run((tmp_path / "mlflow-run").read_text())
    assert (run.data.params["lr"], run.info.status, run.info.run_name) == ("0.1", "FINISHED", "run")
    history = mlflow.MlflowClient().get_metric_history(run.info.run_id, "bound")
    assert [(point.step, point.value) for point in history] == [(1, -1.0), (2, -2.0), (3, -3.0)]
    assert math.isclose(run.data.metrics["epoch"], 0.3)
