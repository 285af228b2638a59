"""A path of eight groups against a ladder of three, at equal passes and at equal time, on dynamic MNIST; and DRAW.

    dense          `very-deep`, 8 groups of 12 latents, state 200, bottlenecks 100 (Child 2021, arXiv:2011.10650)
    ladder         latents 64, 32, 16 under 200-200, 100-100, 50-50 units (Sønderby et al. 2016, arXiv:1602.02282)
    ladder-longer  the same for as many steps as its step time allows in the seconds of `dense`
    biva           5 levels of 12 latents, two at each but the top, the same state and bottlenecks (Maaløe et al. 2019,
                   arXiv:1902.02102); its rate is sampled, as p and q draw in different orders
    draw           10 glimpses of 5 × 5 places, 10 latents each, LSTMs of 256 (Gregor et al. 2015, arXiv:1502.04623)
    draw-whole     the same without attention, for as many steps as fit into the seconds of `draw`
    maps           `very-deep` with maps of 2 × 2 to 14 × 14, for a GPU

The same for all: Bernoulli pixels, binarized anew at every visit, the ELBO from one sample with the KL of each layer in
closed form (BIVA's is sampled), its rate turned on linearly over a tenth of the steps, Adam, batches of --batch-size, a
learning rate that falls from --lr to a hundredth along a cosine, gradients clipped at a norm of 100; the bound of 5,000
training images chooses the weights. No step is compiled. Seconds are those of the clock during training, with the
evaluations of that bound: on a busy machine compare them only within one run of this script.

Reported for the first --test-images, binarized once: L_K and the ELBO in nats, the rate of every layer, and the
difference to `ladder` image by image. Runs lie in a folder and go on where they were stopped; the results of all that
ran are kept in one file.

python papers/dense_path.py --runs runs/dense
python papers/dense_path.py --runs runs/dense --only draw draw-whole
python papers/dense_path.py --runs runs/deep --only maps --device cuda --steps 40000 --evidence-samples 1000
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fitted import carried_out, rows_of_test

from lowerbound.data import Dataset, load
from lowerbound.evaluate import log_evidence, summary
from lowerbound.fitted import Fitted
from lowerbound.fitting.planning import Plan, plan
from lowerbound.plots import image_grid
from lowerbound.randomness import forked

RESULTS = Path(__file__).parent / "results"
SHOWN = 14
LADDER: dict[str, Any] = {"latent_dims": [64, 32, 16], "hidden": [[200, 200], [100, 100], [50, 50]]}
DRAW: dict[str, Any] = {"glimpses": 10, "latent_dim": 10, "width": 256}
CONTENDERS: dict[str, tuple[str, dict[str, Any]]] = {
    "dense": ("very-deep", {"groups": [8], "latent_channels": 12, "width": 200, "hidden": 100}),
    "ladder": ("ladder", LADDER),
    "ladder-longer": ("ladder", LADDER),
    "biva": ("biva", {"levels": [5], "latent_channels": 12, "width": 200, "hidden": 100}),
    "draw": ("draw", {**DRAW, "read": 5, "write": 5}),
    "draw-whole": ("draw", {**DRAW, "read": 0, "write": 0}),
    "maps": (
        "very-deep",
        {"network": "convolution", "groups": [2, 4, 6, 8], "latent_channels": 16, "width": 96, "hidden": 48},
    ),
}
AS_LONG_AS = {"ladder-longer": ("ladder", "dense"), "draw-whole": ("draw-whole", "draw")}
"""Of what runs as long as another: the one that shows its seconds for each step, and the other."""
TRIAL = 200  # steps that show the seconds of a step where no run has shown them


def main() -> None:
    """Read the options; train, score and save one model after another."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=list(CONTENDERS), nargs="+", default=["ladder", "dense", "ladder-longer"])
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--test-images", type=int, default=1000)
    parser.add_argument("--evidence-samples", type=int, default=100, help="K")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--out", type=Path, default=RESULTS / "dense_path.json")
    given = parser.parse_args()
    torch.set_num_threads(1)
    dataset, samples = load(given.data), {}
    for name in given.only:
        steps = steps_of(name, dataset, given)
        found = carried_out(given.runs / name, {"name": given.data}, dataset, planned(name, dataset, given, steps))
        save(name, scores(found, given), given)
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
    return plan(
        dataset,
        recipe,
        **options,
        likelihood="bernoulli",
        binarization="dynamic",
        objective=f"beta-elbo:beta=1.0,rate={'sampled' if name == 'biva' else 'kl'},warmup={steps // 10}",
        gradient="pathwise",
        num_samples=1,
        steps=steps,
        batch_size=given.batch_size,
        lr=given.lr,
        lr_schedule="cosine",
        clip_norm=100.0,
        seed=given.seed,
        device=given.device,
        compile=False,
    ).replace(ema=None, skip_above=None, patience=None)


def steps_of(name: str, dataset: Dataset, given: argparse.Namespace) -> int:
    """As many as were asked for, or as fit into the seconds of another run."""
    if name not in AS_LONG_AS:
        return given.steps
    known, kept = AS_LONG_AS[name], given.runs / f"{name}-steps.json"
    if kept.exists():  # the number that a run began with
        return json.loads(kept.read_text())
    speed_of, as_long_as = known
    steps = TRIAL if speed_of == name else given.steps
    folder = given.runs / (f"{name}-trial" if speed_of == name else speed_of)
    quick = carried_out(folder, {"name": given.data}, dataset, planned(speed_of, dataset, given, steps))
    other = carried_out(
        given.runs / as_long_as, {"name": given.data}, dataset, planned(as_long_as, dataset, given, given.steps)
    )
    count = max(1, round(steps * other.records[-1]["seconds"] / quick.records[-1]["seconds"]))
    kept.write_text(json.dumps(count) + "\n")
    return count


def scores(found: Fitted, given: argparse.Namespace) -> dict[str, Any]:
    """L_K, the ELBO and the rates, of test images."""
    x = rows_of_test(found, given.test_images).to(given.device)
    model = found.model.to(given.device)
    evidence = log_evidence(model, x, num_samples=given.evidence_samples, seed=given.seed)
    told = summary(model, x, num_samples=4, seed=given.seed)
    last = found.records[-1]
    assert told.rate_per_layer is not None
    return {
        "negative_log_likelihood": -evidence.mean,
        "standard_error_over_images": evidence.standard_error_of_mean,
        "negative_elbo": -evidence.mean_elbo,
        "rates": [round(rate, 3) for rate in told.rate_per_layer.tolist()],
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
