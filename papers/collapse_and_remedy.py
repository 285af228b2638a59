"""A collapsed model found by `lowerbound diagnose`, and cured by the command that it proposed.

A user who wants disentangled latents of MNIST weights the rate with β = 20, which suits larger images, and gets a
model whose latents say nothing. `lowerbound diagnose` finds the collapse and names a remedy. The recipe runs that very
command, with a folder to write to added, and examines the result in the same way. Measured before and after on test
images: the mutual information of rows and latents with its standard error and the active units (by `diagnose`), and
L_K. The picture shows reconstructions and samples of both models.

784-200-16 and back, batch 100, learning rate 2e-3 falling by a cosine; nothing else is changed by the remedy.

python papers/collapse_and_remedy.py
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fitted import rows_of_test
from torch import Tensor

from lowerbound import plots
from lowerbound.cli import main as lowerbound
from lowerbound.evaluate import log_evidence, summary
from lowerbound.fitted import Fitted
from lowerbound.randomness import forked

RESULTS = Path(__file__).parent / "results"
FIT = (
    "lowerbound fit {data} --objective beta-elbo:beta={beta:g} --latent-dim 16 --hidden 200"
    " --batch-size 100 --lr 0.002 --lr-schedule cosine --steps {steps} --device cpu"
)
PROBLEM = "posterior collapse"
PICTURES = 12


def main() -> None:
    """Read the options; fit, examine, cure, examine again; draw and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--beta", type=float, default=20.0)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--num-rows", type=int, default=500, help="held-out rows examined")
    parser.add_argument("--samples", type=int, default=500, help="K")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where the fits are kept")
    parser.add_argument("--out", type=Path, default=RESULTS / "collapse_and_remedy.json")
    given = parser.parse_args()
    torch.set_num_threads(1)
    folders = {when: given.runs / f"collapse-{when}" for when in ("before", "after")}
    command = FIT.format(data=given.data, beta=given.beta, steps=given.steps)
    before = fit_and_examine(command, folders["before"], given)
    remedy = finding(before, PROBLEM)["remedy"]
    if remedy is None:
        raise SystemExit(f"Nothing to cure: {finding(before, PROBLEM)['sentence']}")
    after = fit_and_examine(remedy, folders["after"], given)
    save({"before": before, "after": after}, given)
    draw([Fitted.open(folder) for folder in folders.values()], given.out.with_suffix(".png"))


def fit_and_examine(command: str, folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Run a command of the command line as it is, but for the folder, then diagnose and score."""
    shutil.rmtree(folder, ignore_errors=True)
    print(f"$ {command}", flush=True)
    run_words([*shlex.split(command)[1:], "--out", str(folder), "--no-evaluate"])
    said = run_words(["diagnose", str(folder), "--json", "--num-rows", str(given.num_rows)])
    fitted = Fitted.open(folder)
    x, model = rows_of_test(fitted, given.num_rows), fitted.model
    evidence, use = log_evidence(model, x, num_samples=given.samples), summary(model, x)
    examined = json.loads(said)
    print(finding(examined, PROBLEM)["sentence"], f"L_{given.samples} {evidence.mean:.2f}", flush=True)
    return {
        "command": command,
        "findings": examined["findings"],
        "present": [found["name"] for found in examined["findings"] if found["present"]],
        "active_units": use.active_units,
        "rate": use.rate,
        "log_evidence": evidence.mean,
        "log_evidence_error_over_images": evidence.standard_error_of_mean,
    }


def run_words(words: list[str]) -> str:
    """What `lowerbound` prints, in this process."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        code = lowerbound(words)
    if code:
        raise SystemExit(f"`{shlex.join(['lowerbound', *words])}` ended with {code}: {printed.getvalue()}")
    return printed.getvalue()


def finding(examined: dict[str, Any], name: str) -> dict[str, Any]:
    """One of the findings."""
    return next(found for found in examined["findings"] if found["name"] == name)


def save(both: dict[str, dict[str, Any]], given: argparse.Namespace) -> None:
    """Numbers before and after, and the whole examination."""
    options = {k: v for k, v in vars(given).items() if k not in ("out", "runs")}
    information = {when: finding(found, PROBLEM)["evidence"] for when, found in both.items()}
    content = {"mutual_information": information, **both, "settings": options, "protocol": __doc__}
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(content, indent=2) + "\n")


def draw(fits: list[Fitted], path: Path) -> None:
    """A line of test images, their reconstructions before and after, and samples before and after."""
    x = rows_of_test(fits[0], PICTURES)
    models = [fitted.model for fitted in fits]
    lines = [x, *(reconstructed(model, x) for model in models), *(sampled(model) for model in models)]
    title = "Test images; reconstructions before and after; samples before and after"
    plots.image_grid(np.concatenate([np.asarray(line) for line in lines]), PICTURES, title=title).savefig(path)


@torch.no_grad()
def reconstructed(model: Any, x: Tensor) -> Tensor:
    """E[x | z] at the mean of q(z | x)."""
    return model.decode(model.infer(x).mean[None]).mean[0]


@torch.no_grad()
def sampled(model: Any) -> Tensor:
    """E[x | z] at draws of the prior."""
    with forked(torch.device("cpu"), 1):
        return model.sample_mean(PICTURES)


if __name__ == "__main__":
    main()
