"""Run folders that were altered, cut short or made by somebody else: each is opened, or is one sentence."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lowerbound.cli import main
from lowerbound.run_json import record_of


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("made") / "run"
    words = ["--steps", "20", "--hidden", "8", "--latent-dim", "2", "--device", "cpu", "--no-evaluate"]
    assert main(["fit", "digits", "--out", str(path), *words]) == 0
    (path / "evaluation.json").write_text('{"elbo": -1.5, "log_evidence": -1.2, "baselines": {}}')
    return path


@pytest.fixture
def run(made, tmp_path) -> Path:
    return shutil.copytree(made, tmp_path / "run")


@pytest.fixture
def refusal(capsys):
    def of(*words: object) -> str:
        capsys.readouterr()
        code, said = main([str(word) for word in words]), capsys.readouterr().err
        assert (code, said.count("\n")) == (2, 1), said
        assert len(said) <= 300
        return said

    return of


def _config(run: Path, **changes: object) -> None:
    content = json.loads((run / "run.json").read_text())
    for place, value in changes.items():
        inner, *names = content, *place.split("__")
        for name in names[:-1]:
            inner = inner[name]
        inner[names[-1]] = value
    (run / "run.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    "changes, part",
    [
        ({"plan__warp": 1}, "has the setting 'warp', which this version does not know"),
        ({"plan": 3}, "expected names and values"),
        ({"plan__seed": -1}, "got seed=-1 and needs at least 0"),
        ({"plan__batch_size": 0}, "got batch_size=0 and needs at least 1"),
        ({"plan__model__hidden": [10**9]}, "of memory"),
        ({"schema__event_shape": [-3]}, "rows of shape (-3,)"),
        ({"schema__event_shape": [10**12]}, "of memory"),
        ({"schema__kind": "sound"}, "no kind of data 'sound'"),
        ({"data__path": 7}, "the 'path' of its data is 7, expected a word"),
        ({"came_from": "elsewhere"}, "'came_from' is no object"),
        ({"came_from": {"run": 3}}, "was altered (run: expected a word)"),
        ({"versions": []}, "'versions' is [], expected"),
    ],
)
def test_altered_settings(run, refusal, changes, part):
    _config(run, **changes)
    assert part in refusal("evaluate", run, "--limit", 2, "--num-samples", 2)


@pytest.mark.parametrize(
    "name, content, part",
    [
        ("evaluation.json", '{"elbo": -1.', "evaluation.json is not readable as JSON; delete it and run evaluate"),
        ("evaluation.json", '{"elbo": "low"}', "was altered (elbo: expected"),
        ("evaluation.json", '{"baselines": {"gaussian": 3}}', "was altered (baseline 'gaussian')"),
        ("evaluation.json", "[" * 100_000, "is not readable as JSON"),
        ("run.json", '{"a":' * 50_000, "is not readable as JSON"),
    ],
)
def test_altered_files(run, refusal, name, content, part):
    (run / name).write_text(content)
    assert part in refusal("report", run)


def test_a_last_record_that_was_cut_short_is_left_out(run):
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 21, "ep')
    assert main(["evaluate", str(run), "--limit", "2", "--num-samples", "2"]) == 0


@pytest.mark.parametrize("lost", ["gradient_norm", "terms", "bound"])
def test_a_record_that_lacks_a_part_is_left_out(run, lost):
    line = (run / "metrics.jsonl").read_text().splitlines()[0]
    record = json.loads(line)
    assert record_of(line) == record
    del (record["terms"] if lost == "bound" else record)[lost]
    assert record_of(json.dumps(record)) is None


@pytest.mark.parametrize("alter", ["nan", "infinity", "shape", "missing"])
@pytest.mark.parametrize("command", ["evaluate", "encode", "gradients", "sample"])
def test_weights_that_do_not_fit(run, refusal, command, alter, tmp_path):
    file = run / "model.safetensors"
    from safetensors import safe_open

    with safe_open(file, "pt") as opened:
        metadata = opened.metadata()
    tensors = load_file(file)
    name = next(n for n in tensors if n.endswith("weight"))
    number = {"nan": float("nan"), "infinity": -float("inf")}.get(alter)
    tensors[name] = torch.zeros(1, 1) if number is None else torch.full_like(tensors[name], number)
    if alter == "missing":
        del tensors[name]
    save_file(tensors, file, metadata)
    out = ["--out", tmp_path / "x.npz"] if command in ("encode", "sample") else []
    words = {"nan": "hold NaN", "infinity": "hold infinity"}.get(alter, "do not fit the model")
    assert words in refusal(command, run, *out)


@pytest.mark.parametrize("alter", ["step", "best", "optimizer", "number"])
def test_a_checkpoint_that_was_altered(run, refusal, alter):
    file = run / "state.safetensors"
    from safetensors import safe_open

    with safe_open(file, "pt") as opened:
        state = json.loads(opened.metadata()["state"])
    tensors = load_file(file)
    if alter in ("step", "number"):
        state["step" if alter == "step" else "seconds"] = "soon"
    else:
        name = next(n for n in tensors if n.startswith(alter) and tensors[n].ndim == 2)
        tensors[name] = torch.zeros(3, 3)
    save_file(tensors, file, {"state": json.dumps(state)})
    refusal("fit", "--resume", run, "--no-evaluate")


def test_links_that_lead_out_and_pipes_are_not_followed(run, refusal, tmp_path):
    shutil.move(run / "model.safetensors", tmp_path / "elsewhere")
    (run / "model.safetensors").symlink_to(tmp_path / "elsewhere")
    assert "is a link that leads out of the run folder" in refusal("evaluate", run)
    (run / "model.safetensors").unlink()
    os.mkfifo(run / "model.safetensors")
    assert "is not a regular file" in refusal("evaluate", run)


@pytest.mark.parametrize("name", [".lock", "language-model", "report.html"])
def test_nothing_is_read_or_written_through_a_link(run, refusal, tmp_path, name):
    outside = tmp_path / "outside"
    outside.mkdir()
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(outside)
    assert "leads out of the run folder" in refusal("evaluate", run)
    assert "leads out of the run folder" in refusal("fit", "--resume", run)
    assert not list(outside.iterdir())


def test_a_file_is_no_folder_and_a_folder_no_file(run, refusal):
    (run / "language-model").write_text("")
    assert "language-model is not a folder" in refusal("evaluate", run)
    (run / "language-model").unlink()
    (run / "start.safetensors").mkdir()
    assert "is not a regular file" in refusal("evaluate", run)


def test_weights_from_which_no_finite_number_is_drawn(run, refusal, tmp_path):
    from safetensors import safe_open

    file = run / "model.safetensors"
    with safe_open(file, "pt") as opened:
        metadata, tensors = opened.metadata(), {n: opened.get_tensor(n) for n in opened.keys()}  # noqa: SIM118
    large = {
        n: 1e38 * torch.where(torch.arange(t.numel()).reshape(t.shape) % 2 == 0, 1.0, -1.0)
        if n.endswith("weight")
        else t
        for n, t in tensors.items()
    }
    save_file(large, file, metadata)
    assert "not finite" in refusal("sample", run, "--out", tmp_path / "x.npz")
    assert not (tmp_path / "x.npz").exists()


def test_frozen_runs_open_through_a_link_to_the_whole_folder(made, tmp_path):
    (tmp_path / "link").symlink_to(made)
    assert main(["evaluate", str(tmp_path / "link"), "--limit", "2", "--num-samples", "2"]) == 0
