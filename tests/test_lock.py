"""requirements.lock names the versions of constraints.txt, each with its hashes and without an address; the version of
the package is the same wherever it stands.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import lowerbound
from lowerbound.cli import main

ROOT = Path(__file__).parents[1]


def test_the_lock_agrees_with_the_constraints():
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "constraints.txt").read_text().lower(), re.M))
    lock = (ROOT / "requirements.lock").read_text().lower()
    locked = dict(re.findall(r"^([\w.-]+)==(\S+)", lock, re.M))
    pinned = {re.sub(r"[._]", "-", name): version for name, version in pins.items()}
    both = pinned.keys() & locked.keys()
    assert {"torch", "numpy", "safetensors", "lightning-fabric", "pytest", "sphinx"} <= both
    assert {name: locked[name] for name in both} == {name: pinned[name] for name in both}
    assert all("--hash=sha256:" in block for block in re.split(r"\n(?=[a-z])", lock)[1:])
    assert "://" not in lock


def test_few_packages_are_needed():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert len(project["dependencies"]) <= 12
    assert {"molecules", "counts", "hub", "docs", "bench"} <= project["optional-dependencies"].keys()


def test_the_version_is_the_same_everywhere(capsys):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    released = re.findall(r"^## \[(\d[\w.]*)\]", (ROOT / "CHANGELOG.md").read_text(), re.M)[0]
    cited = re.findall(r"^version: (\S+)", (ROOT / "CITATION.cff").read_text(), re.M)
    assert {project["version"], released, *cited} == {lowerbound.__version__}
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"lowerbound {lowerbound.__version__}\n"
