"""Of two commands that write one new file at the same moment, one writes it and the other is refused."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lowerbound.cli import output

_DRIVER = """
import multiprocessing, os, sys
from lowerbound import cli
from lowerbound.cli import output
import lowerbound.fitted, pandas  # once, for all children

both, check = multiprocessing.get_context("fork").Barrier(2), output.check_out

def check_and_wait(*given, **options):
    check(*given, **options)
    both.wait(60)

output.check_out = check_and_wait
words = ["score", sys.argv[1], "--out", sys.argv[2], "--num-samples", "2"]
for more in ([], ["--force"]):
    children = []
    for seed in "01":
        children.append(os.fork())
        if children[-1] == 0:
            os._exit(cli.main([*words, "--seed", seed, *more]))
    print("codes", sorted(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
"""


@pytest.mark.slow
def test_of_two_processes_one_writes_a_new_file_and_with_force_both(table_run, tmp_path):
    words = [sys.executable, "-c", _DRIVER, str(table_run), str(tmp_path / "x.npz")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert [line for line in done.stdout.splitlines() if "codes" in line] == ["codes [0, 2]", "codes [0, 0]"], done
    assert done.stderr.count("is there already; choose another place") == 1
    assert len(np.load(tmp_path / "x.npz")["row"]) == 12
    assert [file.name for file in tmp_path.iterdir()] == ["x.npz"]


_COMMANDS = {  # each way to a file: by rows, by a page, by a picture, by coded rows
    "sample RUN": ".csv",
    "reconstruct RUN": ".npz",
    "encode RUN": ".csv",
    "score RUN --num-samples 2": ".parquet",
    "interpolate RUN 0 1": ".png",
    "neighbours RUN 0": ".csv",
    "report RUN": ".html",
    "compare RUN OTHER --num-samples 2": ".html",
    "explore RUN --no-diagnose": ".html",
    "compress RUN TABLE": ".lb",
    "gradients RUN --num-repeats 4": ".png",
}


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process writes the file after a command has looked whether it is there."""
    check = output.check_out

    def check_then_another(path: Path, *given: Any, **options: Any) -> None:
        check(path, *given, **options)
        path.write_text("another's")

    monkeypatch.setattr(output, "check_out", check_then_another)


@pytest.mark.parametrize("command", _COMMANDS)
def test_a_file_that_came_meanwhile_stays(refused, table_run, table, tmp_path, meanwhile, command):
    copied = shutil.copytree(table_run, tmp_path / "other")
    places = {"RUN": table_run, "OTHER": copied, "TABLE": table}
    out = tmp_path / f"x{_COMMANDS[command]}"
    sentence = refused(*(places.get(word, word) for word in command.split()), "--out", out)
    assert "is there already; choose another place" in sentence
    assert out.read_text() == "another's"
