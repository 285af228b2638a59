from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from lowerbound.cli import main
from lowerbound.evaluate import baselines

TINY = ["--hidden", "8", "--latent-dim", "2", "--num-samples", "2", "--device", "cpu"]


class Answer(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Run a command in this process."""

    def run(*words: object) -> Answer:
        capsys.readouterr()
        code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        return Answer(code, str(out), str(err))

    return run


@pytest.fixture
def refused(cli: Callable[..., Answer]) -> Callable[..., str]:
    """Run a command that must be refused with exit code 2 and one line on stderr, and return that line."""

    def run(*words: object) -> str:
        answer = cli(*words)
        assert answer.code == 2, answer
        assert answer.err.count("\n") == 1, answer.err
        assert "Traceback" not in answer.err
        return answer.err.rstrip("\n")

    return run


@pytest.fixture
def one_mixture(monkeypatch: pytest.MonkeyPatch) -> None:
    """The baseline of images is a mixture of ten, which need not be the best number."""
    few = functools.partial(baselines.bernoulli_mixture, components=(10,))
    monkeypatch.setattr(baselines, "bernoulli_mixture", few)


def _finished(path: Path, data: object, *options: str) -> Path:
    assert main(["fit", str(data), "--steps", "20", "--out", str(path), "--no-evaluate", *TINY, *options]) == 0
    return path


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on the digits, not scored; not to be written to."""
    return _finished(tmp_path_factory.mktemp("runs") / "digits", "digits")


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of 60 rows, 3 columns on different scales and a text label."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3)) * [1, 10, 0.1] + [0, 100, 5]
    path = tmp_path_factory.mktemp("data") / "flowers.csv"
    lines = [f"{a:.6f},{b:.6f},{c:.6f},{'ab'[i % 2]}" for i, (a, b, c) in enumerate(x)]
    path.write_text("\n".join(["width,length,weight,species", *lines]) + "\n")
    return path


@pytest.fixture(scope="session")
def table_run(tmp_path_factory: pytest.TempPathFactory, table: Path) -> Path:
    """A finished run on the table; not to be written to."""
    return _finished(tmp_path_factory.mktemp("runs") / "table", table, "--label", "species")
