"""Codes of Fashion-MNIST: FSQ and VQ side by side, each with its learned prior, and a VAE of the same nets.

    fsq     7 × 7 codes of 8 × 4 × 4 = 128 points of a grid (Mentzer et al. 2023, arXiv:2309.15505)
    vq      7 × 7 codes of 128 learned vectors of length 16 (van den Oord et al. 2017, arXiv:1711.00937), averaged
    vae     z of shape (16, 7, 7), standard normal and diagonal normal, the ELBO with KL in closed form

All have the nets `nets.ToMap` and `nets.FromMap` with two stages, and a discretized logistic likelihood of 256 grey
levels; what the encoder of fsq gives is whitened, as its recipe does. The codes are learned under a uniform prior,
which costs 49 ln 128 = 237.7 nats an image; then a masked convolution is fitted to them. Adam, a learning rate that
falls from 2e-3 to 2e-5 by a cosine in each stage; a tenth of the training rows, at most 5,000, choose the weights.

Reported on the first test images: log p(x, k*) of fsq and vq, which is a bound of log p(x), and L_K of the vae, in nats
and bits per dimension; the nats of the codes under the uniform and under the learned prior; and the codes in use by all
test images, of each seed. Runs lie in a folder and go on where they were stopped. Beside the numbers a picture of the
first seed.

python papers/codes_fashion.py --runs runs/codes
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fitted import carried_out
from torch import Tensor

from lowerbound import likelihoods
from lowerbound.data import Dataset, InMemory, Pixels, load
from lowerbound.evaluate import code_usage, log_evidence, summary
from lowerbound.fitting.planning import plan
from lowerbound.gradients import Pathwise
from lowerbound.losses import VariationalLoss
from lowerbound.model import LatentVariableModel
from lowerbound.nets import FromMap, ToMap
from lowerbound.objectives import ELBO
from lowerbound.plots import image_grid
from lowerbound.posteriors import DiagonalNormal
from lowerbound.priors import StandardNormal
from lowerbound.randomness import forked
from lowerbound.schedules import Cosine
from lowerbound.spelling import construct, outputs_of
from lowerbound.training.checkpoint import Checkpoint
from lowerbound.training.held_out import HeldOut
from lowerbound.training.loop import train

RESULTS = Path(__file__).parent / "results"
CPU, LR, SHOWN, FEATURES = torch.device("cpu"), 2e-3, 16, 16
RECIPES: dict[str, dict[str, Any]] = {
    "fsq": {"levels": [8, 4, 4]},
    "vq": {"num_codes": 128, "features": FEATURES},
}


def main() -> None:
    """Read the options; train, score and save one model after another."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="fashion-mnist")
    parser.add_argument("--likelihood", default="discretized-logistic")
    parser.add_argument("--steps", type=int, default=8000, help="of the first stage, and of the vae")
    parser.add_argument("--prior-epochs", type=int, default=20)
    parser.add_argument("--hidden", type=int, nargs="+", default=[64, 64])
    parser.add_argument("--prior-channels", type=int, default=64)
    parser.add_argument("--prior-layers", type=int, default=4)
    parser.add_argument("--test-images", type=int, default=1000)
    parser.add_argument("--evidence-samples", type=int, default=100, help="K of the vae")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--vae-seeds", type=int, default=1, help="of the vae, at most as many as --seeds")
    parser.add_argument("--runs", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--out", type=Path, default=RESULTS / "codes_fashion.json")
    given = parser.parse_args()
    dataset = load(given.data)
    pixels = Pixels(scale=dataset.pixel_scale, binarization="none")
    x = pixels(torch.as_tensor(np.asarray(dataset.x_test)))
    few = x[: given.test_images]
    options = {name: value for name, value in vars(given).items() if name not in ("runs", "out")}
    results: dict[str, Any] = {"protocol": __doc__, "options": options, "models": {}}
    pictures = [few[:SHOWN].numpy()]
    for seed, name in itertools.product(range(given.seeds), (*RECIPES, "vae")):
        if name == "vae" and seed >= given.vae_seeds:
            continue
        model, seconds = vae(dataset, given, seed) if name == "vae" else coded(name, dataset, given, seed)
        row = {"seed": seed, **scores(model, few, given), "seconds_training": seconds}
        if name != "vae":
            row |= of_codes(model, x)
        results["models"].setdefault(name, []).append(row)
        print(name, row, flush=True)
        if seed == 0:
            with forked(CPU, 0):
                pictures += [model.reconstruct(few[:SHOWN]).numpy(), model.sample_mean(SHOWN).numpy()]
        given.out.write_text(json.dumps(results, indent=2) + "\n")
    title = "Test images; then reconstructions and samples of fsq, of vq and of the vae"
    image_grid(np.concatenate(pictures), columns=SHOWN, title=title).savefig(given.out.with_suffix(".png"))


def coded(name: str, dataset: Dataset, given: argparse.Namespace, seed: int) -> tuple[LatentVariableModel, float]:
    """A fit of a recipe, both stages, and the seconds that it took."""
    planned = plan(
        dataset,
        name,
        **RECIPES[name],
        likelihood=given.likelihood,
        hidden=given.hidden,
        prior_channels=given.prior_channels,
        prior_layers=given.prior_layers,
        prior_epochs=given.prior_epochs,
        steps=given.steps,
        batch_size=given.batch,
        lr=LR,
        lr_schedule="cosine",
        seed=seed,
        device="cpu",
        compile=False,
    )
    found = carried_out(given.runs / f"{name}-{seed}", {"name": given.data}, dataset, planned)
    return found.model, found.records[-1]["seconds"]


def vae(dataset: Dataset, given: argparse.Namespace, seed: int) -> tuple[LatentVariableModel, float]:
    """The same nets with a continuous latent; as many rows choose the weights as in the recipes."""
    shape = dataset.event_shape
    with forked(CPU, seed):
        encoder = ToMap(shape, given.hidden, (2, FEATURES))
        decoder = FromMap(FEATURES, given.hidden[::-1], outputs_of(likelihoods, given.likelihood, shape))
        model = LatentVariableModel(
            prior=StandardNormal((FEATURES, *encoder.out_shape[-2:])),
            likelihood=construct(likelihoods, given.likelihood, net=decoder, event_shape=shape),
            posterior=DiagonalNormal(encoder),
        )
    rows = torch.as_tensor(np.asarray(dataset.x_train))
    count = min(5000, len(rows) // 10)
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
    pixels = Pixels(scale=dataset.pixel_scale, binarization="none")
    source, held_out = InMemory(rows[order[count:]], pixels), InMemory(rows[order[:count]], pixels)
    model.initialize(pixels(rows[order[count : count + 5000]]))
    loss = VariationalLoss(model, ELBO("kl"), Pathwise())
    folder = given.runs / f"vae-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    for record in train(
        loss,
        source,
        num_steps=given.steps,
        batch_size=given.batch,
        lr=Cosine(LR, LR / 100, given.steps),
        held_out=HeldOut(source=held_out, every=max(1, given.steps // 20)),
        checkpoint=Checkpoint(path=folder / "state.safetensors"),
        seed=seed,
        compile=False,
    ):
        if record.held_out is not None:
            print(f"vae: pass {record.epoch:6.1f}, held-out bound {record.held_out['bound']:8.2f}", flush=True)
    loss.eval()
    return model, Checkpoint(path=folder / "state.safetensors").load()[1]["seconds"]


def scores(model: LatentVariableModel, x: Tensor, given: argparse.Namespace) -> dict[str, Any]:
    """The bound of log p(x), nats and bits per dimension; its parts."""
    evidence = log_evidence(model, x, num_samples=given.evidence_samples, seed=0, max_elements=2**22)
    parts = summary(model, x, num_samples=4, seed=0, max_elements=2**22)
    return {
        "log_evidence": evidence.mean,
        "standard_error": evidence.standard_error_of_mean,
        "bits_per_dim": evidence.bits_per_dim,
        "elbo_bits_per_dim": parts.bits_per_dim,
        "rate": parts.rate,
        "distortion": parts.distortion,
    }


def of_codes(model: LatentVariableModel, x: Tensor) -> dict[str, Any]:
    """The nats of uniform codes, and the codes in use by all rows."""
    usage = code_usage(model, x)
    return {
        "uniform_rate": usage.num_positions / len(x) * math.log(usage.num_codes),
        "codes_used": int(usage.used.sum()),
        "codes_effective": usage.effective.mean().item(),
    }


if __name__ == "__main__":
    main()
