"""The default ELBO against the same loop written by hand, step for step: which has learned more.

784-200-200-50 and back, tanh, dynamic MNIST, 11,000 steps of 100 images at a learning rate of 1e-3, Adam, the output
bias started at the data mean. The loop by hand has the closed KL divergence of a diagonal normal and is a tutorial's
thirty lines of PyTorch; the library is given the sizes, the objective "elbo" and the learning rate, and decides the
rest. Both see 60,000 images less 5,000; the library keeps the weights with the best bound of these, the loop by hand
its last. Scored is L_1000 of the first 2,000 test images, binarized once. Each run is saved when it ends.

python papers/learning_per_step.py [--steps 11000] [--seeds 0 1 2 3 4 5]
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Normal, kl_divergence

from lowerbound.data import Dataset, load
from lowerbound.evaluate import log_evidence
from lowerbound.fitting.planning import Plan, plan
from lowerbound.fitting.preparing import Training, prepare
from lowerbound.fitting.stages import fit
from lowerbound.model import LatentVariableModel
from lowerbound.randomness import forked

RESULTS = Path(__file__).parent / "results" / "learning_per_step.json"
HIDDEN, LATENT, BATCH, RATE, TEST, SAMPLES = 200, 50, 100, 1e-3, 2000, 1000
CPU = torch.device("cpu")


def main() -> None:
    """Run what is missing, and print the differences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=11_000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4, 5])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    mnist = load("mnist")
    pixels = torch.as_tensor(mnist.x_test[:TEST]).float() / 255
    with forked(CPU, 0):
        x = torch.bernoulli(pixels)
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"protocol": __doc__, "runs": {}}
    for seed in arguments.seeds:
        for name, call in (("by hand", by_hand), ("library", by_library)):
            key = f"{name}, {arguments.steps} steps, seed {seed}"
            if key not in results["runs"]:
                start = time.process_time()
                results["runs"][key] = call(mnist, x, arguments.steps, seed) | {
                    "cpu_seconds": round(time.process_time() - start, 1)
                }
                RESULTS.write_text(json.dumps(results, indent=1) + "\n")
            print(key, results["runs"][key], flush=True)


def by_library(mnist: Dataset, x: Tensor, steps: int, seed: int) -> dict[str, Any]:
    """What `objective="elbo"` makes of it."""
    training, planned = _prepared(mnist, steps, seed)
    for _ in fit(training, planned, planned.engine()):
        pass
    return _scored(training.loss.model, x) | {"objective": planned.objective}


def _prepared(mnist: Dataset, steps: int, seed: int) -> tuple[Training, Plan]:
    sizes: dict[str, Any] = {"latent_dim": LATENT, "hidden": [HIDDEN, HIDDEN], "activation": "tanh"}
    planned = plan(
        mnist,
        "vae",
        objective="elbo",
        lr=RATE,
        lr_schedule="constant",
        batch_size=BATCH,
        steps=steps,
        seed=seed,
        **sizes,
    )
    return prepare(mnist, planned, planned.engine()), planned


def _scored(model: LatentVariableModel, x: Tensor) -> dict[str, Any]:
    evidence = log_evidence(model.eval(), x, num_samples=SAMPLES)
    return {"negative_L": round(-evidence.mean, 3), "negative_elbo": round(-evidence.mean_elbo, 3)}


def by_hand(mnist: Dataset, x: Tensor, steps: int, seed: int) -> dict[str, Any]:
    """A loop of plain PyTorch."""
    torch.manual_seed(seed)
    pixels = torch.as_tensor(mnist.x_train).flatten(1)[torch.randperm(len(mnist.x_train))[:-5000]].float() / 255
    encoder, decoder = _net(784, 2 * LATENT), _net(LATENT, 784)
    decoder[-1].bias.data = torch.logit(pixels.mean(0).clamp(1e-3, 1 - 1e-3))
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=RATE)
    prior, order = Normal(0.0, 1.0), torch.empty(0, dtype=torch.long)
    for _ in range(steps):
        if len(order) < BATCH:
            order = torch.randperm(len(pixels))
        rows, order = order[:BATCH], order[BATCH:]
        batch = torch.bernoulli(pixels[rows])
        q = _posterior(encoder, batch)
        likelihood = Bernoulli(logits=decoder(q.rsample()), validate_args=False)
        loss = (kl_divergence(q, prior).sum(-1) - likelihood.log_prob(batch).sum(-1)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        log_w = torch.cat([_log_weights(encoder, decoder, rows) for rows in x.flatten(1).split(20)], 1)
    log_l = log_w.logsumexp(0) - math.log(SAMPLES)
    return {"negative_L": round(-float(log_l.mean()), 3), "negative_elbo": round(-float(log_w.mean()), 3)}


def _net(fan_in: int, fan_out: int) -> nn.Sequential:
    sizes = nn.Linear(fan_in, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, fan_out)
    return nn.Sequential(*sizes)


def _posterior(encoder: nn.Module, x: Tensor) -> Normal:
    mean, log_scale = encoder(x).chunk(2, -1)
    return Normal(mean, log_scale.exp())


def _log_weights(encoder: nn.Module, decoder: nn.Module, x: Tensor) -> Tensor:
    """log p(x, z) − log q(z | x) of draws z (samples, batch)."""
    q = _posterior(encoder, x)
    z = q.sample((SAMPLES,))
    log_joint = Normal(0.0, 1.0).log_prob(z).sum(-1) + Bernoulli(logits=decoder(z)).log_prob(x).sum(-1)
    return log_joint - q.log_prob(z).sum(-1)


if __name__ == "__main__":
    main()
