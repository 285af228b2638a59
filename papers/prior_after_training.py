"""Priors fitted to the latents of models that were trained under a standard normal (Dai & Wipf 2019, arXiv:1903.05789).

Two models, with a standard normal prior and diagonal normal posteriors: the 8 x 8 digits (64-128-8 and back) and MNIST
(784-200-200-50 and back, tanh), both binarized at every visit, the ELBO from one sample. `fit_prior_to_latents` fits
each of several priors to the latents of training images; encoder and decoder stay as they are. Reported are

*   the mean log density of held-out latents under the old prior and the new one, and the gain, in nats per datum with
    standard errors over data. The encoder was trained on these images, the priors were not;
*   the gain of the bound and of L_K on the test images, which neither has seen, under the same draws of z. The bound
    gains by as much as the density of the latents, E_q[log p'(z) − log p(z)]: nothing else in it has changed.

Beside the numbers a picture of each model: decoded samples, one line of images for each prior.

python papers/prior_after_training.py
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pinned import pinned
from torch import Tensor

from lowerbound import plots, priors
from lowerbound.data import Dataset, load
from lowerbound.evaluate import Evidence, log_evidence
from lowerbound.fitting.preparing import prepare
from lowerbound.fitting.stages import fit
from lowerbound.model import LatentVariableModel
from lowerbound.priors import fit_prior_to_latents
from lowerbound.randomness import forked
from lowerbound.spelling import construct

RESULTS = Path(__file__).parent / "results"
CPU = torch.device("cpu")
PRIORS = ("mixture-normal", "flow-prior:kind=affine", "flow-prior", "vamp-prior")
SETTINGS: dict[str, dict[str, Any]] = {
    "digits": {"model": {"latent_dim": 8, "hidden": [128]}, "batch_size": 64, "epochs": 300},
    "mnist": {
        "model": {"latent_dim": 50, "hidden": [200, 200], "activation": "tanh"},
        "batch_size": 100,
        "epochs": 20,
        "lr": 3e-3,
    },
}
PICTURES = 12


def main() -> None:
    """Read the options, run one data set after the other, save after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", choices=tuple(SETTINGS), default=tuple(SETTINGS))
    parser.add_argument("--fit-images", type=int, default=20_000, help="training images whose latents are used")
    parser.add_argument("--test-images", type=int, default=1000)
    parser.add_argument("--evidence-samples", type=int, default=1000)
    parser.add_argument("--shorten", type=int, default=1, help="divide every number of epochs by this, to try it out")
    parser.add_argument("--out", type=Path, default=RESULTS / "prior_after_training.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {"protocol": __doc__, "threads": torch.get_num_threads()}
    for name in arguments.data:
        results[name] = run(name, arguments)
        arguments.out.write_text(json.dumps(results, indent=2) + "\n")


def run(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Train one model, fit every prior to its latents, draw the picture."""
    settings, dataset = SETTINGS[name], load(name)
    plan = pinned(dataset, **{**settings, "epochs": settings["epochs"] / arguments.shorten}, device="cpu")
    engine = plan.engine()
    training = prepare(dataset, plan, engine)
    for _ in fit(training, plan, engine):
        pass
    model = training.loss.model
    with forked(CPU, 0):
        x_fit = training.transform(torch.as_tensor(dataset.x_train[: arguments.fit_images]))
        x_test = training.transform(torch.as_tensor(dataset.x_test[: arguments.test_images]))
    before = log_evidence(model, x_test, num_samples=arguments.evidence_samples)
    print(f"{name}: standard-normal  test bound {before.mean_elbo:.2f}  L_K {before.mean:.2f}", flush=True)
    rows, pictures = {}, [draw(model)]
    for prior in PRIORS:
        rows[prior] = fit_one(prior, model, dataset, x_fit, x_test, before, arguments)
        pictures.append(draw(model))
        model.prior = priors.StandardNormal(plan.model["latent_dim"])
        print(f"{name}: {prior:<24}", rows[prior], flush=True)
    title = "Lines: " + " | ".join(("standard-normal", *PRIORS))
    figure = plots.image_grid(np.concatenate(pictures), PICTURES, title=title)
    figure.savefig(arguments.out.with_name(f"{arguments.out.stem}_{name}.png"))
    return {
        "settings": plan.to_json(),
        "num_fit_images": len(x_fit),
        "num_test_images": len(x_test),
        "num_samples": arguments.evidence_samples,
        "test_bound": before.mean_elbo,
        "test_log_evidence": before.mean,
        "priors": rows,
    }


def fit_one(
    text: str,
    model: LatentVariableModel,
    dataset: Dataset,
    x_fit: Tensor,
    x_test: Tensor,
    before: Evidence,
    arguments: argparse.Namespace,
) -> dict[str, Any]:
    """Fit a prior, put it into the model, and say what was gained."""
    latent_dim = model.prior().event_shape[0]
    with forked(CPU, 0):
        prior = construct(
            priors, text, latent_shape=latent_dim, event_shape=dataset.event_shape, posterior=model.posterior
        )
    start = time.process_time()
    epochs = max(1, 200 // arguments.shorten)
    latents = fit_prior_to_latents(prior, model, x_fit, max_epochs=epochs, learning_rate=1e-3)
    seconds = time.process_time() - start
    model.prior = prior
    after = log_evidence(model, x_test, num_samples=arguments.evidence_samples)
    bound, bound_error = mean_and_error(after.elbo - before.elbo)
    evidence, evidence_error = mean_and_error(after.log_evidence - before.log_evidence)
    return {
        **asdict(latents),
        "test_bound_gain": bound,
        "test_bound_gain_error": bound_error,
        "test_log_evidence_gain": evidence,
        "test_log_evidence_gain_error": evidence_error,
        "seconds": round(seconds, 1),
    }


def mean_and_error(values: Tensor) -> tuple[float, float]:
    """The mean over data and its standard error."""
    values = values.double()
    return values.mean().item(), values.std().item() / len(values) ** 0.5


def draw(model: LatentVariableModel) -> np.ndarray:
    """Decoded draws of the prior."""
    with forked(CPU, 1):
        return model.sample_mean(PICTURES).numpy()


if __name__ == "__main__":
    main()
