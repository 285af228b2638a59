"""Defaults against what their user would have tried first, on the same training and test rows.

For each data set: what one call of the library gives without any other word ("default"), log p(x) of the test rows
(L_1000, or of as many samples as `evaluate` takes; in nats of standardised columns for numeric tables, those on a grid
by the probability of their cells over its width, see `grids.py`; of channels in units of their spread for series; in
those of the data for others), the same of every alternative of `alternatives.py`, `mixed_alternatives.py` and
`series.py`, and the paired differences over test rows. A contender is saved as soon as it is there, and what is saved
is not computed again. The scores of every row are kept in --scores, which is no part of the repository; the results
hold means, standard errors and differences.

python benchmarks/defaults.py [--only NAME …] [--kind tables mixed counts series images] [--seeds 3] [--again default]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import alternatives
import mixed_alternatives
import numpy as np
import torch
from grids import cell_log_density, steps_of
from mixed_rows import MIXED
from rows import COUNTS, IMAGES, TABLES, dataset_named
from series import SERIES, channel_scale, of_series
from timing import RESULTS, machine

from lowerbound.data import Dataset
from lowerbound.evaluate import log_evidence
from lowerbound.fitting.planning import plan
from lowerbound.fitting.preparing import prepare
from lowerbound.fitting.stages import fit
from lowerbound.randomness import forked
from lowerbound.training.engine import Engine
from lowerbound.verbs.effort import samples_for

KINDS = {
    "tables": tuple(TABLES),
    "mixed": tuple(MIXED),
    "counts": tuple(COUNTS),
    "series": tuple(SERIES),
    "images": IMAGES,
}
MOST_IMAGES = 500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=None)
    parser.add_argument("--kind", nargs="+", default=["tables", "counts"], choices=list(KINDS))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--again", nargs="+", default=[], help="contenders to compute anew")
    parser.add_argument("--steps", type=int, default=None, help="of the default on images: a short budget")
    parser.add_argument("--ours-only", action="store_true", help="no alternatives beyond those that are saved")
    parser.add_argument("--former", action="store_true", help="and the autoencoder that mixed tables had before")
    parser.add_argument("--out", type=Path, default=RESULTS / "defaults.json")
    parser.add_argument("--scores", type=Path, default=Path("build") / "defaults.json", help="of every test row")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    saved = json.loads(arguments.scores.read_text()) if arguments.scores.exists() else {}
    for name in [n for kind in arguments.kind for n in KINDS[kind] if arguments.only is None or n in arguments.only]:
        dataset = dataset_named(name)
        entry = saved.setdefault(name, {"rows": dataset.num_train, "test": dataset.num_test, "contenders": {}})
        for contender, call in contenders(dataset, arguments).items():
            if contender in entry["contenders"] and not contender.startswith(tuple(arguments.again or ["\0"])):
                continue
            started, worked = time.monotonic(), time.process_time()
            result = call()
            seconds, cpu = time.monotonic() - started, time.process_time() - worked
            entry["contenders"][contender] = {"seconds": round(seconds, 1), "cpu_seconds": round(cpu, 1), **result}
            arguments.scores.parent.mkdir(parents=True, exist_ok=True)
            arguments.scores.write_text(json.dumps(saved))
            print(f"{name:<28}{contender:<32}{np.mean(result['log_p']):10.3f}{seconds:8.1f} s", flush=True)
        report(name, summary(entry))
        write_results(arguments.out, saved)


def write_results(path: Path, saved: dict[str, Any]) -> None:
    """The summary of every data set, beside those that were saved on another day."""
    former = json.loads(path.read_text())["results"] if path.exists() else {}
    results = former | {name: summary(entry) for name, entry in saved.items()}
    path.write_text(json.dumps({"protocol": __doc__, "machine": machine(), "results": results}, indent=1) + "\n")


def contenders(dataset: Dataset, arguments: argparse.Namespace) -> dict[str, Callable[[], dict[str, Any]]]:
    """The default with each seed, and the alternatives."""
    if dataset.name == "colour":
        parts = np.asarray(dataset.x_train, float), np.asarray(dataset.x_test[:MOST_IMAGES], float)
        train, test = (x.reshape(len(x), -1) for x in parts)
        others = alternatives.of_colour(train, test)
    elif dataset.kind == "image":
        others = alternatives.of_images(*intensities(dataset))
    elif dataset.name in SERIES:
        scale = channel_scale(np.asarray(dataset.x_train, float))
        others = of_series(*(np.asarray(x, float) / scale for x in (dataset.x_train, dataset.x_test)))
    elif dataset.name in MIXED:
        others = mixed_alternatives.of_mixed(dataset)
    else:
        train, test = np.asarray(dataset.x_train, float), np.asarray(dataset.x_test, float)
        if dataset.name in TABLES:
            mean, scale = train.mean(0), train.std(0)
            train, test = (train - mean) / scale, (test - mean) / scale
        others = (alternatives.of_tables if dataset.name in TABLES else alternatives.of_counts)(train, test)
    if arguments.ours_only:
        others = {}
    ours: dict[str, Callable[[], dict[str, Any]]] = {}
    for seed in range(arguments.seeds):
        ours[f"default {seed}"] = lambda seed=seed: default(dataset, seed, arguments.steps)
    every = {**ours, **{name: (lambda call=call: {"log_p": rounded(call())}) for name, call in others.items()}}
    if dataset.name in MIXED and arguments.former:
        every["vae 0"] = lambda: default(dataset, 0, arguments.steps, recipe="vae")
    return every


def default(dataset: Dataset, seed: int, steps: int | None, recipe: str | None = None) -> dict[str, Any]:
    """What `lowerbound fit` makes of a data set without any other word: log p̂ of each test row, and the ELBO."""
    given: dict[str, Any] = {"seed": seed} | ({} if steps is None else {"steps": steps})
    planned, engine = plan(dataset, recipe, **given), Engine()
    training = prepare(dataset, planned, engine)
    for _ in fit(training, planned, engine):
        pass
    model: Any = training.loss.model
    if dataset.name in TABLES:
        train, test = np.asarray(dataset.x_train, float), np.asarray(dataset.x_test, float)
        log_p = cell_log_density(partial(density_of_rows, model.eval(), training.transform), test, steps_of(train))
        scale = np.log(train.std(0)).sum()  # the alternatives are of standardised columns
        return {"recipe": planned.recipe, "log_p": rounded(log_p + scale)}
    x = test_rows(dataset, training.transform)
    trained = planned.steps * planned.batch_size * planned.num_samples
    samples = samples_for(model.eval(), x, None, num_trained=trained).count
    evidence = log_evidence(model, x, num_samples=samples)
    log_p, elbo = evidence.log_evidence.double(), evidence.mean_elbo
    if dataset.name in SERIES:
        of_each = np.log(channel_scale(np.asarray(dataset.x_train, float))).sum() * x.shape[1]
        log_p = log_p - training.transform.log_scale_of(x) + of_each
        elbo = float(log_p.mean()) - float(evidence.log_evidence.mean()) + elbo
    return {"recipe": planned.recipe, "log_p": rounded(log_p.numpy()), "elbo": round(elbo, 3), "num_samples": samples}


def density_of_rows(model: Any, transform: Any, rows: np.ndarray) -> np.ndarray:
    """log p of rows of a table in its own units, by a model whose posterior is exact; −∞ where one has no logarithm."""
    on_logs = transform.log_rates.expand(rows.shape[1]).numpy() > 0
    possible = (rows[:, on_logs] > 0).all(1)
    log_p = np.full(len(rows), -np.inf)
    x = transform(torch.from_numpy(rows[possible]))
    of_x = log_evidence(model, x, num_samples=1).log_evidence.double()
    log_p[possible] = (of_x - transform.log_scale_of(x)).numpy()
    return log_p


def test_rows(dataset: Dataset, transform: torch.nn.Module) -> torch.Tensor:
    """Test rows as the likelihood scores them; images binarized once, by seed 0."""
    x = torch.from_numpy(dataset.x_test)
    if dataset.name == "colour":
        return transform(x[:MOST_IMAGES]).float()
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


def summary(entry: dict[str, Any]) -> dict[str, Any]:
    """Means and standard errors over test rows, and how far the default (its mean over seeds) is above each other."""
    scores = {name: np.array(value["log_p"]) for name, value in entry["contenders"].items()}
    mine = [score for name, score in scores.items() if name.startswith("default")]
    found: dict[str, Any] = {}
    for name, score in scores.items():
        value = {key: number for key, number in entry["contenders"][name].items() if key != "log_p"}
        found[name] = {**value, "log_p": mean_and_error(score)}
        if mine and not name.startswith("default"):
            found[name]["default_above"] = mean_and_error(np.mean(mine, 0) - score)
    return {"rows": entry["rows"], "test": entry["test"], "contenders": found}


def mean_and_error(values: np.ndarray) -> list[float]:
    """The mean and its standard error."""
    return [round(float(values.mean()), 4), round(float(values.std() / len(values) ** 0.5), 4)]


def report(name: str, entry: dict[str, Any]) -> None:
    """The margins of the default over each alternative."""
    results = entry["contenders"]
    mine = [value["log_p"][0] for other, value in results.items() if other.startswith("default")]
    print(f"  {name}: default {np.mean(mine):.2f}" if mine else f"  {name}")
    for other, value in results.items():
        if "default_above" in value:
            margin, error = value["default_above"]
            print(f"    {other:<30}{value['log_p'][0]:10.2f}   margin {margin:+8.2f} ± {error:.2f}")


if __name__ == "__main__":
    main()
