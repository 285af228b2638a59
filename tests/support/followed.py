"""Which choices torch's compiler follows: steps of a fit as one graph, which torch then runs operation by operation.

That takes no compiler of C++, and a process without the checks of pytest, which the compiler does not follow:

PYTHONPATH=tests:tests/cli:tests/support python tests/support/followed.py AXIS [NAME …]

AXIS is one of `tests/test_every_choice.py`, or "recipe". What is printed says of each choice whether it is followed.
"""

from __future__ import annotations

import json
import sys
import warnings
from typing import Any

import numpy as np
import torch

import lowerbound as lb
from lowerbound.data import load
from lowerbound.recipes import recipes
from lowerbound.spelling import choices


def main(axis: str, names: list[str]) -> None:
    cases = _recipes() if axis == "recipe" else _choices(axis)
    print(json.dumps({name: is_followed(**case) for name, case in cases.items() if name in (names or cases)}))


def is_followed(data: Any, recipe: str, **given: Any) -> bool:
    """Whether it is, or has no steps."""
    torch._dynamo.reset()
    try:
        lb.fit(data, recipe, **{**given, "compile": True, "device": "cpu", "precision": "fp32"})
    except ValueError as error:
        if "cannot be compiled" not in str(error):
            raise
        return False
    return True


def _choices(axis: str) -> dict[str, dict[str, Any]]:
    from test_every_choice import AXES, BITS, COMPANY, REFUSED, SMALL

    found = {}
    for name in choices(AXES[axis]):
        given = {**SMALL, axis: name, **COMPANY.get(f"{axis} {name}", {})}
        if name not in given[axis]:
            given[axis] = name
        if f"{axis} {name}" not in REFUSED and name != "semi-supervised":
            found[name] = {"data": BITS, "recipe": "vae", **given}
    return found


def _recipes() -> dict[str, dict[str, Any]]:
    from some_molecules import SMILES
    from test_recipes import SMALL, TABLES, TEXTS

    rng, digits = np.random.default_rng(0), load("digits")
    counts, reals = rng.poisson(2, size=(60, 9)), rng.normal(size=(60, 9))
    tables = {"counts": {"data": counts}, "reals": {"data": reals}, "labelled": {"data": counts, "y": counts[:, 0] > 1}}
    texts = [" ".join(rng.choice(["the", "a", "cat", "dog", "ran"], 3)) for _ in range(60)]
    given = {
        **{name: {"data": digits.x_train[:60], "y": digits.y_train[:60]} for name in SMALL},
        **{name: tables[kind] for name, kind in TABLES.items()},
        **{name: {"data": texts} for name in TEXTS},
        "molecule-vae": {"data": SMILES * 3},
        "rate-distortion-video": {"data": rng.random((60, 3, 1, 8, 8)).astype(np.float32)},
    }
    solved = {name for name, recipe in recipes().items() if recipe.defaults.get("steps") == 0}
    return {
        name: {"recipe": small, **given[name], **({} if name in solved else {"steps": 2})}
        for name, small in SMALL.items()
    }


if __name__ == "__main__":
    whole = torch.compile
    torch.compile = lambda step, **_: whole(step, dynamic=False, fullgraph=True, backend="aot_eager")  # type: ignore[assignment]
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    main(sys.argv[1], sys.argv[2:])
