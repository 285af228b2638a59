"""A flow-matching prior and an affine flow, fitted to the same codes after training.

A model of dynamically binarized images (784-200-200-16 and back, tanh, standard normal prior, the ELBO from one
sample). `fit_prior_to_latents` then fits each prior to codes z ~ q(z | x) of the same training images; encoder and
decoder stay as they are. Reported is log p(z) of codes of test images, which neither the model nor a prior has seen:
one draw of q for each image, the same for all priors, so that differences are paired, in nats per image with standard
errors over images. The prior enters the bound by log p(z) alone, so that the bound of these draws differs by the same.

Both densities are as `evaluate` computes them: the flow-matching prior solves its ODE, and the change of its mean
when the solver takes four times as many steps is reported beside.

python papers/flow_matching_codes.py
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from pinned import pinned
from prior_after_training import mean_and_error
from torch import Tensor

from lowerbound import priors
from lowerbound.data import load
from lowerbound.fitting import prepare
from lowerbound.model import LatentVariableModel
from lowerbound.priors import FlowMatching, fit_prior_to_latents
from lowerbound.randomness import forked
from lowerbound.spelling import construct
from lowerbound.stages import fit

RESULTS = Path(__file__).parent / "results"
CPU = torch.device("cpu")
LEARNING_RATES = {"flow-prior:kind=affine": 1e-3, "flow-matching": 3e-3}
MODEL = {"latent_dim": 16, "hidden": [200, 200], "activation": "tanh"}


def main() -> None:
    """Read the options, run one data set after the other, save after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=("mnist", "fashion-mnist"))
    parser.add_argument("--steps", type=int, default=4000, help="of 100 images, of the model")
    parser.add_argument("--fit-images", type=int, default=20_000, help="training images whose codes are fitted")
    parser.add_argument("--test-images", type=int, default=2000)
    parser.add_argument("--max-epochs", type=int, default=60, help="of each prior")
    parser.add_argument("--out", type=Path, default=RESULTS / "flow_matching_codes.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    results: dict[str, Any] = {"protocol": __doc__, "steps": arguments.steps, "max_epochs": arguments.max_epochs}
    for name in arguments.data:
        results[name] = run(name, arguments)
        arguments.out.write_text(json.dumps(results, indent=2) + "\n")


def run(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Train a model, fit both priors to its codes, and compare them on codes of test images."""
    dataset = load(name)
    plan = pinned(dataset, model=MODEL, batch_size=100, steps=arguments.steps, lr=2e-3, device="cpu")
    engine = plan.engine()
    training = prepare(dataset, plan, engine)
    for _ in fit(training, plan, engine):
        pass
    model = training.loss.model.eval()
    with forked(CPU, 0), torch.no_grad():
        x_fit = training.transform(torch.as_tensor(dataset.x_train[: arguments.fit_images]))
        x_test = training.transform(torch.as_tensor(dataset.x_test[: arguments.test_images]))
        z = model.infer(x_test).sample()
        scores = {"standard-normal": model.prior(None).log_prob(z)}
    rows: dict[str, Any] = {}
    for words in LEARNING_RATES:
        rows[words], scores[words] = fit_one(words, model, x_fit, z, arguments.max_epochs)
        print(name, words, rows[words], flush=True)
    gain, error = mean_and_error(scores["flow-matching"] - scores["flow-prior:kind=affine"])
    print(f"{name}: flow matching − affine {gain:.3f} ± {error:.3f} nats", flush=True)
    return {
        "num_fit_images": len(x_fit),
        "num_test_images": len(x_test),
        "standard_normal": mean_and_error(scores["standard-normal"]),
        "priors": rows,
        "flow_matching_minus_affine": gain,
        "flow_matching_minus_affine_error": error,
    }


def fit_one(
    words: str, model: LatentVariableModel, x: Tensor, z: Tensor, max_epochs: int
) -> tuple[dict[str, Any], Tensor]:
    """Fit a prior; its numbers, and log p(z) of each code."""
    with forked(CPU, 0):
        prior = construct(priors, words, latent_shape=z.shape[-1])
    start = time.process_time()
    fitted = fit_prior_to_latents(prior, model, x, max_epochs=max_epochs, learning_rate=LEARNING_RATES[words])
    seconds = time.process_time() - start
    with torch.no_grad():
        log_prior = prior(None).log_prob(z)
        mean, error = mean_and_error(log_prior)
        row = {"log_prior": mean, "error": error, "num_epochs": fitted.num_epochs, "seconds": round(seconds, 1)}
        if isinstance(prior, FlowMatching):
            prior.steps *= 4
            row["change_with_four_times_the_steps"] = (prior(None).log_prob(z) - log_prior).mean().item()
    return row, log_prior


if __name__ == "__main__":
    main()
