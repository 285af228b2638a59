"""MNIST as sequences of 28 rows: the chain rule, the chain rule with a global latent, and a state-space model.

    chain rule          p(x) = Π_t p(x_t | x_<t)                        log p(x) exact
    with a latent       p(z) Π_t p(x_t | x_<t, z)                       L_K
    state space         p(z_1) Π p(z_t | z_{t−1}) Π p(x_t | z_t)        L_K

Dynamically binarized pixels, independent Bernoulli within a row given what it depends on. Every model is trained for
the same CPU time by Adam at a constant rate on the ELBO (without latents that is log p(x) itself), batch 100. The score
is the mean over the first test images, binarized once with a fixed seed, of log p(x) or of L_K. A small budget: the
figures compare the three here, and are no records.

python papers/rows_mnist.py --seconds 120
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lowerbound.data import InMemory, Pixels, load
from lowerbound.evaluate import log_evidence, summary
from lowerbound.gradients import Pathwise
from lowerbound.losses import VariationalLoss
from lowerbound.models.directed import DirectedModel
from lowerbound.models.sequence import autoregressive_rows, state_space
from lowerbound.objectives import ELBO
from lowerbound.plots import image_grid
from lowerbound.randomness import forked
from lowerbound.training.loop import train

RESULTS = Path(__file__).parent / "results"
SHAPE = (28, 28)


def main() -> None:
    """Read the options; train, score and save one model after another."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120, help="CPU time of training, of each model")
    parser.add_argument("--width", type=int, default=128, help="of every recurrent and hidden layer")
    parser.add_argument("--latent-dim", type=int, default=16)
    parser.add_argument("--evidence-samples", type=int, default=100)
    parser.add_argument("--test-images", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS / "rows_mnist.json")
    given = parser.parse_args()
    mnist = load("mnist")
    pixels = Pixels(scale=mnist.pixel_scale)
    source = InMemory(torch.as_tensor(np.asarray(mnist.x_train)), pixels)
    with forked(torch.device("cpu"), given.seed):
        x = pixels(torch.as_tensor(mnist.x_test[: given.test_images]))
    given.out.parent.mkdir(exist_ok=True)
    results: dict[str, Any] = {"protocol": __doc__, "seconds": given.seconds, "models": {}}
    pictures = []
    for name, model in models(given.width, given.latent_dim, given.seed).items():
        results["models"][name] = trained(model, source, given) | scores(model, x, given)
        pictures.append(drawn(model, given.seed))
        print(name, results["models"][name], flush=True)
        given.out.write_text(json.dumps(results, indent=2) + "\n")
        title = f"Samples, two lines each: {', '.join(list(results['models']))}"
        image_grid(np.concatenate(pictures), columns=14, title=title).savefig(given.out.with_suffix(".png"))


def models(width: int, latent_dim: int, seed: int) -> dict[str, DirectedModel]:
    """The three."""
    with forked(torch.device("cpu"), seed):
        sizes: dict[str, Any] = {"hidden": [width], "recurrent_dim": width}
        return {
            "chain rule": autoregressive_rows(SHAPE, **sizes),
            "chain rule with a latent": autoregressive_rows(SHAPE, latent_dim=latent_dim, **sizes),
            "state space": state_space(SHAPE, latent_dim=latent_dim, likelihood="bernoulli", **sizes),
        }


def trained(model: DirectedModel, source: InMemory, given: argparse.Namespace) -> dict[str, Any]:
    """Train until the CPU time is up."""
    model.initialize(source.tensors[0][:1000].float() / 255)
    loss = VariationalLoss(model, ELBO(), Pathwise())
    begun, wall = time.process_time(), time.perf_counter()
    steps = train(
        loss,
        source,
        num_steps=10**6,
        batch_size=100,
        lr=2e-3,
        clip_norm=10.0,
        seed=given.seed,
        log_every=20,
        compile=False,
    )
    for record in steps:
        if time.process_time() - begun > given.seconds:
            steps.close()
            return {
                "steps": record.step,
                "epochs": record.epoch,
                "training_bound": record.terms["bound"],
                "cpu_seconds_training": time.process_time() - begun,
                "seconds_training": time.perf_counter() - wall,
            }
    raise AssertionError("training ended before its time")


def scores(model: DirectedModel, x: Tensor, given: argparse.Namespace) -> dict[str, Any]:
    """log p(x), or the ELBO and L_K, nats per image."""
    parameters = sum(p.numel() for p in model.parameters())
    if not model.latent_names:
        with torch.inference_mode():
            value = model.log_prob(x)
        error = value.std().item() / len(x) ** 0.5
        return {"log_evidence": value.mean().item(), "standard_error": error, "exact": True, "parameters": parameters}
    evidence = log_evidence(model, x, num_samples=given.evidence_samples, seed=given.seed, max_elements=2**24)
    return {
        "log_evidence": evidence.mean,
        "standard_error": evidence.standard_error_of_mean,
        "exact": False,
        "num_samples": given.evidence_samples,
        "elbo": evidence.mean_elbo,
        "rate": summary(model, x[:200], seed=given.seed).rate,
        "parameters": parameters,
    }


def drawn(model: DirectedModel, seed: int) -> np.ndarray:
    """Two lines of samples, as probabilities of the pixels of each row given what it depends on."""
    with forked(torch.device("cpu"), seed):
        return model.sample_mean(28).numpy()


if __name__ == "__main__":
    main()
