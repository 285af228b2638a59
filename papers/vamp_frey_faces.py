"""A standard normal prior against the VampPrior of Tomczak & Welling (2018, arXiv:1705.07120) on Frey faces.

560-300-300-40 and back with gated layers, h = (W x + b) ⊙ sigmoid(V x + c), 256 grey levels under a discretized
logistic whose scale is at least e^−4.5 of the range, Adam at 5e-4, batch 100, at most 2,000 epochs, stopped after 50
without a better bound on the 200 validation faces; 500 pseudo-inputs. The score is L_5000 of the 200 test faces in bits
per dimension. The paper's table for this network: 4.63 with the standard normal, 4.57 with the VampPrior.

What differs from the paper: no warm-up of the KL over the first 100 epochs; Adam without normalised gradients; a
location that starts at the mean face and is not kept in [0, 1]; levels k/255 with the tails in the outermost bins, so
that the 256 probabilities sum to one; pseudo-inputs that start at training faces; and the splits, which are random (the
frames are of one video, so that neighbours of every test frame are trained on, here as there). Frey faces has no split
of its own: each repetition draws its own 1,565 + 200 + 200, the same for both priors. Repetitions that are saved are
not run again.

python papers/vamp_frey_faces.py
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import lowerbound as lb
from lowerbound.data import InMemory, load
from lowerbound.evaluate import Evidence, log_evidence, summary
from lowerbound.randomness import forked
from lowerbound.training.loop import HeldOut, steps_for, train

RESULTS = Path(__file__).parent / "results"
CPU = torch.device("cpu")
SHAPE, LATENT_DIM, HIDDEN, BATCH_SIZE = (28, 20), 40, (300, 300), 100
MIN_SCALE = 2 * math.exp(-4.5)  # the library's locations and scales are in units where levels run from −1 to 1
BITS = math.prod(SHAPE) * math.log(2)
PRIORS = ("standard-normal", "vamp-prior")
PUBLISHED = {"standard-normal": 4.63, "vamp-prior": 4.57}


class GatedMLP(nn.Module):
    """A perceptron with gated hidden layers, from (..., *in_shape) to (..., *out_shape)."""

    def __init__(self, in_shape: Sequence[int], hidden: Sequence[int], out_shape: Sequence[int]):
        super().__init__()
        widths = [math.prod(in_shape), *hidden]
        gated = [layer for i, o in pairwise(widths) for layer in (nn.Linear(i, 2 * o), nn.GLU())]
        self.in_axes, self.out_shape = len(in_shape), tuple(out_shape)
        self.layers = nn.Sequential(*gated, nn.Linear(widths[-1], math.prod(out_shape)))

    def forward(self, x: Tensor) -> Tensor:
        """Map x (..., *in_shape) to (..., *out_shape)."""
        return self.layers(x.flatten(-self.in_axes)).unflatten(-1, self.out_shape)

    @property
    def output_bias(self) -> Tensor:
        """Where the likelihood puts the mean face."""
        return self.layers[-1].bias.view(self.out_shape)  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]


def main() -> None:
    """Read the options, run both priors on every split, save after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=float, default=2000)
    parser.add_argument("--patience", type=int, default=50)
    parser.add_argument("--components", type=int, default=500)
    parser.add_argument("--evidence-samples", type=int, default=5000)
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS / "vamp_frey_faces.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    faces = load("frey-faces")
    x = torch.from_numpy(np.concatenate([faces.x_train, faces.x_test])).float() / 255
    splits = saved(arguments)
    for seed in range(len(splits), arguments.splits):
        splits.append(compare(x, seed, arguments))
        save(splits, arguments)


def compare(x: Tensor, seed: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Both priors on one random split."""
    parts = x[torch.from_numpy(np.random.default_rng(seed).permutation(len(x)))].split([len(x) - 400, 200, 200])
    runs, evidence = {}, {}
    for prior in PRIORS:
        runs[prior], evidence[prior] = run(prior, *parts, seed, arguments)
        print(f"split {seed}  {prior:<16}", runs[prior], flush=True)
    gain = (evidence["vamp-prior"].log_evidence - evidence["standard-normal"].log_evidence).double() / BITS
    return {
        "seed": seed,
        **runs,
        "gain_bits_per_dim": gain.mean().item(),
        "gain_standard_error_over_faces": gain.std().item() / math.sqrt(len(gain)),
    }


def run(
    prior: str, x_train: Tensor, x_valid: Tensor, x_test: Tensor, seed: int, arguments: argparse.Namespace
) -> tuple[dict[str, Any], Evidence]:
    """Train until the validation bound stops rising, then score."""
    with forked(CPU, seed):
        model = make_model(prior, arguments.components)
        model.initialize(x_train)
    an_epoch = steps_for(1, len(x_train), BATCH_SIZE)
    start, epochs = time.process_time(), 0.0
    for record in train(
        lb.VariationalLoss(model, lb.objectives.ELBO(), lb.gradients.Pathwise()),
        InMemory(x_train),
        num_steps=steps_for(arguments.epochs, len(x_train), BATCH_SIZE),
        batch_size=BATCH_SIZE,
        lr=5e-4,
        seed=seed,
        log_every=an_epoch,
        held_out=HeldOut(source=InMemory(x_valid), every=an_epoch, patience=arguments.patience),
    ):
        epochs = record.epoch
    trained = time.process_time() - start
    evidence = log_evidence(model, x_test, num_samples=arguments.evidence_samples, seed=seed)
    result = {
        "bits_per_dim": evidence.bits_per_dim,
        "standard_error_over_faces": evidence.standard_error_of_mean / BITS,
        "elbo_bits_per_dim": -evidence.mean_elbo / BITS,
        "active_units": summary(model, x_test).active_units,
        "unreliable_fraction": evidence.unreliable_fraction,
        "epochs": epochs,
        "seconds_training": round(trained, 1),
        "seconds_scoring": round(time.process_time() - start - trained, 1),
    }
    return result, evidence


def make_model(prior: str, components: int) -> lb.LatentVariableModel:
    """The network of the paper under one of the priors."""
    posterior = lb.posteriors.DiagonalNormal(GatedMLP(SHAPE, HIDDEN, (2, LATENT_DIM)))
    likelihood = lb.likelihoods.DiscretizedLogistic(
        GatedMLP((LATENT_DIM,), HIDDEN, (2, *SHAPE)), num_levels=256, min_scale=MIN_SCALE
    )
    if prior == "vamp-prior":
        p = lb.priors.VampPrior(posterior, SHAPE, components=components)
    else:
        p = lb.priors.StandardNormal(LATENT_DIM)
    return lb.LatentVariableModel(prior=p, likelihood=likelihood, posterior=posterior)


def settings_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """What two runs must share for their splits to be set beside one another."""
    return {key: value for key, value in vars(arguments).items() if key not in ("out", "splits")}


def saved(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """The splits that were run before in the same way."""
    content = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
    return content["splits"][: arguments.splits] if content.get("settings") == settings_of(arguments) else []


def save(splits: list[dict[str, Any]], arguments: argparse.Namespace) -> None:
    """Means over the splits, each with the standard deviation between them."""
    columns = {prior: [split[prior]["bits_per_dim"] for split in splits] for prior in PRIORS}
    columns["gain"] = [split["gain_bits_per_dim"] for split in splits]
    means = {
        name: {"mean": statistics.fmean(values), "deviation": deviation(values)} for name, values in columns.items()
    }
    content = {
        "bits_per_dim": means,
        "published": PUBLISHED,
        "settings": settings_of(arguments),
        "threads": torch.get_num_threads(),
        "splits": splits,
        "protocol": __doc__,
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(content, indent=2) + "\n")
    print(means, flush=True)


def deviation(values: list[float]) -> float | None:
    """The standard deviation between splits; none for one."""
    return statistics.stdev(values) if len(values) > 1 else None


if __name__ == "__main__":
    main()
