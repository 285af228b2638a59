"""Likelihood against likelihood regret: a model of Fashion-MNIST that is shown MNIST.

A model of clothes finds digits likelier than clothes (Nalisnick et al. 2019, arXiv:1810.09136), so that log p(x) tells
them apart the wrong way round; what inference gains by fitting one image alone, L[q*] − L[q], tells them apart the
right way round (Xiao, Yan & Amit 2020, arXiv:2003.02977, who report an AUROC of 0.988 against about 0.2 for log p(x)).

784-256-256-100 and back, relu, grey levels 0 … 255 under a discretized logistic with a location and a scale for every
pixel, the ELBO from one sample, Adam, batch 64, learning rate 1e-3 falling to a hundredth by a cosine. All six scores
of `evaluate.out_of_distribution`, AUROC with DeLong's standard error over images: 1 where every digit has a larger
score than every piece of clothing, ½ at chance, below ½ where the score is misled.

*   log p(x) by L_K; bits per dimension are the same scores in another unit.
*   The ratio against a background model: the same network, fitted to training images of which every tenth pixel was
    drawn anew among the 256 levels (Ren et al. 2019).
*   The regret by 200 steps of Adam on the mean and scale of q for each image; Xiao et al. refine the whole encoder for
    each image, in a convolutional model with a 256-way choice for every pixel.
*   The distance from the mean log p(x) of training images (Nalisnick et al. 2019, arXiv:1906.02994).
*   WAIC over three fits that differ in their seed (Choi et al. 2018).

Four fits in all, kept under runs/; scores of every image are saved beside the results.

python papers/likelihood_regret.py
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fitted import fitted
from sklearn.metrics import roc_curve
from torch import Tensor

from lowerbound.data import load
from lowerbound.evaluate import (
    Estimates,
    Evidence,
    auroc,
    bits_per_dim,
    likelihood_ratio,
    likelihood_regret,
    log_evidence,
    mutated,
    negative_log_evidence,
    typicality,
    waic,
)
from lowerbound.inference import Local
from lowerbound.model import LatentVariableModel
from lowerbound.plots.style import CLASS_COLOURS, DATA, INK, MODEL, MUTED, new_figure, style_axes

RESULTS = Path(__file__).parent / "results"
INSIDE, OUTSIDE, LEVELS = "fashion-mnist", "mnist", 256
NAMES = {INSIDE: "Fashion-MNIST", OUTSIDE: "MNIST"}
PUBLISHED = {"log p(x)": 0.2, "regret": 0.988}
WAIC_SEEDS = (0, 1, 2)


@dataclass(frozen=True, kw_only=True)
class Fits:
    """What the scores are made of."""

    models: list[LatentVariableModel]
    background: LatentVariableModel
    training: Evidence


def main() -> None:
    """Read the options, fit or open, score, draw, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000, help="of every fit")
    parser.add_argument("--images", type=int, default=400, help="test images of either data set")
    parser.add_argument("--samples", type=int, default=100, help="latents an image for log p(x)")
    parser.add_argument("--refinement", type=int, default=200, help="steps of refinement")
    parser.add_argument("--rate", type=float, default=0.1, help="of mutation for the background model")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where the fits are kept")
    parser.add_argument("--out", type=Path, default=RESULTS / "likelihood_regret.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    fits = all_fits(arguments)
    images = {name: grey(load(name).x_test[: arguments.images]) for name in (INSIDE, OUTSIDE)}
    begun = time.process_time()
    scores = {name: scores_of(x, fits, arguments) for name, x in images.items()}
    save(scores, time.process_time() - begun, arguments)


def all_fits(arguments: argparse.Namespace) -> Fits:
    """Three fits to the training images, and one to mutated ones."""
    runs = [
        fitted(arguments.runs / f"{stem(arguments)}-{seed}", INSIDE, settings(arguments, seed)) for seed in WAIC_SEEDS
    ]
    data = mutated_file(arguments)
    background = fitted(arguments.runs / f"{stem(arguments)}-background", data, settings(arguments, 0))
    models = [run.model for run in runs]
    x_train = grey(load(INSIDE).x_train[: 2 * arguments.images])
    training = log_evidence(models[0], x_train, num_samples=arguments.samples)
    return Fits(models=models, background=background.model, training=training)


def stem(arguments: argparse.Namespace) -> str:
    """Of the names of the run folders."""
    return f"likelihood-regret-{arguments.steps}"


def settings(arguments: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Of every fit."""
    model = {"latent_dim": 100, "hidden": [256, 256], "likelihood": "discretized-logistic"}
    return {
        "model": model,
        "batch_size": 64,
        "steps": arguments.steps,
        "lr": 1e-3,
        "seed": seed,
        "device": "cpu",
    }


def mutated_file(arguments: argparse.Namespace) -> Path:
    """Fashion-MNIST with a share of its pixels drawn anew, as bytes."""
    path = arguments.runs / f"fashion-mnist-mutated-{arguments.rate:g}.npz"
    if not path.exists():
        clothes = load(INSIDE)
        parts = {"x_train": clothes.x_train, "x_test": clothes.x_test}
        drawn = {k: mutated(grey(v), arguments.rate, num_levels=LEVELS, seed=len(k)) for k, v in parts.items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, **{k: (255 * v).round().byte().numpy() for k, v in drawn.items()})  # pyright: ignore[reportArgumentType]
    return path


def grey(bytes_: np.ndarray) -> Tensor:
    """Levels k / 255."""
    return torch.as_tensor(bytes_).float() / 255


def scores_of(x: Tensor, fits: Fits, arguments: argparse.Namespace) -> dict[str, Estimates]:
    """Every score of every image: larger for data that the model should not know."""
    model, k = fits.models[0], arguments.samples
    refine = Local(num_steps=arguments.refinement)
    evidences = [log_evidence(each, x, num_samples=k) for each in fits.models]
    return {
        "log p(x)": negative_log_evidence(model, x, num_samples=k),
        "bits per dimension": bits_per_dim(model, x, num_samples=k),
        "ratio": likelihood_ratio(model, fits.background, x, num_samples=k),
        "regret": likelihood_regret(model, x, refine=refine, num_samples=k),
        "typicality": typicality(evidences[0], fits.training),
        "WAIC": waic(evidences),
    }


def save(scores: dict[str, dict[str, Estimates]], seconds: float, arguments: argparse.Namespace) -> None:
    """AUROC of each score, the scores themselves, and the picture."""
    rows = {}
    for name in scores[INSIDE]:
        inside, outside = (scores[data][name] for data in (INSIDE, OUTSIDE))
        got = auroc(inside.values, outside.values)
        rows[name] = {"auroc": got.value, "standard_error": got.standard_error}
        rows[name] |= {f"mean, {NAMES[data]}": scores[data][name].mean for data in (INSIDE, OUTSIDE)}
        print(f"{name:20} AUROC {got.value:.3f} ± {got.standard_error:.3f}", flush=True)
    content: dict[str, Any] = {
        "scores": rows,
        "published": PUBLISHED,
        "settings": {k: v for k, v in vars(arguments).items() if k not in ("out", "runs")},
        "seconds_scoring": round(seconds, 1),
        "threads": torch.get_num_threads(),
        "protocol": __doc__,
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(content, indent=2) + "\n")
    values = {f"{data} | {k}": v.values.numpy() for data in scores for k, v in scores[data].items()}
    np.savez_compressed(arguments.out.with_suffix(".npz"), **values)  # pyright: ignore[reportArgumentType]
    draw(scores, rows, arguments.out.with_suffix(".png"))


def draw(scores: dict[str, dict[str, Estimates]], rows: dict[str, dict[str, float]], path: Path) -> None:
    """log p(x) and the regret of both data sets, and the ROC curves of all scores."""
    figure = new_figure(12.5, 3.6)
    likelihood, regret, roc = figure.subplots(1, 3)
    panels = ((likelihood, "log p(x)", -1, "log p(x) (nats)"), (regret, "regret", 1, "regret L[q*] − L[q] (nats)"))
    for axes, name, sign, label in panels:
        both = {data: sign * scores[data][name].values.numpy() for data in (INSIDE, OUTSIDE)}
        ends = np.quantile(np.concatenate(list(both.values())), [0.002, 0.998])
        for colour, (data, values) in zip((MODEL, DATA), both.items(), strict=True):
            shown = values.clip(*ends)
            axes.hist(shown, bins=40, range=tuple(ends), color=colour, alpha=0.6, label=NAMES[data])
        style_axes(axes, title=f"AUROC {rows[name]['auroc']:.3f}", x=label, y="test images", small=True)
        axes.legend(frameon=False, fontsize=8, labelcolor=INK)
    draw_roc(roc, scores, rows)
    figure.savefig(path)


def draw_roc(axes: Any, scores: dict[str, dict[str, Estimates]], rows: dict[str, dict[str, float]]) -> None:
    """One curve for each score; that in bits per dimension is that of log p(x)."""
    names = [name for name in rows if name != "bits per dimension"]
    for colour, name in zip(CLASS_COLOURS, names, strict=False):
        inside, outside = (scores[data][name].values.double().numpy() for data in (INSIDE, OUTSIDE))
        is_outside = np.repeat([0, 1], [len(inside), len(outside)])
        false_rate, true_rate, _ = roc_curve(is_outside, np.concatenate([inside, outside]))
        axes.plot(false_rate, true_rate, color=colour, linewidth=1.6, label=f"{name} {rows[name]['auroc']:.2f}")
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle="--")
    style_axes(axes, title="Digits found among clothes", x="clothes called foreign", y="digits found", small=True)
    axes.legend(frameon=False, fontsize=8, labelcolor=INK, loc="center left", bbox_to_anchor=(1.0, 0.5))


if __name__ == "__main__":
    main()
