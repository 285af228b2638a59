"""A flow-matching prior and an affine flow, fitted to the same codes after training.

A model of dynamically binarized images (784-200-200-16 and back, tanh, standard normal prior, the ELBO from one
sample). `fit_prior_to_latents` then fits each prior to codes z ~ q(z | x) of the same training images; encoder and
decoder stay as they are. Reported is log p(z) of codes of test images, which neither the model nor a prior has seen:
one draw of q for each image, the same for all priors, so that differences are paired, in nats per image with standard
errors over images. The prior enters the bound by log p(z) alone, so that the bound of these draws differs by the same.
Each prior is fitted from several seeds to the codes of one model; the mean gain over seeds has beside it the standard
error over images of the mean over seeds, and the gain of each seed. Both priors have the same passes at most; flow
matching is on −log p(z) in the second half of them. Flow matching takes its own learning rate; the affine flow takes
the best of some, by log p(z) of held-out training rows, seed 0. The processor time of each fit stands beside.

Both densities are as `evaluate` computes them: the flow-matching prior solves its ODE, and the change of its mean over
a thousand images when the solver takes four times as many steps is reported beside. How much there is to gain, a third
density says that shares nothing with the two: mixtures of Gaussians with full covariances by EM, to two draws of the
code of each row of nine tenths of the training images; the last tenth chooses the number of components.

Beside the numbers a picture: decoded draws of the standard normal, of the affine flow and of flow matching, seed 0.

python papers/flow_matching_codes.py
"""

from __future__ import annotations

import argparse
import json
import math
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pinned import pinned
from prior_after_training import draw, mean_and_error
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch import Tensor

from lowerbound import priors
from lowerbound.data import load
from lowerbound.fitting.preparing import prepare
from lowerbound.fitting.stages import fit
from lowerbound.model import LatentVariableModel
from lowerbound.plots import image_grid
from lowerbound.priors import FlowMatching, fit_prior_to_latents
from lowerbound.protocols import Conditional
from lowerbound.randomness import forked
from lowerbound.spelling import construct

RESULTS = Path(__file__).parent / "results"
CPU = torch.device("cpu")
PRIORS = ("flow-prior:kind=affine", "flow-matching")
_ROWS_TO_CHECK = 1000
MODEL = {"latent_dim": 16, "hidden": [200, 200], "activation": "tanh"}


def main() -> None:
    """Read the options, run one data set after the other, save after each seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=("mnist", "fashion-mnist"))
    parser.add_argument("--steps", type=int, default=4000, help="of 100 images, of the model")
    parser.add_argument("--fit-images", type=int, default=20_000, help="training images whose codes are fitted")
    parser.add_argument("--test-images", type=int, default=5000)
    parser.add_argument("--rates", type=float, nargs="+", default=(1e-3, 3e-3, 6e-3), help="tried by the affine flow")
    parser.add_argument("--max-epochs", type=int, default=60, help="of each prior")
    parser.add_argument("--seeds", type=int, default=3, help="of each prior")
    parser.add_argument("--components", type=int, nargs="+", default=(25, 50, 100), help="of the mixture by EM")
    parser.add_argument("--out", type=Path, default=RESULTS / "flow_matching_codes.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    options = {name: value for name, value in vars(arguments).items() if name not in ("data", "out")}
    results: dict[str, Any] = {"protocol": __doc__, "options": options}
    for name in arguments.data:
        for result in run(name, arguments):
            results[name] = result
            arguments.out.write_text(json.dumps(results, indent=2) + "\n")


def run(name: str, arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Fit both priors to the codes of a model, and compare them on codes of test images, seed by seed."""
    model, x_fit, x_test = trained(name, arguments)
    with forked(CPU, 0), torch.no_grad():
        z = model.infer(x_test).sample()
        scores = {"standard-normal": model.prior(None).log_prob(z)}
    mixture = by_expectation_maximisation(model, x_fit, z, arguments.components)
    print(name, "mixture", mixture, flush=True)
    rows: dict[str, Any] = {words: [] for words in PRIORS}
    gains, pictures = [], [draw(model)]
    tried = {rate: fit_one(PRIORS[0], model, x_fit, z, arguments.max_epochs, rate, 0) for rate in arguments.rates}
    best = max(tried, key=lambda rate: tried[rate][1]["held_out"])
    print(name, "rates tried by the affine flow", {rate: row for rate, (_, row, _) in tried.items()}, flush=True)
    for seed in range(arguments.seeds):
        for words, rate in zip(PRIORS, (best, None), strict=True):
            done = seed == 0 and words == PRIORS[0]
            fitted = tried[best] if done else fit_one(words, model, x_fit, z, arguments.max_epochs, rate, seed)
            prior, row, scores[words] = fitted
            if seed == 0:
                parts = {"likelihood": model.likelihood, "posterior": model.posterior}
                pictures.append(draw(LatentVariableModel(prior=prior, **parts)))
            rows[words].append({"seed": seed, **row})
            print(name, words, rows[words][-1], flush=True)
        gains.append(scores["flow-matching"] - scores["flow-prior:kind=affine"])
        print(f"{name}: flow matching − affine, nats and standard error: {mean_and_error(gains[-1])}", flush=True)
        if seed == 0:
            show(pictures, arguments.out.with_name(f"{arguments.out.stem}_{name}.png"))
        yield {
            "num_fit_images": len(x_fit),
            "num_test_images": len(x_test),
            "standard_normal": mean_and_error(scores["standard-normal"]),
            "held_out_of_each_rate": {rate: row["held_out"] for rate, (_, row, _) in tried.items()},
            "priors": rows,
            "mixture": mixture,
            "gain_of_seeds": [mean_and_error(gain) for gain in gains],
            "gain": mean_and_error(torch.stack(gains).mean(0)),
        }


def trained(name: str, arguments: argparse.Namespace) -> tuple[LatentVariableModel, Tensor, Tensor]:
    """A model, the training images whose codes are fitted, and the test images."""
    dataset = load(name)
    plan = pinned(dataset, model=MODEL, batch_size=100, steps=arguments.steps, lr=2e-3, device="cpu")
    engine = plan.engine()
    training = prepare(dataset, plan, engine)
    for _ in fit(training, plan, engine):
        pass
    with forked(CPU, 0):
        x_fit = training.transform(torch.as_tensor(dataset.x_train[: arguments.fit_images]))
        x_test = training.transform(torch.as_tensor(dataset.x_test[: arguments.test_images]))
    return training.loss.model.eval(), x_fit, x_test


def show(pictures: list[np.ndarray], path: Path) -> None:
    """Draws of the three priors, one below the other."""
    title = "Draws of: standard normal | affine flow | flow matching"
    image_grid(np.concatenate(pictures), len(pictures[0]), title=title).savefig(path)


def fit_one(
    words: str, model: LatentVariableModel, x: Tensor, z: Tensor, max_epochs: int, rate: float | None, seed: int
) -> tuple[Conditional, dict[str, Any], Tensor]:
    """Fit a prior; it, its numbers, and log p(z) of each code."""
    with forked(CPU, seed):
        prior = construct(priors, words, latent_shape=z.shape[-1])
    start = time.process_time()
    fitted = fit_prior_to_latents(prior, model, x, max_epochs=max_epochs, learning_rate=rate, seed=seed)
    seconds = time.process_time() - start
    with torch.no_grad():
        log_prior = prior(None).log_prob(z)
        mean, error = mean_and_error(log_prior)
        row: dict[str, Any] = {"log_prior": mean, "error": error, "held_out": fitted.after}
        row |= {"num_epochs": fitted.num_epochs, "cpu_seconds": round(seconds, 1)}
        if isinstance(prior, FlowMatching):
            row["learning_rate"] = [prior.fitting_rate, fitted.last_learning_rate]
            prior.steps *= 4
            few = slice(_ROWS_TO_CHECK)
            row["change_with_four_times_the_steps"] = (prior(None).log_prob(z[few]) - log_prior[few]).mean().item()
            prior.steps //= 4
        else:
            row["learning_rate"] = [rate, fitted.last_learning_rate]
    return prior, row, log_prior


def by_expectation_maximisation(
    model: LatentVariableModel, x: Tensor, z: Tensor, components: Sequence[int]
) -> dict[str, Any]:
    """The best of some mixtures of Gaussians by the codes of the last tenth of the rows, and its log p(z)."""
    with forked(CPU, 0), torch.no_grad():
        codes = model.infer(x).sample(torch.Size((2,)))
    count = len(x) - len(x) // 10
    chosen, best, scores = 0, -math.inf, {}
    for number in components:
        mixture = GaussianMixture(number, reg_covar=1e-4, max_iter=60, tol=1e-2, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # sixty steps are the budget
            mixture.fit(codes[:, :count].reshape(-1, z.shape[-1]).numpy())
        scores[number] = mixture.score(codes[0, count:].numpy())
        if scores[number] > best:
            chosen, best, kept = number, scores[number], torch.as_tensor(mixture.score_samples(z.numpy()))
    mean, error = mean_and_error(kept)
    return {"components": chosen, "log_prior": mean, "error": error, "held_out_of_each": scores}


if __name__ == "__main__":
    main()
