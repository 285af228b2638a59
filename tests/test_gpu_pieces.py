"""The benchmarks of a GPU save each piece as it ends; the pieces here need none."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lowerbound.data.given import dataset_of

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "gpu.py"


TINY = "--device cpu --steps 2 --test-images 3 --evidence-samples 2"


def opened(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"script_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def gpu() -> Any:
    return opened(SCRIPT)


def test_each_piece_is_saved_and_only_what_failed_is_run_again(gpu: Any, tmp_path: Path) -> None:
    mark = (
        "import pathlib, sys; p = pathlib.Path(sys.argv[1]); p.write_text(p.read_text() + 'x' if p.exists() else 'x')"
    )
    pieces = {
        "good one": [sys.executable, "-c", mark, str(tmp_path / "runs")],
        "bad": [sys.executable, "-c", "print('why'); raise SystemExit(3)"],
        "slow": [sys.executable, "-c", "import time; time.sleep(60)"],
    }
    assert gpu.run_pieces(pieces, tmp_path / "out", 60, only=["good one", "bad"]) == 1
    assert gpu.run_pieces(pieces, tmp_path / "out", 0.2, only=["slow"]) == 1
    saved = {path.stem: json.loads(path.read_text()) for path in (tmp_path / "out").iterdir()}
    assert {name: one["status"] for name, one in saved.items()} == {"good-one": 0, "bad": 3, "slow": 124}
    assert saved["bad"]["lines"] == ["why"]
    assert gpu.run_pieces(pieces, tmp_path / "out", 60, only=["good one", "bad"]) == 1
    assert (tmp_path / "runs").read_text() == "x"
    assert all(word != "cpu" for words in gpu.PIECES.values() for word in words)


@pytest.mark.slow
@pytest.mark.parametrize("net", ["perceptron", "convolution"])
def test_peers_are_compared_in_one_run(net: str, gpu: Any, tmp_path: Path) -> None:
    words = ["--device", "cpu", "--rows", "512", "--repeats", "1", "--no-compile", "--net", net]
    piece = [sys.executable, str(SCRIPT.with_name("peers.py")), *words, "--out", "{out}/peers"]
    assert gpu.run_pieces({"peers": piece}, tmp_path, 300) == 0
    found = json.loads((tmp_path / "peers.json").read_text())["peers"]
    speeds = found["steps_per_second"]
    assert {"lowerbound eager", "lowerbound eager, bf16", "hand-written"} <= set(speeds)
    assert {"pythae", "pyro"} <= {*speeds, *found["not_installed"]} | ({"pyro"} if net == "convolution" else set())
    ratios = found["times_as_fast_is_lowerbound eager"]
    assert ratios["hand-written"] == pytest.approx(speeds["lowerbound eager"] / speeds["hand-written"], rel=0.05)
    assert f"peers {net}" in gpu.PIECES


def test_a_piece_that_was_stopped_finds_its_runs_again(gpu: Any, tmp_path: Path) -> None:
    mark = (
        "import os, sys; old = os.path.exists(sys.argv[1]); os.makedirs(sys.argv[1], exist_ok=True); sys.exit(not old)"
    )
    pieces = {"long one": [sys.executable, "-c", mark, "{runs}"]}
    assert gpu.run_pieces(pieces, tmp_path, 60) == 1
    assert gpu.run_pieces(pieces, tmp_path, 60) == 0


@pytest.mark.slow
@pytest.mark.parametrize("name, scores", [("very deep maps", 1), ("draw 32", 1), ("pixel-vae", 1), ("fashion maps", 2)])
def test_each_long_piece_starts_on_a_cpu(
    gpu: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, scores: int
) -> None:
    """With two steps of a few images that nobody drew; the command is otherwise that of the GPU."""
    _, script, *words = (word.replace("{runs}", str(tmp_path)) for word in gpu.PIECES[name])
    assert words[words.index("--device") + 1] == "cuda"
    images = np.random.default_rng(0).integers(0, 256, (60, 28, 28)).astype(np.uint8)
    monkeypatch.syspath_prepend(os.path.dirname(script))
    module = opened(Path(script))
    monkeypatch.setattr(module, "load", lambda _: dataset_of(images))
    small = [] if name == "pixel-vae" else ["--batch-size", "4"]
    monkeypatch.setattr(sys, "argv", [script, *words, *TINY.split(), *small])
    module.main()
    result = json.loads((tmp_path / "result.json").read_text())
    found = result["models"] if name == "pixel-vae" else result["contenders"]
    assert len(found) == scores
    assert all(("bits_per_dim" in row) == (name == "fashion maps") for row in found.values())


FITS = ("vae", "vae compiled", "vae bf16", "convolution", "very deep", "vae-gan")


def test_every_piece_has_a_start_on_a_cpu(gpu: Any) -> None:
    others = {
        "tests",
        "whole step",
        "whole step of each model",
        "waiting",
        "peers perceptron",
        "peers convolution",
        "very deep maps",
        "draw 32",
        "pixel-vae",
        "fashion maps",
    }
    assert gpu.PIECES.keys() == {*FITS, *others}


@pytest.mark.slow
@pytest.mark.parametrize("name", FITS)
def test_each_fit_starts_on_a_cpu(gpu: Any, tmp_path: Path, name: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, (60, 28, 28)).astype(np.uint8)
    np.save(tmp_path / "few.npy", images)
    words = [word.replace("{out}", str(tmp_path)) for word in gpu.PIECES[name]]
    words[words.index("mnist")] = str(tmp_path / "few.npy")
    words[words.index("cuda")] = "cpu"
    long = "--steps" if "--steps" in words else "--epochs"
    words[words.index(long) : words.index(long) + 2] = ["--steps", "2", "--no-evaluate", "--batch-size", "4"]
    assert gpu.run_pieces({name: words}, tmp_path / "out", 300) == 0


@pytest.mark.slow
def test_waiting_starts_on_a_cpu(gpu: Any, tmp_path: Path) -> None:
    words = [*gpu.PIECES["waiting"], "--rows", "400", "--repeats", "1"]
    words[words.index("cuda")], words[words.index("3000")] = "cpu", "3"
    assert gpu.run_pieces({"waiting": words}, tmp_path, 300) == 0
    saved = json.loads((tmp_path / "waiting.json").read_text())["waiting"]
    assert saved["results"].keys() == {"in memory", ".npy shards", "compressed .npz shards"}


def test_the_first_piece_is_the_tests_of_a_gpu_whose_failure_stops_no_benchmark(gpu: Any, tmp_path: Path) -> None:
    words = [word.replace("/tests", "/tests/test_recorded.py") for word in gpu.PIECES["tests"]]
    assert next(iter(gpu.PIECES)) == "tests"
    pieces = {"failing": [*words[:4], "none", words[-1]], "tests": [*words, "--collect-only", "-q"]}
    assert gpu.run_pieces(pieces, tmp_path, 300) == 1
    found = json.loads((tmp_path / "tests.json").read_text())
    assert any("test_recorded_steps_have_the_bits" in line for line in found["lines"]), found


@pytest.mark.slow
def test_whole_steps_start_on_a_cpu(gpu: Any, tmp_path: Path) -> None:
    words = [word.replace("cuda", "cpu") for word in gpu.PIECES["whole step"]]
    words = [*words[: words.index("--only") + 2], "--rounds", "1", "--block", "2"]
    assert gpu.run_pieces({"whole step": words}, tmp_path, 300) == 0
    found = json.loads((tmp_path / "runs" / "whole-step" / "result.json").read_text())["results"]["784-512-20"]
    assert found["eager, ms"] > 0
    assert found["compiled, by kernel, ms"] > 0
