"""The digits by a factorised decoder, by a causal net without latents, and by both, with and without remedies.

    vae                p(z) Π_d p(x_d | z)              L_K
    no latents         Π_d p(x_d | x_<d)                log p(x) exact
    pixel-vae          p(z) Π_d p(x_d | x_<d, z)        L_K, and with: a warm-up of the rate; hidden positions
                                                        (`position_dropout`); the auxiliary loss

scikit-learn's digits, 8 × 8, split as the library does. Every model has the same encoder, sees the same number of
batches of 100, and is trained by Adam at a rate that falls from 3e-3 to 3e-5 by a cosine; the last weights are scored.
A factorised decoder is several times faster, so that it is trained for six times as many steps as well.
Bits are drawn anew from the grey values in each batch; the test images are binarized once. One seed. "levels" are the
17 grey values as mixtures of three discretized logistics instead.

python papers/pixels_digits.py --steps 1500
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
from lowerbound.likelihoods import Autoregressive
from lowerbound.losses import Auxiliary, Loss, VariationalLoss
from lowerbound.model import LatentVariableModel
from lowerbound.models import DirectedModel, Node, pixel_vae, vae
from lowerbound.objectives import ELBO, BetaELBO
from lowerbound.plots import image_grid
from lowerbound.randomness import forked
from lowerbound.schedules import Cosine
from lowerbound.spelling import outer
from lowerbound.training.loop import train

RESULTS = Path(__file__).parent / "results"
CPU, SHAPE, BATCH, LR, SHOWN, LONGER = torch.device("cpu"), (8, 8), 100, 3e-3, 20, 6
SITES = {"bits": "bernoulli", "levels": "discretized-logistic-mixture:num_components=3,num_levels=17"}


def main() -> None:
    """Read the options; train, score and save one model after another."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--pixels", choices=list(SITES), default="bits")
    parser.add_argument("--latent-dim", type=int, default=8)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--channels", type=int, default=8)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--evidence-samples", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    out = given.out or RESULTS / f"pixels_digits_{given.pixels}.json"
    digits = load("digits")
    pixels = Pixels(scale=digits.pixel_scale, binarization="dynamic" if given.pixels == "bits" else "none")
    source = InMemory(torch.as_tensor(np.asarray(digits.x_train)), pixels)
    with forked(CPU, given.seed):
        x = pixels(torch.as_tensor(np.asarray(digits.x_test)))
    results: dict[str, Any] = {"protocol": __doc__, "options": {**vars(given), "out": out.name}, "models": {}}
    pictures = [x[:SHOWN].numpy()]
    for name, make in losses_of(given).items():
        with forked(CPU, given.seed):
            loss = make()
        steps = given.steps * (LONGER if name == "vae, longer" else 1)
        results["models"][name] = trained(loss, source, steps, given.seed) | scores(loss.model, x, given)
        print(name, results["models"][name], flush=True)
        with forked(CPU, given.seed):
            pictures.append(loss.model.sample(SHOWN).numpy())
        out.write_text(json.dumps(results, indent=2) + "\n")
        title = "Test images, then draws of each model in the order of the table"
        image_grid(np.concatenate(pictures), columns=SHOWN, title=title).savefig(out.with_suffix(".png"))


def losses_of(given: argparse.Namespace) -> dict[str, Any]:
    """What makes each loss."""
    site, hidden = SITES[given.pixels], [given.hidden]
    causal: dict[str, Any] = {"channels": given.channels, "layers": given.layers}

    def with_latents(objective: Any, loss: Any = VariationalLoss, options: Any = None, **more: Any) -> Any:
        both = {"latent_dim": given.latent_dim, "likelihood": site, "hidden": hidden, **causal, **(options or {})}
        return lambda: loss(pixel_vae(SHAPE, **both), objective, Pathwise(), **more)

    def factorised() -> Loss:
        model = vae(SHAPE, latent_dim=given.latent_dim, likelihood=site, hidden=hidden)
        return VariationalLoss(model, BetaELBO(1.0, rate="kl", warmup=max(1, given.steps // 3)), Pathwise())

    def without_latents() -> Loss:
        node = Node("x", Autoregressive(None, SHAPE, outer(site), **causal))
        return VariationalLoss(DirectedModel([node], observed="x"), ELBO(), Pathwise())

    warm = BetaELBO(1.0, rate="kl", warmup=max(1, given.steps // 3))
    return {
        "vae": factorised,
        "vae, longer": factorised,
        "no latents": without_latents,
        "pixel-vae": with_latents(ELBO("kl")),
        "warm-up": with_latents(warm),
        "warm-up and position_dropout 0.3": with_latents(warm, options={"position_dropout": 0.3}),
        "warm-up and auxiliary 0.2": with_latents(warm, Auxiliary, weight=0.2),
    }


def trained(loss: Loss, source: InMemory, steps: int, seed: int) -> dict[str, Any]:
    """Train for a number of steps."""
    loss.model.initialize(source.transform(source.tensors[0])[0])
    begun = time.process_time()
    schedule = Cosine(LR, LR / 100, steps)
    for record in train(loss, source, num_steps=steps, batch_size=BATCH, lr=schedule, seed=seed, compile=False):
        bound = record.terms["bound"]
    loss.eval()
    return {"steps": steps, "cpu_seconds_training": time.process_time() - begun, "training_bound": bound}


def scores(model: LatentVariableModel, x: Tensor, given: argparse.Namespace) -> dict[str, Any]:
    """log p(x), or the ELBO, the rate and L_K, nats per image."""
    if isinstance(model, DirectedModel):
        with torch.inference_mode():
            value = model.log_prob(x)
        return {"log_evidence": value.mean().item(), "standard_error": value.std().item() / len(x) ** 0.5}
    evidence = log_evidence(model, x, num_samples=given.evidence_samples, seed=given.seed, max_elements=2**22)
    return {
        "log_evidence": evidence.mean,
        "standard_error": evidence.standard_error_of_mean,
        "elbo": evidence.mean_elbo,
        "rate": summary(model, x, seed=given.seed).rate,
    }


if __name__ == "__main__":
    main()
