"""The one-layer network of Burda, Grosse & Salakhutdinov (2016, arXiv:1509.00519, Table 1) on dynamic MNIST.

784-200-200-50 and back, tanh, Bernoulli pixels re-sampled at every visit, output bias started at the data mean, K = 1
(or --num-samples with --objective iwae), Adam, batch 100. The paper trains for 3,280 passes with a learning rate that
falls from 1e-3 to 1e-4 in eight stages; this recipe takes a budget of passes with the same start and an exponential
fall to a hundredth. The score is L_5000 of the 10,000 test images, binarized once with a fixed seed.

python papers/iwae_one_layer.py --epochs 150
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import torch
from pinned import pinned

from lowerbound.data import Dataset, load
from lowerbound.evaluate import log_evidence, summary
from lowerbound.fitting.planning import Plan
from lowerbound.fitting.preparing import prepare
from lowerbound.fitting.stages import fit
from lowerbound.randomness import forked

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=float, default=150)
    parser.add_argument("--objective", default="elbo")
    parser.add_argument("--num-samples", type=int, default=1)
    parser.add_argument("--evidence-samples", type=int, default=5000)
    parser.add_argument("--test-images", type=int, default=10_000)
    parser.add_argument("--train-images", type=int, default=60_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS / "iwae_one_layer.json")
    arguments = parser.parse_args()
    mnist = load("mnist")
    dataset = replace(mnist, x_train=mnist.x_train[: arguments.train_images], y_train=None, y_test=None)
    plan = pinned(
        dataset,
        {"latent_dim": 50, "hidden": [200, 200], "activation": "tanh"},
        objective=arguments.objective,
        num_samples=arguments.num_samples,
        batch_size=100,
        epochs=arguments.epochs,
        lr=1e-3,
        lr_schedule="exponential",
        seed=arguments.seed,
    )
    run(dataset, plan, arguments)


def run(dataset: Dataset, plan: Plan, arguments: argparse.Namespace) -> None:
    """Train, score, save."""
    engine = plan.engine()
    training = prepare(dataset, plan, engine)
    start = time.perf_counter()
    curve = []
    for record in fit(training, plan, engine):
        if record.held_out is not None:
            curve.append({"step": record.step, "epoch": record.epoch, "seconds": record.seconds, **record.held_out})
            print(
                f"epoch {record.epoch:6.1f}  held-out bound {record.held_out['bound']:8.3f}  {record.seconds:7.0f} s",
                flush=True,
            )
    trained = time.perf_counter() - start
    with forked(torch.device("cpu"), plan.seed):
        x = training.transform(torch.as_tensor(dataset.x_test[: arguments.test_images]))
    start = time.perf_counter()
    evidence = log_evidence(training.loss.model, x, num_samples=arguments.evidence_samples, seed=plan.seed)
    result = {
        "negative_log_likelihood": -evidence.mean,
        "standard_error_over_images": evidence.standard_error_of_mean,
        "num_samples": evidence.num_samples,
        "num_images": len(x),
        "negative_elbo": -evidence.elbo.mean().item(),
        "active_units": summary(training.loss.model, x).active_units,
        "seconds_training": round(trained, 1),
        "seconds_scoring": round(time.perf_counter() - start, 1),
        "threads": torch.get_num_threads(),
        "settings": plan.to_json(),
        "protocol": __doc__,
        "held_out_curve": curve[:: max(1, len(curve) // 50)],
    }
    arguments.out.parent.mkdir(exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=2) + "\n")
    print({key: result[key] for key in list(result)[:8]})


if __name__ == "__main__":
    main()
