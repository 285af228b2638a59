"""Test the wheel from an environment in which nothing is but itself and what it declares to need.

    python .ci/wheel.py build/wheel

Run by the Python of .venv. The environment is build/wheel/env, empty but for its own pip. The wheel is installed there
without its dependencies; these are linked in from .venv, those alone that its metadata name, and theirs in turn.
So a file that the wheel lacks and a dependency that is not declared both show, and nothing is fetched.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

_CHECK = """
import importlib.resources, sys
import numpy as np, lowerbound as lb
assert lb.__file__.startswith(sys.prefix), lb.__file__
assert importlib.resources.files("lowerbound").joinpath("py.typed").is_file()
x = np.random.default_rng(0).normal(size=(40, 3))
vae = lb.VAE(latent_dim=2, hidden=(4,), epochs=1, random_state=0).fit(x)
assert vae.sample(3).shape == (3, 3)
"""


def main(folder: Path) -> None:
    """Install, link, and go through the commands."""
    python = folder / "env" / "bin" / "python"
    (wheel,) = folder.glob("*.whl")
    _run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(wheel))
    place = next((folder / "env" / "lib").glob("python*/site-packages"))
    (own,) = Distribution.discover(name="lowerbound", path=[str(place)])
    needed = _closure(own.requires or [])
    for name in sorted(needed):
        _link(name, place)
    print(f"{wheel.name} and {len(needed)} packages that it needs")
    _run(python, "-c", _CHECK)
    run, small = str(folder / "run"), ["--steps", "4", "--hidden", "4", "--latent-dim", "2", "--num-samples", "2"]
    command = [python, "-m", "lowerbound"]
    _run(*command, "--version")
    _run(*command, "fit", "digits", "--recipe", "vae", *small, "--out", run, "--no-evaluate")
    _run(*command, "evaluate", run, "--limit", "20", "--num-samples", "4")
    _run(*command, "sample", run, "--count", "4", "--out", str(folder / "four.png"))
    _run(*command, "report", run)


def _closure(requirements: list[str]) -> set[str]:
    """The names of all that is needed, without extras."""
    found: set[str] = set()
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        requirement = waiting.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        if requirement.name.lower() in found:
            continue
        found.add(requirement.name.lower())
        waiting += [Requirement(text) for text in distribution(requirement.name).requires or []]
    return found


def _link(name: str, place: Path) -> None:
    """Link what a package installed into another site-packages."""
    home = Path(sysconfig.get_path("purelib"))
    for file in distribution(name).files or []:
        top = file.parts[0]
        if top not in ("..", "__pycache__") and not (place / top).exists():
            (place / top).symlink_to(home / top)


def _run(*words: object) -> None:
    subprocess.run([str(word) for word in words], check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
