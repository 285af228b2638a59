"""MOSES at a budget of CPU time: fragments, characters and SELFIES, and what molecules of the training part score.

Each model is given the same CPU seconds: a few steps say how many fit in, and the learning rate falls to its end within
them. Molecules spread over the training part of MOSES are fitted; a tenth of them is held out. A model that is in
its run folder already, however it came there, is scored as it is.

Scored are samples by `evaluate.molecules` (without the Fréchet ChemNet distance) in two protocols, 10,000 samples
against 20,000 test molecules and, for `--whole`, 30,000 against all of the test and all of the scaffold-test part, as
MOSES does; as many molecules of the training part beside them, for what can be reached. And of spread test molecules:
L_K, nats a molecule; the rate, I(x; z) and active units; the share that comes back exactly, written greedily at one
z ~ q(z | x), drawn at it, or in one of ten such draws. With `--zinc` that share is taken, greedily, of the ZINC test
set on which JT-VAE's is measured as well; molecules beyond the largest of the fit are left out and counted.

python papers/moses_budget.py --molecules 250000 --cpu-seconds 480 --models fragments characters selfies
"""

from __future__ import annotations

import argparse
import json
import time
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from moses import RESULTS, canonical, kind_of, molecules_of_part, spread, what_z_tells

from lowerbound.data import Dataset, read_file
from lowerbound.data.download import needed
from lowerbound.data.formats.text import read_smiles
from lowerbound.data.given import rows_under
from lowerbound.data.kinds.strings import texts_in
from lowerbound.data.overrides import Overrides
from lowerbound.evaluate import log_evidence, summary
from lowerbound.evaluate.molecules import TestMolecules, molecule_scores
from lowerbound.fitted import Fitted
from lowerbound.fitting.planning import Plan, plan
from lowerbound.fitting.preparing import prepare
from lowerbound.fitting.stages import fit
from lowerbound.randomness import forked
from lowerbound.runs import Run

TIMED, AT_ONCE = 20, 10_000  # steps, samples
ZINC = "zinc250k_jtnn_test.smi.txt.gz"
TRAINING = {"dropout": 0.0, "lr_schedule": "cosine"}
RECIPES = {
    "fragments": "molecule-vae",
    "atoms": "molecule-vae",
    "characters": "sentence-vae",
    "selfies": "sentence-vae",
}
FREE = "free-bits:nats={},per=group"


def main() -> None:
    """Read the options; fit what is not there, score and save one model after another."""
    given = options()
    given.runs.mkdir(parents=True, exist_ok=True)
    train = spread(given, "train", given.molecules)
    compared = {} if given.only_fit else protocols(given)
    if given.ceiling:
        ceiling = {
            words: molecule_scores(molecules_of_part("train", count), (), test)
            for words, (count, test) in compared.items()
        }
        saved(given.out, {"training molecules": ceiling})
    for name in given.models:
        fitted, spent = of_budget(given, name, train)
        if not given.only_fit:
            found = {**spent, **of_test_molecules(fitted, given), **of_samples(fitted, train, compared, given.seed)}
            if given.zinc:
                found["reconstruction_of_zinc_test"] = of_zinc(fitted, given)
            print(name, json.dumps(found), flush=True)
            saved(given.out, {"protocol": __doc__, name: found})


def of_samples(
    fitted: Fitted, train: Path, compared: dict[str, tuple[int, TestMolecules]], seed: int
) -> dict[str, Any]:
    """The scores of samples in each protocol, and some of them."""
    begun = time.process_time()
    samples = drawn(fitted, max(count for count, _ in compared.values()), seed)
    spent, known = time.process_time() - begun, set(canonical(train))
    found = {words: molecule_scores(samples[:count], known, test) for words, (count, test) in compared.items()}
    return {"samples_per_cpu_minute": 60 * len(samples) / spent, "samples": samples[:24], **found}


def drawn(fitted: Fitted, count: int, seed: int) -> list[str]:
    """Samples as SMILES, at most 10,000 at once, each time of the next seed."""
    counts = [min(AT_ONCE, count - i) for i in range(0, count, AT_ONCE)]
    return [one for i, some in enumerate(counts) for one in texts_in(fitted.sample(some, seed=seed + i))]


def options() -> argparse.Namespace:
    """Those of the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--molecules", type=int, default=250_000)
    parser.add_argument("--test", type=int, default=500)
    parser.add_argument("--cpu-seconds", type=float, default=480.0)
    parser.add_argument("--free-nats", type=float, default=2.0, help="of the rate, of every model")
    parser.add_argument("--latent-dim", type=int, default=32)
    parser.add_argument("--embedding-dim", type=int, default=64)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--evidence-samples", type=int, default=100)
    parser.add_argument("--samples", type=int, nargs=2, default=(10_000, 20_000), help="and test molecules")
    parser.add_argument("--whole", type=int, default=0, help="samples that are compared with all test molecules")
    parser.add_argument("--only-fit", action="store_true", help="score nothing")
    parser.add_argument("--ceiling", action="store_true", help="score molecules of the training part as well")
    parser.add_argument("--zinc", action="store_true", help=f"reconstruct molecules of {ZINC} as well")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--models", nargs="*", default=("fragments", "characters", "selfies"))
    parser.add_argument("--runs", type=Path, default=Path("runs/moses-budget"))
    parser.add_argument("--out", type=Path, default=RESULTS / "moses_budget.json")
    return parser.parse_args()


def protocols(given: argparse.Namespace) -> dict[str, tuple[int, TestMolecules]]:
    """How many samples are compared with which test molecules, by words."""
    count, num_test = given.samples
    found = {f"{count:,} of {num_test:,}": (count, TestMolecules(molecules_of_part("test", num_test)))}
    if given.whole:
        for part in ("test", "test_scaffolds"):
            found[f"{given.whole:,} of all, {part}"] = given.whole, TestMolecules(molecules_of_part(part, None))
    return found


def of_budget(given: argparse.Namespace, name: str, train: Path) -> tuple[Fitted, dict[str, Any]]:
    """A model in its run folder, fitted if it is not there, and the CPU seconds that this took."""
    path, kind = given.runs / name, kind_of(name)
    dataset = read_file(train, overrides=Overrides.said(kind))
    run = Run.open(path) if (path / "run.json").exists() else None
    if run is None:
        planned = plan(dataset, **settings(given, name, 1_000_000))
        steps = int(given.cpu_seconds / seconds_a_step(dataset, planned))
        planned = plan(dataset, **settings(given, name, steps))
        run = Run.create(path, planned, {"path": str(train), "kind": kind}, dataset)
    spent = path.with_suffix(".json")
    if not run.finished:
        begun, training = time.process_time(), prepare(dataset, run.plan, run.plan.engine())
        for record in run.fit(training, run.plan.engine()):
            print(f"{name}: step {record.step} of {run.plan.steps}, {record.terms['bound']:.2f}", flush=True)
        saved(spent, {"cpu_seconds_of_fit": time.process_time() - begun})
    return run.fitted(dataset=dataset), {**saved(spent, {}), "plan": run.plan.to_json()["given"]}


def saved(path: Path, found: dict[str, Any]) -> dict[str, Any]:
    """What a file of results holds, with more."""
    results = {**(json.loads(path.read_text()) if path.exists() else {}), **found}
    path.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    return results


def settings(given: argparse.Namespace, name: str, steps: int) -> dict[str, Any]:
    """The settings of a model by its name."""
    own: dict[str, Any] = {"encoder": "message-passing"} if name.startswith("atoms") else {}
    said = {key: vars(given)[key] for key in ("latent_dim", "embedding_dim", "width", "batch_size", "seed")}
    objective = FREE.format(given.free_nats)
    return {"recipe": RECIPES[name.split()[0]], "objective": objective, "steps": steps, **TRAINING, **said, **own}


def seconds_a_step(dataset: Dataset, planned: Plan) -> float:
    """CPU seconds, from a few steps after the first ones."""
    training, engine = prepare(dataset, planned.replace(steps=20 * TIMED), planned.engine()), planned.engine()
    records = fit(training, planned.replace(steps=20 * TIMED), engine)
    next(records)
    begun = time.process_time()
    last = list(islice(records, 2))[-1]
    return (time.process_time() - begun) / (last.step - TIMED)


def of_test_molecules(fitted: Fitted, given: argparse.Namespace) -> dict[str, Any]:
    """The bound and its parts, and what comes back."""
    test = spread(given, "test", given.test)
    rows = rows_under(test, fitted.schema)
    x, model = fitted.events(rows.x), fitted.model
    found = {
        f"L_{count}": log_evidence(model, x, num_samples=count, seed=given.seed)
        for count in (20, given.evidence_samples)
    }
    parts = summary(model, x, num_samples=16, seed=given.seed)
    return {
        **{words: one.mean for words, one in found.items()},
        "standard_error": found[f"L_{given.evidence_samples}"].standard_error_of_mean,
        "elbo": parts.elbo,
        "rate": parts.rate,
        "distortion": parts.distortion,
        "active_units": parts.active_units,
        **what_z_tells(fitted, x, given.seed),
        **drawn_back(fitted, x, given.seed),
        "num_test": len(canonical(test)),
        "outside": 1 - len(x) / len(canonical(test)),
    }


def of_zinc(fitted: Fitted, given: argparse.Namespace) -> dict[str, Any]:
    """The share of spread molecules of the ZINC test set that comes back, of those that the model can write."""
    lines = read_smiles(needed(ZINC), None).x
    path = given.runs / f"zinc-{given.test}.smi"
    path.write_text("\n".join(lines[:: max(1, len(lines) // given.test)][: given.test].tolist()) + "\n")
    x = fitted.events(rows_under(path, fitted.schema).x)
    greedy = what_z_tells(fitted, x, given.seed)["reconstruction"]
    return {"molecules": given.test, "too_large": given.test - len(x), "greedy": greedy}


def drawn_back(fitted: Fitted, x: torch.Tensor, seed: int, times: int = 10) -> dict[str, float]:
    """The share that comes back where x' ~ p(x' | z), z ~ q(z | x), once and in one of several draws."""
    model = fitted.model
    with torch.no_grad(), forked(torch.device("cpu"), seed):
        q = model.infer(x, None)
        back = torch.stack([(model.likelihood(q.sample()).sample() == x).all(1) for _ in range(times)]).double()
    return {"reconstruction_by_a_draw": back.mean().item(), f"reconstruction_in_{times}": back.amax(0).mean().item()}


if __name__ == "__main__":
    main()
