"""One to five stochastic layers on dynamic MNIST, at one budget of processor time.

one       784-200-200-50, a VAE (Burda et al. 2016, arXiv:1509.00519, Table 1, 1 layer)
two       784-200-200-100-100-100-50, the deep latent Gaussian model of the same table, 2 layers; both tanh
ladder1   the nets of a ladder with one layer of 64: what normalisation and rectifiers do by themselves
ladder3   latents 64, 32, 16 under 200-200, 100-100, 50-50 units (Sønderby et al. 2016, arXiv:1602.02282)
ladder5   latents 64, 32, 16, 8, 4 under 200-200, 100-100, 50-50, 50-50, 50-50: the latents of the paper in small nets
ladder3-free   ladder3 whose layers may each spend --free-bits nats on a datum free of charge

The same for all: Bernoulli pixels re-sampled at every visit, output bias started at the data mean, the ELBO from one
sample with pathwise gradients, its rate turned on linearly over --warmup steps, Adam, batch 100, a learning rate that
falls from --lr to a hundredth along a cosine, gradients clipped at a norm of 100, the last weights. The budget is
processor time on one thread, from the first line of training to its end: the learning rate follows that clock, and a
model with dearer steps takes fewer of them. Ladders run as one compiled graph, and its compilation is on the clock; the
others gain less from it than it costs. The rate is in closed form where there is one (all but "two").

The warm-up counts steps and not time: compiling takes a large part of a short budget, and a ladder whose warm-up is
over before its first step loses all of its layers within 200 steps (--warmup 0 shows it).

The score is L_1000 of the first 1,000 test images, binarized once with a fixed seed. Every contender is saved when it
ends, and pictures are drawn of all that is saved.

python papers/layers_mnist.py --only two
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
from lowerbound.model import LatentVariableModel
from lowerbound.models import vae
from lowerbound.models.ladder_autoencoder import ladder
from lowerbound.models.layered import deep_latent_gaussian
from lowerbound.objectives import BetaELBO, FreeBits
from lowerbound.plots.images import image_grid
from lowerbound.plots.style import CLASS_COLOURS, new_figure, style_axes
from lowerbound.protocols import RateForm
from lowerbound.randomness import forked
from lowerbound.schedules import Cosine
from lowerbound.training.loop import train

RESULTS = Path(__file__).parent / "results"
CPU = torch.device("cpu")
CONTENDERS = ("one", "two", "ladder1", "ladder3", "ladder5", "ladder3-free")
PUBLISHED = {
    "one layer, K = 1, 3,280 passes (Burda et al. 2016, Table 1)": 86.76,
    "two layers, K = 1, 3,280 passes (ibid.)": 85.33,
    "ladder of five, 2,000 passes and fine-tuned with 10 samples (Sønderby et al. 2016)": 81.74,
}


def main() -> None:
    """Read the options, run the contenders, draw what is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=7, help="of the processor, for each contender")
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--warmup", type=int, default=3000, help="steps, five passes")
    parser.add_argument("--free-bits", type=float, default=1.0, help="nats a layer")
    parser.add_argument("--only", choices=CONTENDERS, help="run this one; all of them if left out")
    parser.add_argument("--evidence-samples", type=int, default=1000)
    parser.add_argument("--test-images", type=int, default=1000)
    parser.add_argument("--train-images", type=int, default=60_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-compile", action="store_true", help="train ladders step by step")
    parser.add_argument("--out", type=Path, default=RESULTS / "layers_mnist.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name in CONTENDERS if arguments.only is None else (arguments.only,):
        result, samples = run(name, arguments)
        save(name, result, samples, arguments.out)
        print(name, {key: value for key, value in result.items() if key not in ("curve", "log_evidence")}, flush=True)
    draw(arguments.out)


def make(name: str) -> LatentVariableModel:
    """An untrained contender."""
    shape = (28, 28)
    if name == "one":
        return vae(shape, latent_dim=50, hidden=(200, 200), activation="tanh")
    if name == "two":
        return deep_latent_gaussian(shape)
    if name == "ladder1":
        return ladder(shape, latent_dims=(64,), hidden=((200, 200),))
    if name.startswith("ladder3"):
        return ladder(shape, latent_dims=(64, 32, 16), hidden=((200, 200), (100, 100), (50, 50)))
    return ladder(shape, latent_dims=(64, 32, 16, 8, 4), hidden=((200, 200), (100, 100), *[(50, 50)] * 3))


class Clock:
    """The part of the budget of processor time that is spent, whatever the step."""

    def __init__(self, minutes: float):
        self.start, self.seconds = time.process_time(), 60 * minutes

    def __call__(self, step: int) -> float:
        """Between 0 and 1."""
        return min((time.process_time() - self.start) / self.seconds, 1.0)


def run(name: str, arguments: argparse.Namespace) -> tuple[dict[str, Any], Tensor]:
    """Train and score one contender; the second part is 20 mean images of its samples."""
    mnist = load("mnist")
    x_train, transform = torch.as_tensor(mnist.x_train[: arguments.train_images]), Pixels()
    with forked(CPU, arguments.seed):
        model = make(name)
        model.initialize(transform(x_train))
    curve, seconds = fit(name, model, InMemory(x_train, transform), arguments)
    model.eval()
    with forked(CPU, 0):
        x = transform(torch.as_tensor(mnist.x_test[: arguments.test_images]))
    evidence = log_evidence(model, x, num_samples=arguments.evidence_samples)
    told = summary(model, x)
    with forked(CPU, 0):
        samples = model.sample_mean(20)
    return {
        "negative_log_likelihood": -evidence.mean,
        "standard_error_over_images": evidence.standard_error_of_mean,
        "negative_elbo": -evidence.mean_elbo,
        "active_units": told.active_units_per_layer or [told.active_units],
        "rates": [told.rate] if told.rate_per_layer is None else told.rate_per_layer.tolist(),
        "unreliable_fraction": evidence.unreliable_fraction,
        "epochs": curve[-1]["epoch"],
        "seconds_training": seconds,
        "num_samples": arguments.evidence_samples,
        "num_images": len(x),
        "minutes": arguments.minutes,
        "lr": arguments.lr,
        "warmup": arguments.warmup,
        "seed": arguments.seed,
        "num_parameters": sum(p.numel() for p in model.parameters()),
        "curve": curve[:: max(1, len(curve) // 60)],
        "log_evidence": [round(value, 3) for value in evidence.log_evidence.tolist()],
    }, samples


def fit(
    name: str, model: LatentVariableModel, source: InMemory, arguments: argparse.Namespace
) -> tuple[list[dict[str, float]], float]:
    """The terms of training, and the seconds of the processor that it took."""
    spent = Clock(arguments.minutes)
    rate: RateForm = "sampled" if name == "two" else "kl"
    objective = BetaELBO(1.0, rate=rate, warmup=arguments.warmup)
    if name.endswith("free"):
        objective = FreeBits(arguments.free_bits, "group", arguments.warmup)
    loss = VariationalLoss(model, objective, Pathwise())
    fall = Cosine(arguments.lr, arguments.lr / 100, 1000)
    curve: list[dict[str, float]] = []
    for record in train(
        loss,
        source,
        num_steps=10**9,
        batch_size=100,
        lr=lambda step: fall(round(1000 * spent(step))),
        clip_norm=100.0,
        seed=arguments.seed,
        log_every=100,
        compile=name.startswith("ladder") and not arguments.no_compile,
    ):
        curve.append({"spent": spent(record.step), "epoch": record.epoch, **record.terms})
        if len(curve) % 20 == 0:
            print(name, {key: round(value, 2) for key, value in curve[-1].items()}, flush=True)
        if spent(record.step) == 1.0:
            break
    return curve, time.process_time() - spent.start


def read(out: Path) -> dict[str, Any]:
    """All that was saved."""
    return json.loads(out.read_text()) if out.exists() else {}


def save(name: str, result: dict[str, Any], samples: Tensor, out: Path) -> None:
    """Add one contender to what the file holds now; its samples lie beside it."""
    out.parent.mkdir(parents=True, exist_ok=True)
    contenders = {**read(out).get("contenders", {}), name: result}
    ordered = {key: contenders[key] for key in CONTENDERS if key in contenders}
    for other in ordered.values():
        other["gain_on_one_layer"] = gain(other, ordered.get("one", {}))
    partial = out.with_suffix(f".{name}.partial")
    partial.write_text(
        json.dumps({"protocol": __doc__, "published": PUBLISHED, "contenders": ordered}, indent=1) + "\n"
    )
    partial.replace(out)
    np.save(out.with_suffix(f".{name}.npy"), (255 * samples).round().byte().numpy())


def gain(result: dict[str, Any], one: dict[str, Any]) -> dict[str, float] | None:
    """The mean difference in nats, image by image, and its standard error; None where there is nothing to compare."""
    values = [part.get("log_evidence", []) for part in (result, one)]
    if len(values[0]) != len(values[1]) or not values[0]:
        return None
    difference = np.subtract(*values)
    return {"mean": difference.mean(), "standard_error": difference.std() / len(difference) ** 0.5}


def draw(out: Path) -> None:
    """Samples, a row for each contender, and the rate of every layer."""
    contenders = read(out)["contenders"]
    rows = [np.load(out.with_suffix(f".{name}.npy"))[:14] / 255.0 for name in contenders]
    names = ", ".join(contenders)
    image_grid(np.concatenate(rows), len(rows[0]), title=f"Samples, from the top: {names}").savefig(
        out.with_name(f"{out.stem}_samples.png")
    )
    figure = new_figure(2.6 * len(contenders), 3.2)
    for axes, (name, result) in zip(
        np.ravel(figure.subplots(1, len(contenders), sharey=True)), contenders.items(), strict=True
    ):
        layers = range(1, len(result["rates"]) + 1)
        axes.bar(layers, result["rates"], color=CLASS_COLOURS[0])
        axes.set_xticks(list(layers))
        style_axes(
            axes, title=f"{name}: {result['negative_log_likelihood']:.1f}", x="layer", y="rate (nats)", small=True
        )
        for layer, active in zip(layers, result["active_units"], strict=True):
            axes.annotate(
                str(active), (layer, max(result["rates"][layer - 1], 0)), ha="center", va="bottom", fontsize=8
            )
    figure.savefig(out.with_name(f"{out.stem}_rates.png"))


if __name__ == "__main__":
    main()
