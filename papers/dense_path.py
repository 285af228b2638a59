r"""A path of eight groups against a ladder of three, at equal passes and at equal time, on dynamic MNIST; and DRAW.

    dense          `very-deep`, 8 groups of 12 latents, state 200, bottlenecks 100 (Child 2021, arXiv:2011.10650)
    ladder         latents 64, 32, 16 under 200-200, 100-100, 50-50 units (Sønderby et al. 2016, arXiv:1602.02282)
    ladder-longer  the same for as many steps as its step time allows in the seconds of `dense`
    ladder-warmed  the same again, with a rate that is turned on over half of the steps
    biva           5 levels of 12 latents, two at each but the top, the same state and bottlenecks (Maaløe et al. 2019,
                   arXiv:1902.02102); its rate is sampled, as p and q draw in different orders
    draw           10 glimpses of 5 × 5 places, 10 latents each, LSTMs of 256 (Gregor et al. 2015, arXiv:1502.04623)
    draw-whole     the same without attention, for as many steps as fit into the seconds of `draw`
    draw-32        `draw` with 32 glimpses, for a GPU
    maps           `very-deep` with maps of 2 × 2 to 14 × 14, for a GPU
    plain-maps     a convolutional autoencoder with as many parameters as `maps` (1 % less) and 64 latents

The same for all: pixels are Bernoulli, binarized anew at every visit, or what --likelihood says, in bits/dim; the ELBO
from one sample with the KL of each layer in closed form (BIVA's is sampled), its rate turned on linearly over a tenth
of the steps, Adam, batches of --batch-size, a learning rate that falls from --lr to a hundredth along a cosine,
gradients clipped at a norm of 100; the bound of 5,000 training images chooses the weights. --compile makes one graph of
each step, on a CPU. Equal time is that of computing: before the longer run, both models take steps in turn, 20 at a
time, and the medians of the seconds of a step decide how many fit (`equal_time`). `seconds_training` is read from the
clock, with the evaluations of that bound and the compilation.

Reported for the first --test-images, binarized once: L_K and the ELBO in nats, the rate of every layer, and the
difference to `ladder` image by image. Runs lie in a folder and go on where they were stopped; the results of all that
ran are kept in one file.

python papers/dense_path.py --runs runs/dense
python papers/dense_path.py --runs runs/dense --only draw draw-whole
python papers/dense_path.py --runs runs/deep --only maps --device cuda --steps 40000 --evidence-samples 1000
python papers/dense_path.py --runs runs/fashion --only maps plain-maps --device cuda --data fashion-mnist \
    --likelihood discretized-logistic --out fashion.json
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from fitted import carried_out, rows_of_test

from lowerbound.data import Dataset, load
from lowerbound.evaluate import log_evidence, summary
from lowerbound.fitted import Fitted
from lowerbound.fitting.planning import Plan, plan
from lowerbound.fitting.preparing import prepare
from lowerbound.plots import image_grid
from lowerbound.randomness import forked
from lowerbound.threads import computing_seconds
from lowerbound.training.loop import train
from lowerbound.training.record import Record

RESULTS = Path(__file__).parent / "results"
SHOWN = 14
LADDER: dict[str, Any] = {"latent_dims": [64, 32, 16], "hidden": [[200, 200], [100, 100], [50, 50]]}
DRAW: dict[str, Any] = {"glimpses": 10, "latent_dim": 10, "width": 256}
CONTENDERS: dict[str, tuple[str, dict[str, Any]]] = {
    "dense": ("very-deep", {"groups": [8], "latent_channels": 12, "width": 200, "hidden": 100}),
    "ladder": ("ladder", LADDER),
    "ladder-longer": ("ladder", LADDER),
    "ladder-warmed": ("ladder", LADDER),
    "biva": ("biva", {"levels": [5], "latent_channels": 12, "width": 200, "hidden": 100}),
    "draw": ("draw", {**DRAW, "read": 5, "write": 5}),
    "draw-whole": ("draw", {**DRAW, "read": 0, "write": 0}),
    "draw-32": ("draw", {**DRAW, "glimpses": 32, "read": 5, "write": 5}),
    "plain-maps": ("vae", {"network": "convolution", "hidden": [96, 192, 384], "latent_dim": 64}),
    "maps": (
        "very-deep",
        {"network": "convolution", "groups": [2, 4, 6, 8], "latent_channels": 16, "width": 96, "hidden": 48},
    ),
}
WARM_UP = {"ladder-warmed": 2}
"""Of the steps, over which part the rate is turned on, as one over this number; else a tenth."""
AS_LONG_AS = {"ladder-longer": "dense", "ladder-warmed": "dense", "draw-whole": "draw"}
"""What runs as long as another, and the other."""
TRIAL, TURNS = 20, 5  # steps of a turn, and the turns that are timed


def main() -> None:
    """Read the options; train, score and save one model after another."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=list(CONTENDERS), nargs="+", default=["ladder", "dense", "ladder-longer"])
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--likelihood", default="bernoulli")
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--test-images", type=int, default=1000)
    parser.add_argument("--evidence-samples", type=int, default=100, help="K")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--out", type=Path, default=RESULTS / "dense_path.json")
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.runs.mkdir(parents=True, exist_ok=True)
    dataset, samples = load(given.data), {}
    for name in given.only:
        steps = steps_of(name, dataset, given)
        found = carried_out(given.runs / name, {"name": given.data}, dataset, planned(name, dataset, given, steps))
        timing = timing_of(name, given)
        equal_time = {"equal_time": json.loads(timing.read_text())} if timing.exists() else {}
        save(name, scores(found, given) | equal_time, given)
        device = torch.device(given.device)
        with forked(device, given.seed):
            samples[name] = found.model.to(device).sample_mean(SHOWN).cpu().numpy()
    title = f"Samples, from the top: {', '.join(samples)}"
    image_grid(np.concatenate(list(samples.values())), columns=SHOWN, title=title).savefig(
        given.out.with_suffix(".png")
    )


def planned(name: str, dataset: Dataset, given: argparse.Namespace, steps: int) -> Plan:
    """Everything that decides a fit."""
    recipe, options = CONTENDERS[name]
    warmup = steps // WARM_UP.get(name, 10)
    return plan(
        dataset,
        recipe,
        **options,
        likelihood=given.likelihood,
        binarization="dynamic" if given.likelihood == "bernoulli" else "none",
        objective=f"beta-elbo:beta=1.0,rate={'sampled' if name == 'biva' else 'kl'},warmup={warmup}",
        gradient="pathwise",
        num_samples=1,
        steps=steps,
        batch_size=given.batch_size,
        lr=given.lr,
        lr_schedule="cosine",
        clip_norm=100.0,
        seed=given.seed,
        device=given.device,
        compile=given.compile and given.device == "cpu",
    ).replace(ema=None, skip_above=None, patience=None)


def steps_of(name: str, dataset: Dataset, given: argparse.Namespace) -> int:
    """As many as were asked for, or as fit into the computing time of another model."""
    if name not in AS_LONG_AS:
        return given.steps
    kept = timing_of(name, given)
    if not kept.exists():  # else the number that a run began with
        other = AS_LONG_AS[name]
        seconds = step_seconds([name, other], dataset, given)
        steps = max(1, round(given.steps * seconds[other] / seconds[name]))
        kept.write_text(json.dumps({"as_long_as": other, "seconds_of_a_step": seconds, "steps": steps}) + "\n")
    return json.loads(kept.read_text())["steps"]


def timing_of(name: str, given: argparse.Namespace) -> Path:
    """Where it is kept how long the steps of a model and of its rival take."""
    return given.runs / f"{name}-steps.json"


def step_seconds(names: list[str], dataset: Dataset, given: argparse.Namespace) -> dict[str, float]:
    """The median seconds of a training step of each model, in turns; the first turn, which compiles, does not count."""
    clock = computing_seconds if given.device == "cpu" else time.monotonic
    runs = {name: tried(planned(name, dataset, given, given.steps), dataset) for name in names}
    taken: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(TURNS + 1):
        for name, run in runs.items():
            started = clock()
            next(run)
            taken[name].append((clock() - started) / TRIAL)
    return {name: median(seconds[1:]) for name, seconds in taken.items()}


def tried(plan: Plan, dataset: Dataset) -> Iterator[Record]:
    """Training that goes on for the turns of a trial, and keeps nothing."""
    engine = plan.engine()
    training = prepare(dataset, plan, engine)
    return train(
        training.loss,
        training.source,
        num_steps=TRIAL * (TURNS + 1),
        batch_size=plan.batch_size,
        lr=plan.lr,
        clip_norm=plan.clip_norm,
        log_every=TRIAL,
        compile=plan.compile,
        engine=engine,
    )


def scores(found: Fitted, given: argparse.Namespace) -> dict[str, Any]:
    """L_K, the ELBO and the rates, of test images."""
    x = rows_of_test(found, given.test_images).to(given.device)
    model = found.model.to(given.device)
    evidence = log_evidence(model, x, num_samples=given.evidence_samples, seed=given.seed)
    told = summary(model, x, num_samples=4, seed=given.seed)
    last = found.records[-1]
    rates = [told.rate] if told.rate_per_layer is None else told.rate_per_layer.tolist()
    bits = {"bits_per_dim": -evidence.mean / x[0].numel() / math.log(2)} if given.likelihood != "bernoulli" else {}
    return {
        **bits,
        "negative_log_likelihood": -evidence.mean,
        "standard_error_over_images": evidence.standard_error_of_mean,
        "negative_elbo": -evidence.mean_elbo,
        "rates": [round(rate, 3) for rate in rates],
        "steps": last["step"],
        "passes": last["epoch"],
        "seconds_training": last["seconds"],
        "num_parameters": sum(p.numel() for p in model.parameters()),
        "options": {name: value for name, value in vars(given).items() if name not in ("runs", "out", "only")},
        "log_evidence": [round(value, 3) for value in evidence.log_evidence.tolist()],
    }


def save(name: str, result: dict[str, Any], given: argparse.Namespace) -> None:
    """Add one contender to what the file holds."""
    kept = json.loads(given.out.read_text())["contenders"] if given.out.exists() else {}
    kept[name] = result
    for other in kept.values():
        other["gain_on_ladder"] = gain(other, kept.get("ladder", {}))
    given.out.write_text(json.dumps({"protocol": __doc__, "contenders": kept}, indent=1) + "\n")
    print(name, {key: value for key, value in result.items() if key not in ("log_evidence", "options")}, flush=True)


def gain(result: dict[str, Any], ladder: dict[str, Any]) -> dict[str, float] | None:
    """The mean difference of L_K in nats, image by image, and its standard error."""
    values = [part.get("log_evidence", []) for part in (result, ladder)]
    if len(values[0]) != len(values[1]) or not values[0]:
        return None
    difference = np.subtract(*values)
    return {"mean": difference.mean(), "standard_error": difference.std() / len(difference) ** 0.5}


if __name__ == "__main__":
    main()
