from __future__ import annotations

import errno
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from lowerbound.checkpoint import CheckpointError
from lowerbound.data import DataError, load, read_file
from lowerbound.engine import Engine
from lowerbound.fitting import Settings
from lowerbound.loop import held_out_terms
from lowerbound.runs import Run, RunError, load_dataset

CPU = Engine(device="cpu")
MODEL = {"latent_dim": 2, "hidden": [8], "likelihood": "bernoulli"}


def _settings(**given: object) -> Settings:
    return Settings(**{"model": MODEL, "steps": 6, "device": "cpu", **given})  # type: ignore[arg-type]


def _new(path: Path, **given: object) -> Run:
    return Run.create(path, _settings(**given), {"name": "digits"}, load("digits"))


@pytest.fixture
def trained(tmp_path: Path) -> Run:
    run = _new(tmp_path / "run")
    for _ in run.fit(run.prepare(run.dataset(), CPU), CPU):
        pass
    return run


def test_a_run_opens_as_it_was_made(tmp_path):
    made = _new(tmp_path / "a" / "b")
    opened = Run.open(tmp_path / "a" / "b")
    assert opened.settings == made.settings == _settings()
    assert opened.config == made.config
    assert opened.config["data"]["checksum"] == load("digits").checksum
    assert opened.config["event_shape"] == [8, 8]
    assert set(opened.config["versions"]) >= {"python", "torch", "lowerbound"}
    assert (opened.finished, opened.metrics(), opened.evaluation()) == (False, [], None)


@pytest.mark.parametrize("name", ["run.json", "model.safetensors", "state.safetensors", "report.html"])
def test_a_folder_with_anything_of_a_run_is_taken(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(RunError, match=f"already holds a run \\({name}\\)"):
        _new(tmp_path)
    assert (tmp_path / name).read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_of_other_things_is_not(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    assert _new(tmp_path).path == tmp_path


def test_the_model_comes_back_with_its_weights_and_its_bound(tmp_path):
    run = _new(tmp_path / "run")
    problem = run.prepare(run.dataset(), CPU)
    records = list(run.fit(problem, CPU))
    model = run.load_model()
    assert not model.training
    for name, tensor in problem.loss.model.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor)
    problem.loss.model.load_state_dict(model.state_dict())
    from lowerbound.loop import HeldOut

    again = held_out_terms(problem.loss, HeldOut(source=problem.held_out, every=1), run.settings.seed, CPU)
    best = max(r.held_out["bound"] for r in records if r.held_out is not None)
    assert again["bound"] == pytest.approx(best, abs=1e-6)


def test_metrics_are_the_records(tmp_path):
    run = _new(tmp_path / "run")
    records = list(run.fit(run.prepare(run.dataset(), CPU), CPU))
    metrics = run.metrics()
    assert [m["step"] for m in metrics] == [r.step for r in records] == [1, 2, 3, 4, 5, 6]
    assert metrics[-1]["terms"] == records[-1].terms
    assert metrics[-1]["held_out"] == records[-1].held_out


def test_leaving_early_saves_and_a_second_life_forgets_what_was_lost(tmp_path):
    run = _new(tmp_path / "run")
    for record in run.fit(run.prepare(run.dataset(), CPU), CPU):
        if record.step == 3:
            break
    assert run.checkpoint.load()[1]["step"] == 3
    assert not run.finished
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "lost": true}\n{"step": 5, "lo')
    again = Run.open(run.path)
    list(again.fit(again.prepare(again.dataset(), CPU), CPU))
    assert [m["step"] for m in again.metrics()] == [1, 2, 3, 4, 5, 6]
    assert not any("lost" in m for m in again.metrics())


def test_a_disk_that_refuses_the_save_on_leaving_is_told(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    run = _new(tmp_path / "run")
    records = run.fit(run.prepare(run.dataset(), CPU), CPU)
    next(records)
    monkeypatch.setattr("lowerbound.checkpoint.os.fsync", refuse)
    with pytest.raises(CheckpointError, match=r"Could not save .* \(No space left .*\); nothing was saved before"):
        records.close()


def test_no_model_before_the_end(tmp_path):
    with pytest.raises(RunError, match="has no trained model yet; finish it with"):
        _new(tmp_path / "run").load_model()


def test_damaged_files_are_one_sentence(trained):
    (trained.path / "model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(RunError, match="is damaged"):
        trained.load_model()
    (trained.path / "state.safetensors").write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match="is not a checkpoint"):
        list(trained.fit(trained.prepare(trained.dataset(), CPU), CPU))


def test_the_test_rows_are_binarized_alike_at_every_call_and_not_by_the_callers_state(trained):
    before = torch.get_rng_state()
    first, again = trained.test_tensor(), trained.test_tensor()
    assert torch.equal(first, again)
    assert not torch.equal(first, trained.test_tensor(seed=1))
    assert set(first.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(trained.test_tensor(5), first[:5]) or trained.test_tensor(5).shape == (5, 8, 8)
    assert (torch.get_rng_state() == before).all()
    mean = torch.stack([trained.test_tensor(seed=s) for s in range(200)]).mean(0)
    assert (mean - torch.as_tensor(load("digits").x_test)).abs().max() < 0.25


def test_a_standardised_table_comes_back_on_its_own_scale(tmp_path):
    x = np.random.default_rng(0).normal([5, -3], [2, 0.1], size=(50, 2)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    data = {"path": str(tmp_path / "x.npy"), "label": None}
    settings = _settings(model={**MODEL, "likelihood": "normal"})
    run = Run.create(tmp_path / "run", settings, data, read_file(tmp_path / "x.npy"))
    list(run.fit(run.prepare(run.dataset(), CPU), CPU))
    transform = run.load_transform()
    rows = run.transformed(x)
    assert rows.abs().mean() < 2
    torch.testing.assert_close(transform.inverse(rows), torch.as_tensor(x), rtol=1e-4, atol=1e-5)


def test_changed_data_are_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.eye(9))
    data = {"path": str(tmp_path / "x.npy"), "label": None}
    run = Run.create(tmp_path / "run", _settings(), data, load_dataset(data))
    np.save(tmp_path / "x.npy", 1 - np.eye(9))
    with pytest.raises(DataError, match="has changed since the run began"):
        run.dataset()


def test_evaluations_come_back(trained):
    trained.save_evaluation({"elbo": -1.5, "baselines": {}})
    assert trained.evaluation() == {"elbo": -1.5, "baselines": {}}
    assert not list(trained.path.glob(".*"))


@pytest.mark.parametrize("content", ["[]", '{"format": 2}', "{}"])
def test_other_folders_are_refused(tmp_path, content):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(RunError, match="another format"):
        Run.open(tmp_path)


def test_nothing_in_a_run_is_a_pickle(trained):
    for path in trained.path.iterdir():
        content = path.read_bytes()
        assert content[:1] != b"\x80", path
        assert content[:2] != b"PK", path
    json.loads((trained.path / "run.json").read_text(), parse_constant=pytest.fail)
