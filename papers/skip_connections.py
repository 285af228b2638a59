"""Deep narrow decoders with and without skip connections from z to every layer (Dieng et al. 2019, arXiv:1807.04863).

    plain     h_l = a(W_l h_{l−1} + b_l)                    recipe `vae`
    skips     h_l = a(W_l h_{l−1} + U_l z + b_l)            recipe `skip-vae`

Both have an encoder and a decoder of --layers layers of --width units with rectifiers and --latent-dim latents. Dynamic
MNIST: Bernoulli pixels, binarized anew at every visit; the ELBO with KL in closed form, without a warm-up; Adam,
batches of 100, a rate that falls from --lr to a hundredth by a cosine; the bound of 5,000 training images chooses the
weights. Reported for the first --test-images, binarized once: the ELBO, L_K, the rate, the mutual information I(x; z)
of these images and their latents, which is at most their logarithm, and latents with a rate above 0.1 nats. One line
for each seed; the difference of two models is taken seed by seed, and its standard error is that over seeds.

python papers/skip_connections.py --runs runs/skips
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fitted import carried_out, rows_of_test

from lowerbound.data import Dataset, load
from lowerbound.evaluate import aggregate_posterior, log_evidence
from lowerbound.fitted import Fitted
from lowerbound.fitting.planning import Plan, plan
from lowerbound.plots.style import DATA, MODEL, new_figure, style_axes

RESULTS = Path(__file__).parent / "results"
RECIPES = {"plain": "vae", "skips": "skip-vae"}
MEASURES = ("elbo", "log_evidence", "rate", "mutual_information")


def main() -> None:
    """Read the options; train, score and save one model after another."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--latent-dim", type=int, default=10)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--test-images", type=int, default=10_000)
    parser.add_argument("--evidence-samples", type=int, default=100, help="K")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--runs", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--out", type=Path, default=RESULTS / "skip_connections.json")
    given = parser.parse_args()
    torch.set_num_threads(1)
    dataset = load(given.data)
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in RECIPES}
    for seed in given.seeds:
        for name in RECIPES:
            run = carried_out(
                given.runs / f"{name}-{seed}", {"name": given.data}, dataset, planned(name, dataset, seed, given)
            )
            found[name].append(scores(run, given))
            print(name, seed, {key: value for key, value in found[name][-1].items() if key != "rates"}, flush=True)
        save(found, given)
    draw(found, given)


def planned(name: str, dataset: Dataset, seed: int, given: argparse.Namespace) -> Plan:
    """Everything that decides a fit."""
    return plan(
        dataset,
        RECIPES[name],
        latent_dim=given.latent_dim,
        hidden=[given.width] * given.layers,
        likelihood="bernoulli",
        prior="standard-normal",
        posterior="diagonal-normal",
        activation="relu",
        binarization="dynamic",
        objective="elbo:rate=kl",
        gradient="pathwise",
        num_samples=1,
        steps=given.steps,
        batch_size=100,
        lr=given.lr,
        lr_schedule="cosine",
        seed=seed,
        device="cpu",
        precision="fp32",
        compile=False,
    ).replace(ema=None, clip_norm=None, skip_above=None, patience=None)


def scores(found: Fitted, given: argparse.Namespace) -> dict[str, Any]:
    """The bounds, the rate and the mutual information, nats per image."""
    x = rows_of_test(found, given.test_images)
    aggregate = aggregate_posterior(found.model, x, num_samples=1)
    evidence = log_evidence(found.model, x, num_samples=given.evidence_samples)
    with torch.no_grad():
        q, p = found.model.infer(x), found.model.prior()
        rates = torch.distributions.kl_divergence(q.base_dist, p.base_dist).mean(0)  # type: ignore[attr-defined]
    return {
        "elbo": evidence.mean_elbo,
        "log_evidence": evidence.mean,
        "rate": aggregate.rate.mean,
        "mutual_information": aggregate.mutual_information.mean,
        "mutual_information_at_most": math.log(len(x)),
        "active": int((rates > 0.1).sum()),
        "rates": sorted((round(rate, 3) for rate in rates.tolist()), reverse=True),
        "parameters": sum(p.numel() for p in found.model.parameters()),
        "seconds_training": found.records[-1]["seconds"],
    }


def save(found: dict[str, list[dict[str, Any]]], given: argparse.Namespace) -> None:
    """Each seed of each model, and the differences with their standard errors over seeds."""
    difference = {}
    for key in MEASURES:
        values = np.subtract(*([row[key] for row in found[name]] for name in ("skips", "plain")))
        error = values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else None
        difference[key] = {"mean": values.mean(), "standard_error": error}
    options = {key: value for key, value in vars(given).items() if key not in ("out", "runs")}
    content = {"protocol": __doc__, "options": options, "skips_minus_plain": difference, "models": found}
    given.out.write_text(json.dumps(content, indent=1) + "\n")
    print(difference, flush=True)


def draw(found: dict[str, list[dict[str, Any]]], given: argparse.Namespace) -> None:
    """The rate of each latent, the largest first, averaged over seeds."""
    figure = new_figure(6, 3)
    axes = figure.subplots()
    for shift, colour, (name, rows) in zip((-0.2, 0.2), (DATA, MODEL), found.items(), strict=True):
        rates = np.mean([row["rates"] for row in rows], 0)
        axes.bar(np.arange(1, len(rates) + 1) + shift, rates, 0.4, label=name, color=colour)
    style_axes(axes, title="What each latent says of x", x="latents, the largest rate first", y="rate, nats")
    axes.legend()
    figure.savefig(given.out.with_suffix(".png"))


if __name__ == "__main__":
    main()
