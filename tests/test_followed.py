"""Every recipe and choice is compiled, or docs/time.md says that it is not."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TIME = " ".join((HERE.parent / "docs" / "time.md").read_text().split())
SAID = TIME[TIME.index("What it cannot take (") : TIME.index(") is refused with what the compiler said")]
NAMED = set(re.findall(r"`(?:--[a-z]+ )?([a-z-]+)`", SAID))
SOLVED = {"hidden-markov"}  # without steps; trained by steps it is one that is named
AXES = ["prior", "posterior", "objective", "gradient", "penalty", "loss", "inference", "recipe"]


@pytest.mark.slow
@pytest.mark.parametrize("axis", AXES)
def test_what_the_compiler_does_not_follow_is_named_on_the_page(axis: str) -> None:
    paths = os.pathsep.join([*(str(HERE / name) for name in (".", "cli", "support")), *sys.path])
    command, environment = (
        [sys.executable, str(HERE / "support" / "followed.py"), axis],
        {**os.environ, "PYTHONPATH": paths},
    )
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert {name for name, is_followed in found.items() if not is_followed} == (NAMED - SOLVED) & found.keys()
