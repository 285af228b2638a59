"""How far is L_K from log p(x)? Importance sampling against annealing on one model of MNIST.

The model is the one-layer network of Burda, Grosse & Salakhutdinov (2016, arXiv:1509.00519) as `iwae_one_layer` trains
it: 784-200-200-50 and back, tanh, pixels binarized anew at every visit, the ELBO from one sample, 300 passes at batch
100, learning rate 1e-3 falling exponentially to a hundredth. Test images are binarized once.

*   L_K of K = 1, 10, 100, 1,000 and 5,000 samples of q, of --test-images, to be set beside the published −86.76 of
    L_5000 (3,280 passes, 10,000 images), and of the first --annealed-images for the comparison with annealing.
*   Annealed importance sampling of those images (Wu, Burda, Salakhutdinov & Grosse 2017, arXiv:1611.04273), from the
    prior and from q(z | x). They report, for a better model, −85.68 by annealing where L_10000 says −86.90.
*   How far annealing itself can be trusted: the sandwich of bidirectional Monte Carlo on images simulated from the
    model, for either start. Its gap is in expectation at least the error of the lower estimate.

L_K and the annealed estimate are both low on average; the higher is the nearer.

python papers/importance_against_annealing.py
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from fitted import fitted, rows_of_test
from torch import Tensor

from lowerbound.evaluate import annealed_importance, bidirectional, log_evidence, summary
from lowerbound.model import LatentVariableModel
from lowerbound.plots.style import CLASS_COLOURS, INK, MODEL, new_figure, style_axes

RESULTS = Path(__file__).parent / "results"
SAMPLES = (1, 10, 100, 1000, 5000)
Start = Literal["posterior", "prior"]
PUBLISHED = {
    "L_5000, Burda et al. (2016)": -86.76,
    "annealed, Wu et al. (2017)": -85.679,
    "L_10000, Wu et al. (2017)": -86.902,
}


def main() -> None:
    """Read the options, fit or open, measure, save after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=float, default=300)
    parser.add_argument("--test-images", type=int, default=2000)
    parser.add_argument("--annealed-images", type=int, default=100)
    parser.add_argument("--simulated-images", type=int, default=50)
    parser.add_argument("--distributions", type=int, default=1000)
    parser.add_argument("--chains", type=int, default=16)
    parser.add_argument("--samples", type=int, nargs="+", default=SAMPLES, help="K")
    parser.add_argument("--starts", nargs="+", choices=get_args(Start), default=get_args(Start))
    parser.add_argument("--run", type=Path, default=Path("runs/iwae-one-layer"), help="where the fit is kept")
    parser.add_argument("--out", type=Path, default=RESULTS / "importance_against_annealing.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    run = fitted(arguments.run, "mnist", settings(arguments.epochs))
    model, x = run.model, rows_of_test(run, arguments.test_images)
    result: dict[str, Any] = {"protocol": __doc__, "published": PUBLISHED}
    result["settings"] = {k: v for k, v in vars(arguments).items() if k not in ("out", "run")}
    result["active_units"] = summary(model, x).active_units
    for name, measured in measurements(model, x, arguments):
        result[name] = measured
        print(name, measured, flush=True)
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(result, indent=2) + "\n")
    draw(result, arguments.out.with_suffix(".png"))


def settings(epochs: float) -> dict[str, Any]:
    """Those of `iwae_one_layer`."""
    return {
        "model": {"latent_dim": 50, "hidden": [200, 200], "activation": "tanh"},
        "objective": "elbo",
        "num_samples": 1,
        "batch_size": 100,
        "epochs": epochs,
        "lr": 1e-3,
        "lr_schedule": "exponential",
        "seed": 0,
    }


def measurements(model: LatentVariableModel, x: Tensor, arguments: argparse.Namespace) -> Any:
    """Name and numbers of one measurement after the other."""
    few = x[: arguments.annealed_images]
    yield "importance", importance(model, x, few, arguments.samples)
    for start in arguments.starts:
        yield f"annealed from the {start}", annealed(model, few, start, arguments)
    for start in arguments.starts:
        yield f"sandwich from the {start}", sandwich(model, start, arguments)


def importance(model: LatentVariableModel, x: Tensor, few: Tensor, samples: tuple[int, ...]) -> dict[str, Any]:
    """L_K of all images and of those that are annealed, for every K, each with its own draws."""
    rows = {}
    for k in samples:
        begun = time.process_time()
        got = log_evidence(model, x, num_samples=k, seed=k)
        chosen = got.log_evidence[: len(few)].double()
        errors = got.standard_error[: len(few)].double()
        rows[str(k)] = {
            "mean": got.mean,
            "standard_error_over_images": got.standard_error_of_mean,
            "mean_of_annealed_images": chosen.mean().item(),
            "sampling_error_of_annealed_images": errors.square().sum().sqrt().item() / len(few) if k > 1 else None,
            "unreliable_fraction": got.unreliable_fraction,
            "cpu_seconds": round(time.process_time() - begun, 1),
        }
    return rows


def annealed(model: LatentVariableModel, x: Tensor, start: Start, arguments: argparse.Namespace) -> dict[str, Any]:
    """log p̂(x) by annealing."""
    begun = time.process_time()
    got = annealed_importance(
        model, x, num_distributions=arguments.distributions, num_chains=arguments.chains, start=start
    )
    return {
        "mean": got.mean,
        "sampling_error": got.sampling_error_of_mean,
        "standard_error_over_images": got.standard_error_of_mean,
        "effective_sample_size": got.effective_sample_size.mean().item(),
        "acceptance": got.acceptance.mean().item(),
        "cpu_seconds": round(time.process_time() - begun, 1),
    }


def sandwich(model: LatentVariableModel, start: Start, arguments: argparse.Namespace) -> dict[str, Any]:
    """Both bounds of log p(x) of simulated images."""
    begun = time.process_time()
    got = bidirectional(
        model,
        arguments.simulated_images,
        num_distributions=arguments.distributions,
        num_chains=arguments.chains,
        start=start,
    )
    return {
        "lower": got.lower.mean,
        "upper": got.upper.mean,
        "gap": got.gap.mean,
        "standard_error_of_gap": got.gap.standard_error_of_mean,
        "cpu_seconds": round(time.process_time() - begun, 1),
    }


def draw(result: dict[str, Any], path: Path) -> None:
    """L_K against K, and the level of annealing with two of its errors each way."""
    figure = new_figure(7.5, 4.2)
    axes = figure.subplots()
    curve = result["importance"]
    samples = [int(k) for k in curve]
    means = [row["mean_of_annealed_images"] for row in curve.values()]
    errors = [2 * (row["sampling_error_of_annealed_images"] or 0.0) for row in curve.values()]
    axes.errorbar(samples, means, errors, color=MODEL, marker="o", markersize=5, capsize=3, label="L_K")
    for k, mean, error in zip(samples, means, errors, strict=True):
        axes.annotate(
            f"{mean:.2f}", (k, mean - error), (0, -12), textcoords="offset points", ha="center", fontsize=8, color=INK
        )
    starts = [start for start in get_args(Start) if f"annealed from the {start}" in result]
    for colour, start in zip(CLASS_COLOURS[2:], starts, strict=False):
        row = result[f"annealed from the {start}"]
        level, error = row["mean"], 2 * row["sampling_error"]
        axes.axhspan(level - error, level + error, color=colour, alpha=0.25, linewidth=0)
        axes.axhline(
            level, color=colour, linewidth=1.4, label=f"annealed from the {start}: {level:.2f} ± {error / 2:.2f}"
        )
    axes.set_xscale("log")
    axes.margins(x=0.08, y=0.14)
    title = f"{result['settings']['annealed_images']} test images of MNIST"
    style_axes(axes, title=title, x="K, importance samples an image", y="mean log p̂(x) (nats)")
    axes.legend(frameon=False, fontsize=9, labelcolor=INK, loc="lower right")
    figure.savefig(path)


if __name__ == "__main__":
    main()
