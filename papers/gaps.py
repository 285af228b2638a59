"""Why the ELBO is below log p(x), on MNIST and Fashion-MNIST: Cremer, Li & Duvenaud (2018, arXiv:1801.03558, table 2).

784-200-200-50 and back, elu, pixels binarized anew at every visit, the ELBO from one sample, Adam, batch 100, learning
rate 3e-3 falling to a hundredth by a cosine, norm of the gradient at most 100; once with a factorised Gaussian q (their
FFG) and once with an inverse autoregressive flow, which stands for their auxiliary flow (AF). --epochs passes in the
place of their 3,280. Of training and of test images, each binarized once:

    log p̂(x)     annealed importance sampling from q*_FFG, which is near the posterior whatever q is (the density of the
                 flow at any z would cost a pass for every latent); L_K of K importance samples from q beside it; both
                 are low on average, and the one with the larger mean is taken
    L[q*_own]    the best of the family that the model was trained with, for each image by itself: for the flow its
                 location, scale and features, at the maps that all images share
    L[q*_full]   the best Gaussian with a full covariance; this is in the place of their best AF
    L[q*_FFG]    the best factorised Gaussian
    L[q]         of the encoder

    approximation gap = log p̂(x) − L[q*_own]          amortisation gap = L[q*_own] − L[q]

The best is found by --refinement steps of Adam at 0.05 (twice as many at 0.003 for the full covariance, whose 1,275
numbers an image wander at larger steps), every L is evaluated at fresh draws. The paper anneals 100 images
through 10,000 distributions with 100 chains. Its figures stand beside ours in the result, although the models are
trained for different times: what is comparable is which gap is larger, and for which images.

python papers/gaps.py
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from fitted import fitted, rows_of_test, rows_of_training
from torch import Tensor

from lowerbound.evaluate import AnnealedEvidence, Estimates, annealed_importance, inference_gaps, log_evidence
from lowerbound.evaluate.gaps import refined_elbos
from lowerbound.inference import Local, with_inference
from lowerbound.model import LatentVariableModel
from lowerbound.plots.style import DATA, INK, MODEL, new_figure, style_axes

RESULTS = Path(__file__).parent / "results"
POSTERIORS = {"diagonal-normal": "FFG", "iaf": "flow"}
DATA_SETS = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST"}
GAPS = {"approximation": "log p̂(x) − L[q*]", "amortisation": "L[q*] − L[q]"}
ROWS = ("log p", "L[q*_full]", "L[q*_own]", "L[q*_FFG]", "L[q]", "approximation gap", "amortisation gap")
PUBLISHED = {  # their AF where we have q*_full
    "mnist | diagonal-normal": (-89.80, -90.80, -91.23, -91.23, -92.57, 1.43, 1.34),
    "mnist | iaf": (-88.94, -90.38, -90.38, -113.54, -91.79, 1.44, 1.41),
    "fashion-mnist | diagonal-normal": (-97.47, -98.92, -100.53, -100.53, -104.75, 3.06, 4.22),
    "fashion-mnist | iaf": (-97.41, -99.10, -99.10, -132.46, -103.76, 1.69, 4.66),
}


def main() -> None:
    """Read the options, fit or open each model, measure, save after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=float, default=20)
    parser.add_argument("--images", type=int, default=50, help="of training, and as many of test")
    parser.add_argument("--distributions", type=int, default=300)
    parser.add_argument("--chains", type=int, default=8)
    parser.add_argument("--refinement", type=int, default=400, help="steps")
    parser.add_argument("--samples", type=int, default=1000, help="latents an image for every L")
    parser.add_argument("--compared", type=int, default=5, help="images annealed from the prior too")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where the fits are kept")
    parser.add_argument("--out", type=Path, default=RESULTS / "gaps.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cells: dict[str, dict[str, Any]] = {}
    for data in DATA_SETS:
        for posterior in POSTERIORS:
            cell = f"{data} | {posterior}"
            cells[cell] = measure(data, posterior, arguments)
            save(cells, arguments)
            print(cell, {split: cells[cell][split]["means"] for split in ("train", "test")}, flush=True)
    draw(cells, arguments.out.with_suffix(".png"))


def measure(data: str, posterior: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Both splits of one model."""
    run = fitted(arguments.runs / f"gaps-{data}-{posterior}-{arguments.epochs:g}", data, settings(posterior, arguments))
    images = {"train": rows_of_training(run, arguments.images), "test": rows_of_test(run, arguments.images)}
    model, begun = run.model, time.process_time()
    cell: dict[str, Any] = {split: split_of(model, x, posterior, arguments) for split, x in images.items()}
    return {
        **cell,
        "annealed_from": where_annealing_starts(model, images["test"], arguments),
        "cpu_seconds": round(time.process_time() - begun, 1),
        "published": dict(zip(ROWS, PUBLISHED[f"{data} | {posterior}"], strict=True)),
    }


def settings(posterior: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Of every fit."""
    return {
        "model": {"latent_dim": 50, "hidden": [200, 200], "activation": "elu", "posterior": posterior},
        "batch_size": 100,
        "epochs": arguments.epochs,
        "lr": 3e-3,
        "clip_norm": 100.0,
        "device": "cpu",
    }


def split_of(
    model: LatentVariableModel, x: Tensor, posterior: str, arguments: argparse.Namespace
) -> dict[str, dict[str, Any]]:
    """The rows of the table, of each image and on average."""
    evidence, source = known(model, x, arguments)
    options = {"num_samples": arguments.samples, "seed": 0}
    gaps = inference_gaps(model, x, evidence, refine=local("own", arguments), **options)
    best = {
        family: gaps.refined_elbo
        if (posterior, family) == ("diagonal-normal", "diagonal")
        else refined_elbos(model, x, refine=local(family, arguments), **options)[1]
        for family in ("full", "diagonal")
    }
    known_values = Estimates(values=evidence.log_evidence, standard_error=evidence.standard_error)
    columns = (known_values, best["full"], gaps.refined_elbo, best["diagonal"], gaps.elbo)
    table = dict(zip(ROWS, (*columns, gaps.approximation, gaps.amortisation), strict=True))
    return {
        "means": {name: column.mean for name, column in table.items()},
        "standard_errors_over_images": {name: column.standard_error_of_mean for name, column in table.items()},
        "log p": source,
        "values": {name: [round(v, 3) for v in column.values.tolist()] for name, column in table.items()},
    }


def local(family: Any, arguments: argparse.Namespace) -> Local:
    """How the best of a family is found."""
    slow = family == "full"
    steps, lr = (2 * arguments.refinement, 0.003) if slow else (arguments.refinement, 0.05)
    return Local(num_steps=steps, lr=lr, num_samples=2, family=family)


def known(model: LatentVariableModel, x: Tensor, arguments: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    """log p̂(x) by the estimate with the larger mean, and both means."""
    annealed = anneal(model, x, "posterior", arguments)
    importance = log_evidence(model, x, num_samples=arguments.samples)
    numbers = {
        "annealed": annealed.mean,
        "its sampling error": annealed.sampling_error_of_mean,
        "its acceptance": annealed.acceptance.mean().item(),
        f"L_{arguments.samples}": importance.mean,
    }
    return (annealed if annealed.mean >= importance.mean else importance), numbers


def anneal(model: LatentVariableModel, x: Tensor, start: Any, arguments: argparse.Namespace) -> AnnealedEvidence:
    """log p̂(x) by annealing, from the prior or from q*_FFG."""
    near = with_inference(model, local("diagonal", arguments))
    return annealed_importance(
        near, x, num_distributions=arguments.distributions, num_chains=arguments.chains, start=start
    )


def where_annealing_starts(model: LatentVariableModel, x: Tensor, arguments: argparse.Namespace) -> dict[str, Any]:
    """The same few images from q*_FFG and from the prior."""
    found = {start: anneal(model, x[: arguments.compared], start, arguments) for start in ("posterior", "prior")}
    return {start: {"mean": got.mean, "error": got.sampling_error_of_mean} for start, got in found.items()}


def save(cells: dict[str, dict[str, Any]], arguments: argparse.Namespace) -> None:
    """What is known so far."""
    options = {k: v for k, v in vars(arguments).items() if k not in ("out", "runs")}
    content = {"cells": cells, "settings": options, "threads": torch.get_num_threads(), "protocol": __doc__}
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(content, indent=1) + "\n")


def draw(cells: dict[str, dict[str, Any]], path: Path) -> None:
    """Both gaps of every image: a line of panels for each data set, training and test images side by side."""
    figure = new_figure(10.0, 6.0)
    panels = figure.subplots(len(DATA_SETS), len(GAPS), squeeze=False)
    for line, data in zip(panels, DATA_SETS, strict=True):
        for axes, (gap, formula) in zip(line, GAPS.items(), strict=True):
            draw_panel(axes, {q: cells[f"{data} | {q}"] for q in POSTERIORS}, f"{gap} gap")
            style_axes(axes, title=f"{DATA_SETS[data]}: {gap} gap", x="", y=f"{formula} (nats)", small=True)
            axes.grid(False, axis="x")
    figure.savefig(path)


def draw_panel(axes: Any, cells: dict[str, dict[str, Any]], gap: str) -> None:
    """A violin for each model and split, with a line at the mean."""
    places, ticks = [], []
    for k, (posterior, cell) in enumerate(cells.items()):
        for offset, (split, colour) in enumerate((("train", MODEL), ("test", DATA))):
            values = cell[split]["values"][gap]
            place = 2.5 * k + offset
            violin = axes.violinplot([values], [place], widths=0.85, showextrema=False, showmeans=True)
            violin["bodies"][0].set(facecolor=colour, alpha=0.55)
            violin["cmeans"].set(color=INK, linewidth=1.4)
            mean = cell[split]["means"][gap]
            axes.annotate(
                f"{mean:.2f}", (place, max(values)), (0, 3), textcoords="offset points", ha="center", fontsize=8
            )
            places.append(place)
            ticks.append(f"{POSTERIORS[posterior]}\n{split}")
    axes.set_xticks(places, ticks)
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.margins(y=0.12)


if __name__ == "__main__":
    main()
