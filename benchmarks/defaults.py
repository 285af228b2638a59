"""Defaults against what their user would have tried first, on the same training and test rows.

For each data set: what one call of the library gives without any other word ("default"), log p(x) of the test rows
(L_1000, in nats of standardised columns), the same of every alternative of `alternatives.py`, and the mean paired
difference with its standard error over test rows. "proposed" is a stack of mixtures of factor analysers for tables and
an autoencoder that starts at independent columns for counts. Each result is saved as soon as it is there, and what is
saved is not computed again.

python benchmarks/defaults.py [--only NAME …] [--kind tables counts images] [--seeds 1] [--ours proposed default]
    [--again default]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import alternatives
import numpy as np
import torch
from rows import COUNTS, IMAGES, TABLES, dataset_named
from timing import RESULTS, machine

from lowerbound import VariationalLoss, gradients, objectives
from lowerbound.data import Dataset, InMemory
from lowerbound.engine import Engine
from lowerbound.evaluate import log_evidence
from lowerbound.fitting import fit, prepare
from lowerbound.linear import fit_stack
from lowerbound.loop import HeldOut, train
from lowerbound.model import LatentVariableModel
from lowerbound.models.count_autoencoder import count_autoencoder, start_at_columns
from lowerbound.models.mixture_of_factor_analysers import model_of
from lowerbound.planning import plan
from lowerbound.randomness import forked
from lowerbound.schedules import Cosine

KINDS = {"tables": tuple(TABLES), "counts": tuple(COUNTS), "images": IMAGES}
SAMPLES = 1000
MOST_IMAGES = 500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=None)
    parser.add_argument("--kind", nargs="+", default=["tables", "counts"], choices=list(KINDS))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--again", nargs="+", default=[], help="contenders to compute anew")
    parser.add_argument("--steps", type=int, default=None, help="of the default on images: a short budget")
    parser.add_argument("--ours", nargs="*", default=["proposed", "default"], choices=["proposed", "default"])
    parser.add_argument("--ours-only", action="store_true", help="no alternatives beyond those that are saved")
    parser.add_argument("--out", type=Path, default=RESULTS / "defaults.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    saved = json.loads(arguments.out.read_text())["results"] if arguments.out.exists() else {}
    for name in [n for kind in arguments.kind for n in KINDS[kind] if arguments.only is None or n in arguments.only]:
        dataset = dataset_named(name)
        entry = saved.setdefault(name, {"rows": dataset.num_train, "test": dataset.num_test})
        for contender, call in contenders(dataset, arguments).items():
            if contender in entry and not contender.startswith(tuple(arguments.again or ["\0"])):
                continue
            started, worked = time.monotonic(), time.process_time()
            result = call()
            seconds, cpu = time.monotonic() - started, time.process_time() - worked
            entry[contender] = {"seconds": round(seconds, 1), "cpu_seconds": round(cpu, 1), **result}
            arguments.out.parent.mkdir(parents=True, exist_ok=True)
            arguments.out.write_text(json.dumps({"protocol": __doc__, "machine": machine(), "results": saved}) + "\n")
            print(f"{name:<24}{contender:<32}{np.mean(result['log_p']):10.3f}{seconds:8.1f} s", flush=True)
        report(name, entry)


def contenders(dataset: Dataset, arguments: argparse.Namespace) -> dict[str, Callable[[], dict[str, Any]]]:
    """The default with each seed, and the alternatives."""
    if dataset.kind == "image":
        train, test = intensities(dataset)
        others = alternatives.of_images(train, test)
    else:
        train, test = dataset.x_train.astype(float), dataset.x_test.astype(float)
        if dataset.name in TABLES:
            mean, scale = train.mean(0), train.std(0)
            train, test = (train - mean) / scale, (test - mean) / scale
        others = (alternatives.of_tables if dataset.name in TABLES else alternatives.of_counts)(train, test)
    if arguments.ours_only:
        others = {}
    ours: dict[str, Callable[[], dict[str, Any]]] = {}
    for seed in range(arguments.seeds):
        if "proposed" in arguments.ours and dataset.kind != "image":
            ours[f"proposed {seed}"] = lambda seed=seed: proposed(dataset, train, test, seed)
        if "default" in arguments.ours:
            ours[f"default {seed}"] = lambda seed=seed: default(dataset, seed, arguments.steps)
    return {**ours, **{name: (lambda call=call: {"log_p": rounded(call())}) for name, call in others.items()}}


def proposed(dataset: Dataset, train: Any, test: Any, seed: int) -> dict[str, Any]:
    """What the rule for defaults would give: see `docs/choose.md`."""
    x, y = torch.from_numpy(np.asarray(train)), torch.from_numpy(np.asarray(test)).float()
    if dataset.name in COUNTS:
        model = counts_model(x.float(), seed)
    else:
        model = model_of(fit_stack(x, seed=seed).mixture).float()
    evidence = log_evidence(model.eval(), y, num_samples=300 if dataset.name in COUNTS else 4)
    return {"log_p": rounded(evidence.log_evidence.numpy()), "elbo": round(evidence.mean_elbo, 3)}


def counts_model(x: torch.Tensor, seed: int) -> LatentVariableModel:
    """The autoencoder of counts, stopped by a tenth of the rows."""
    columns = x.shape[1]
    with forked(torch.device("cpu"), seed):
        latent_dim, width = max(2, min(10, columns // 4)), 64 if columns <= 60 else 128
        model = count_autoencoder((columns,), latent_dim=latent_dim, hidden=[width], dropout=0.2 * (columns > 60))
        order = torch.randperm(len(x))
    start_at_columns(model, x)
    loss = VariationalLoss(model, objectives.ELBO(rate="kl"), gradients.Pathwise())
    held, rest = x[order[: len(x) // 10]], x[order[len(x) // 10 :]]
    plan = HeldOut(source=InMemory(held), every=50, patience=20)
    lr = Cosine(2e-3, 2e-5, 1500)
    for _ in train(
        loss,
        InMemory(rest),
        num_steps=1500,
        batch_size=128,
        lr=lr,
        seed=seed,
        log_every=50,
        held_out=plan,
        clip_norm=50.0,
    ):
        pass
    return model


def default(dataset: Dataset, seed: int, steps: int | None) -> dict[str, Any]:
    """What `lowerbound fit` makes of a data set without any other word: log p̂ of each test row, and the ELBO."""
    given = {"seed": seed} | ({} if steps is None else {"steps": steps})
    if dataset.name in COUNTS:
        given["likelihood"] = "negative-binomial"
    planned, engine = plan(dataset, **given), Engine()
    training = prepare(dataset, planned, engine)
    for _ in fit(training, planned, engine):
        pass
    model: Any = training.loss.model
    x = test_rows(dataset, training.transform)
    evidence = log_evidence(model.eval(), x, num_samples=SAMPLES)
    return {"log_p": rounded(evidence.log_evidence.numpy()), "elbo": round(evidence.mean_elbo, 3)}


def test_rows(dataset: Dataset, transform: torch.nn.Module) -> torch.Tensor:
    """Test rows as the likelihood scores them; images binarized once, by seed 0."""
    x = torch.from_numpy(dataset.x_test)
    if dataset.kind == "image":
        return intensities(dataset)[1]
    with forked(torch.device("cpu"), 0):
        return transform(x).float()


def intensities(dataset: Dataset) -> tuple[torch.Tensor, torch.Tensor]:
    """Training images in [0, 1] (at most 20,000), and binarized test images."""
    scale = dataset.pixel_scale or 1.0
    train, test = (torch.from_numpy(x).float() / scale for x in (dataset.x_train[:20_000], dataset.x_test))
    with forked(torch.device("cpu"), 0):
        return train, torch.bernoulli(test[:MOST_IMAGES])


def rounded(values: np.ndarray) -> list[float]:
    """Log-probabilities as they are saved."""
    return [round(float(v), 4) for v in values]


def report(name: str, entry: dict[str, Any]) -> None:
    """The margins of what is ours over each alternative, means over seeds and paired over test rows."""
    results = {key: value for key, value in entry.items() if isinstance(value, dict)}
    for ours in ("proposed", "default"):
        mine = [value for key, value in results.items() if key.startswith(ours)]
        if not mine:
            continue
        mean = np.mean([value["log_p"] for value in mine], 0)
        print(f"  {name}: {ours} {mean.mean():.2f}, ELBO {np.mean([value['elbo'] for value in mine]):.2f}")
        for other, value in results.items():
            if not other.startswith(("proposed", "default")):
                gap = mean - np.array(value["log_p"])
                error = gap.std() / len(gap) ** 0.5
                print(f"    {other:<30}{np.mean(value['log_p']):10.2f}   margin {gap.mean():+8.2f} ± {error:.2f}")


if __name__ == "__main__":
    main()
