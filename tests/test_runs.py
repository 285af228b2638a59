from __future__ import annotations

import errno
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from lowerbound.data import DataError, load, read_file
from lowerbound.fitted import Fitted
from lowerbound.fitting.planning import Plan, plan
from lowerbound.fitting.preparing import Training, prepare
from lowerbound.runs import Run, RunError, load_dataset
from lowerbound.runs.folders import write_model
from lowerbound.training.checkpoint import CheckpointError
from lowerbound.training.engine import Engine
from lowerbound.training.held_out import HeldOut, held_out_terms

CPU = Engine(device="cpu")
SMALL = {"latent_dim": 2, "hidden": [8], "steps": 6, "device": "cpu"}


def _plan(**given: object) -> Plan:
    return plan(load("digits"), **{**SMALL, **given})


def _new(path: Path, **given: object) -> Run:
    return Run.create(path, _plan(**given), {"name": "digits"}, load("digits"))


def _training(run: Run) -> Training:
    return prepare(run.dataset, run.plan, CPU)


def _events(fitted: Fitted, seed: int | None = None) -> torch.Tensor:
    return fitted.events(fitted.test_rows().x, seed)


@pytest.fixture
def trained(tmp_path: Path) -> Run:
    run = _new(tmp_path / "run")
    for _ in run.fit(_training(run), CPU):
        pass
    return run


def test_a_run_opens_as_it_was_made(tmp_path):
    made = _new(tmp_path / "a" / "b")
    opened = Run.open(tmp_path / "a" / "b")
    assert opened.plan == made.plan == _plan()
    assert opened.config == json.loads(json.dumps(made.config))
    assert opened.config["data"]["checksum"] == load("digits").checksum
    assert opened.schema == made.schema == load("digits").schema
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
    problem = _training(run)
    records = list(run.fit(problem, CPU))
    model = run.fitted().model
    assert not model.training
    for name, tensor in problem.loss.model.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor)
    problem.loss.model.load_state_dict(model.state_dict())
    again = held_out_terms(problem.loss, HeldOut(source=problem.held_out, every=1), run.plan.seed, CPU)
    best = max(r.held_out["bound"] for r in records if r.held_out is not None)
    assert again["bound"] == pytest.approx(best, abs=1e-6)


def test_lines_that_cannot_be_read_are_left_out_and_told(trained):
    path = trained.path / "metrics.jsonl"
    whole = path.read_text()
    path.write_text(whole + whole.splitlines()[-1][:20] + "\nno json\n")
    fitted = Run.open(trained.path).fitted()
    assert len(fitted.records) == len(whole.splitlines())
    assert fitted.notes == ("2 lines of metrics.jsonl cannot be read, and what follows on training lacks them.",)
    page = fitted.report(trained.path / "page.html").read_text()
    assert "2 lines of metrics.jsonl cannot be read" in page


def test_messages_call_a_run_by_its_folder_and_not_by_its_data(trained):
    with pytest.raises(ValueError, match=rf"The run {trained.path} was fitted without labels; leave out the class"):
        trained.fitted().sample(label="3")


def test_metrics_are_the_records(tmp_path):
    run = _new(tmp_path / "run")
    records = list(run.fit(_training(run), CPU))
    metrics = run.metrics()
    assert [m["step"] for m in metrics] == [r.step for r in records] == [1, 2, 3, 4, 5, 6]
    assert metrics[-1]["terms"] == records[-1].terms
    assert metrics[-1]["held_out"] == records[-1].held_out


def test_leaving_early_saves_and_a_second_life_forgets_what_was_lost(tmp_path):
    run = _new(tmp_path / "run")
    for record in run.fit(_training(run), CPU):
        if record.step == 3:
            break
    assert run.checkpoint.load()[1]["step"] == 3
    assert not run.finished
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "lost": true}\n{"step": 5, "lo')
    again = Run.open(run.path)
    list(again.fit(_training(again), CPU))
    assert [m["step"] for m in again.metrics()] == [1, 2, 3, 4, 5, 6]
    assert not any("lost" in m for m in again.metrics())


def test_a_disk_that_refuses_the_save_on_leaving_is_told(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    run = _new(tmp_path / "run")
    records = run.fit(_training(run), CPU)
    next(records)
    monkeypatch.setattr("lowerbound.training.checkpoint.os.fsync", refuse)
    with pytest.raises(CheckpointError, match=r"Could not save .* \(No space left .*\); nothing was saved before"):
        records.close()


def test_no_model_before_the_end(tmp_path):
    with pytest.raises(RunError, match="has no trained model yet; finish it with"):
        _new(tmp_path / "run").fitted()


def test_damaged_files_are_one_sentence(trained):
    (trained.path / "model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(RunError, match="is damaged"):
        trained.fitted()
    (trained.path / "state.safetensors").write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match="is not a checkpoint"):
        list(trained.fit(_training(trained), CPU))


def test_files_without_permission_are_not_called_damaged_or_missing(trained, monkeypatch):
    opened = Path.open

    def refuse(path, *args, **kwargs):
        if path.suffix == ".safetensors":
            raise PermissionError(errno.EACCES, "Permission denied")
        return opened(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(RunError, match=r"model.safetensors is not readable \(Permission denied\)"):
        trained.fitted()
    with pytest.raises(CheckpointError, match=r"state.safetensors is not readable \(Permission denied\)"):
        list(trained.fit(_training(trained), CPU))


def test_the_test_rows_are_binarized_alike_at_every_call_and_not_by_the_callers_state(trained):
    fitted, before = trained.fitted(), torch.get_rng_state()
    first, again = _events(fitted), _events(fitted)
    assert torch.equal(first, again)
    assert not torch.equal(first, _events(fitted, 1))
    assert set(first.unique().tolist()) == {0.0, 1.0}
    assert (torch.get_rng_state() == before).all()
    mean = torch.stack([_events(fitted, seed) for seed in range(200)]).mean(0)
    assert (mean - torch.as_tensor(load("digits").x_test)).abs().max() < 0.25


def test_a_standardised_table_comes_back_on_its_own_scale(tmp_path):
    x = np.random.default_rng(0).normal([5, -3], [2, 0.1], size=(50, 2)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    data, dataset = {"path": str(tmp_path / "x.npy")}, read_file(tmp_path / "x.npy")
    run = Run.create(tmp_path / "run", plan(dataset, **SMALL), data, dataset)
    list(run.fit(_training(run), CPU))
    fitted = Run.open(run.path).fitted()
    rows = fitted.events(fitted.rows(x).x)
    assert rows.abs().mean() < 2
    np.testing.assert_allclose(fitted.stored(rows), x, rtol=1e-4, atol=1e-5)


def test_changed_data_are_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.eye(9))
    data = {"path": str(tmp_path / "x.npy"), "label": None}
    run = Run.create(tmp_path / "run", plan(load_dataset(data), **SMALL), data, load_dataset(data))
    np.save(tmp_path / "x.npy", 1 - np.eye(9))
    with pytest.raises(DataError, match="has changed since the run began"):
        _ = Run.open(run.path).dataset


def test_evaluations_come_back(trained):
    trained.save_evaluation({"elbo": -1.5, "baselines": {}})
    assert trained.evaluation() == {"elbo": -1.5, "baselines": {}}
    assert not list(trained.path.glob(".*partial*"))


@pytest.mark.parametrize("content", ["[]", '{"format": 3}', "{}"])
def test_other_folders_are_refused(tmp_path, content):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(RunError, match=r"another format|does not hold a run"):
        Run.open(tmp_path)


def test_nothing_in_a_run_is_a_pickle(trained):
    for path in trained.path.iterdir():
        content = path.read_bytes()
        assert content[:1] != b"\x80", path
        assert content[:2] != b"PK", path
    json.loads((trained.path / "run.json").read_text(), parse_constant=pytest.fail)


def test_a_run_is_opened_by_a_string_too(trained):
    """The report: `Run.open("str")` was an AttributeError."""
    assert Run.open(str(trained.path)).plan == trained.plan


@pytest.mark.parametrize(
    "alter, part",
    [
        (lambda c: c["plan"].pop("steps"), "The plan has no 'steps'"),
        (lambda c: c["plan"].update(warp=9), "has the setting 'warp', which this version does not know"),
        (lambda c: c["plan"].update(lr="fast"), "got lr='fast' and expected a number"),
        (lambda c: c["plan"]["model"].update(width=3), "has no option 'width'"),
        (lambda c: c["plan"].update(recipe="gan"), "no recipe named 'gan'"),
        (lambda c: c.pop("schema"), "was altered or cut short"),
        (lambda c: c["schema"].pop("kind"), "The schema of the data is not readable"),
        (lambda c: c["schema"].update(event_shape=[9, 9]), "do not fit the model of its run.json"),
        (lambda c: c.pop("data"), "was altered or cut short"),
        (lambda c: c["data"].update(checksum=3), "the 'checksum' of its data is 3, expected a word"),
        (lambda c: c["data"].pop("checksum"), "lacks the 'checksum' of its data"),
        (lambda c: c["data"].update(path=7), "the 'path' of its data is 7, expected a word"),
        (lambda c: c["data"].update(path=None), "the 'path' of its data is None, expected a word"),
        (lambda c: c["plan"].update(reasons={"warp": "fast"}), "has a reason for 'warp', no setting of it"),
        (lambda c: c["schema"].update(kind="table"), r"not readable \('columns' is missing\)"),
        (lambda c: c.pop("name"), "lacks 'name'; it was altered or cut short"),
        (lambda c: c.pop("versions"), "lacks 'versions'; it was altered or cut short"),
        (lambda c: c.update(command=5), "'command' is 5, expected a word or None"),
        (lambda c: c.update(schema=5), "'schema' is 5, expected names and values"),
        (lambda c: c["schema"].update(columns=5), r"not readable \(Column is 5, expected a list\)"),
        (lambda c: c["schema"].update(columns=[5]), r"not readable \(Column is 5, expected names and values\)"),
        (lambda c: c["schema"].update(left_out=[{"name": "a"}]), r"not readable \('reason' is missing\)"),
        (lambda c: c["schema"].update(kind=5), r"not readable \(kind is 5, expected a word\)"),
        (lambda c: c["plan"].update(batch_size=0), "got batch_size=0 and needs at least 1"),
        (lambda c: c["plan"].update(model=5), "got model=5 and expected names and values"),
        (lambda c: c.update(plan=None), "built in Python; open it with Fitted.open"),
        (lambda c: c.update(plan=[]), r"'plan' is \[\], expected names and values"),
    ],
)
def test_an_altered_run_is_one_sentence(trained, alter, part):
    content = json.loads((trained.path / "run.json").read_text())
    alter(content)
    (trained.path / "run.json").write_text(json.dumps(content))
    with pytest.raises(RunError, match=part):
        Run.open(trained.path).fitted()


def test_weights_that_are_not_a_number_are_refused(trained):
    model = trained.fitted().model
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    write_model(trained.path, model, trained.fitted().transform)
    with pytest.raises(RunError, match="hold NaN"):
        trained.fitted()


def test_a_folder_that_another_process_takes_meanwhile_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The owner of a folder sweeps away what others were about to move there, so that their file is gone."""

    def too_late(path: Path, content: bytes, *, new: bool) -> None:
        path.write_bytes(content)
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    monkeypatch.setattr("lowerbound.runs.run.write_atomically", too_late)
    with pytest.raises(RunError, match="was taken by another process just now; choose another folder"):
        _new(tmp_path / "run")
