"""A package of a stranger: each of its additions is one file and one entry point, and the command takes it by name.

The package in `outside/` is put on the path of a new process with the metadata that an installation would write.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ENTRY_POINTS = """
[lowerbound.priors]
cauchy-prior = stranger.prior:CauchyPrior
[lowerbound.likelihoods]
weibull = stranger.likelihood:Weibull
[lowerbound.objectives]
median-bound = stranger.objective:MedianBound
[lowerbound.gradients]
pathwise-twice = stranger.gradient:PathwiseTwice
[lowerbound.recipes]
survival = stranger.recipe:RECIPE
[lowerbound.readers]
durations = stranger.reader:DURATIONS
[lowerbound.kinds]
durations = stranger.kind:DURATIONS
"""


SCRIPT = """
import json, sys
from lowerbound.cli import main
sys.exit(max(main(words) for words in json.loads(sys.argv[1])))
"""


def test_every_addition_of_a_stranger_is_taken_by_name(tmp_path: Path) -> None:
    metadata = tmp_path / "site" / "stranger-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    (tmp_path / "site" / "stranger").symlink_to(HERE / "outside")
    (tmp_path / "parts.dur").write_text("\n".join(f"{1 + i % 7}.5 {2 + i % 3}" for i in range(60)))
    choices = "--recipe survival:latent_dim=2 --prior cauchy-prior --objective median-bound --gradient pathwise-twice"
    commands = [
        f"fit parts.dur {choices} --steps 3 --out run --no-evaluate",
        "evaluate run --num-samples 2",
        "sample run --count 5 --out drawn.npz",
        "choices likelihood",
        "cite run",
    ]
    path = os.pathsep.join([str(tmp_path / "site"), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps([line.split() for line in commands])],
        env={**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    cited = ("cauchy-prior: Doe, 2026", "weibull: states no works", "Doe (2026). A Cauchy Prior.")
    for words in ("Durations of 2 parts.", "log p(x)", "drawn.npz", "weibull", *cited):
        assert words in done.stdout
    plan = json.loads((tmp_path / "run" / "run.json").read_text())["plan"]
    assert (plan["recipe"], plan["model"]["prior"], plan["lr"]) == ("survival", "cauchy-prior", 1e-3)
