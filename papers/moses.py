"""Molecules of MOSES: a latent and a grammar in which every row is a molecule, against the same without either.

    molecule-vae       p(z) p(x | z), x a derivation by fragments and atoms; the weight of the rate rises to 1
    free bits          the same, 4 nats of the rate free of cost
    fragments alone    Π_t p(x_t | x_<t): the same net without a latent, log p(x) exact
    characters         a sentence VAE of the characters of the same SMILES, without a grammar

Every k-th molecule of the training part of MOSES is fitted; a tenth of them chooses the weights. Scored are molecules
spread over the published test part: L_K of K importance samples, nats a molecule of its derivation (of characters: of
its canonical SMILES), each a lower bound of log p(molecule), because a molecule has more than one way to be written;
the share of them that is outside of what the model can write; exact reconstruction at one z ~ q(z | x), written
greedily; and samples against test molecules by the scores of `evaluate.molecules`, which leave out the Fréchet ChemNet
distance.
Each model is a run folder, which is resumed where it stopped.

python papers/moses.py --molecules 50000 --steps 6000
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

from lowerbound.data import read_file
from lowerbound.data.download import needed
from lowerbound.data.formats.text import read_smiles
from lowerbound.data.given import rows_under
from lowerbound.data.kinds.strings import texts_in
from lowerbound.data.overrides import Overrides
from lowerbound.data.smiles import read_molecules
from lowerbound.evaluate import log_evidence, summary
from lowerbound.evaluate.molecules import molecule_scores
from lowerbound.fitted import Fitted
from lowerbound.fitting import prepare
from lowerbound.planning import plan
from lowerbound.randomness import forked
from lowerbound.runs import Run

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Read the options; fit, score and save one model after another."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--molecules", type=int, default=50_000)
    parser.add_argument("--test", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--latent-dim", type=int, default=32)
    parser.add_argument("--embedding-dim", type=int, default=128)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--evidence-samples", type=int, default=100)
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--models", nargs="*", help="only these")
    parser.add_argument("--runs", type=Path, default=Path("runs/moses"))
    parser.add_argument("--out", type=Path, default=RESULTS / "moses.json")
    given = parser.parse_args()
    given.runs.mkdir(parents=True, exist_ok=True)
    train, test = spread(given, "train", given.molecules), spread(given, "test", given.test)
    kept = json.loads(given.out.read_text())["models"] if given.out.exists() else {}
    options = {name: value for name, value in vars(given).items() if name not in ("out", "runs", "models")}
    results: dict[str, Any] = {"protocol": __doc__, "options": options, "models": kept}
    for name, settings in variants(given).items():
        if given.models and name not in given.models:
            continue
        begun = time.process_time()
        model = fitted(given.runs / name.replace(" ", "-"), train, settings)
        spent = time.process_time() - begun
        results["models"][name] = {**scores(model, train, test, given), "cpu_seconds_of_fit": spent}
        print(name, results["models"][name], flush=True)
        given.out.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n")


def spread(given: argparse.Namespace, part: str, count: int) -> Path:
    """Canonical SMILES of molecules at equal distances in a part, as a file."""
    path = given.runs / f"{part}-{count}.smi"
    if not path.exists():
        source = needed(f"moses_zinc_{part}.smi.txt.gz")
        lines = read_smiles(source, None).x
        chosen = lines[:: max(1, len(lines) // count)][:count].tolist()
        path.write_text("\n".join(one for one in read_molecules(chosen).smiles if one) + "\n")
    return path


def variants(given: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """The settings of every model by its name."""
    training = {"steps": given.steps, "seed": given.seed}
    net = {"embedding_dim": given.embedding_dim, "width": given.width}
    warm = f"beta-elbo:beta=1.0,rate=kl,warmup={max(1, given.steps // 3)}"
    model = {**training, **net, "latent_dim": given.latent_dim}
    return {
        "molecule-vae": {**model, "recipe": "molecule-vae", "objective": warm},
        "free bits": {**model, "recipe": "molecule-vae", "objective": "free-bits:nats=4.0,per=group"},
        "fragments alone": {**training, **net, "recipe": "language-model"},
        "characters": {**model, "recipe": "sentence-vae", "objective": warm},
    }


def fitted(path: Path, molecules: Path, settings: dict[str, Any]) -> Fitted:
    """The fitted model of a folder: begun, resumed, or as it is."""
    kind = "text:tokens=character" if settings["recipe"] == "sentence-vae" else "molecules"
    dataset = read_file(molecules, overrides=Overrides.said(kind))
    planned = plan(dataset, **settings)
    run = Run.open(path) if (path / "run.json").exists() else None
    if run is None:
        run = Run.create(path, planned, {"path": str(molecules), "kind": kind}, dataset)
    elif run.plan.replace(given={}, reasons={}) != planned.replace(given={}, reasons={}):
        raise SystemExit(f"{path} holds a run with other settings; remove it, or name another folder by --runs.")
    if run.finished:
        return run.fitted(dataset=dataset)
    engine = planned.engine()
    training = prepare(dataset, planned, engine)
    for record in run.fit(training, engine):
        if record.held_out is not None:
            print(f"{path.name}: pass {record.epoch:.1f}, held out {record.held_out['bound']:.2f}", flush=True)
    return run.fitted(model=training.loss.model, transform=training.transform, dataset=dataset)


def scores(fitted: Fitted, train: Path, test: Path, given: argparse.Namespace) -> dict[str, Any]:
    """L_K, rate, reconstruction, and the scores of samples."""
    rows = rows_under(test, fitted.schema)
    x, model = fitted.events(rows.x), fitted.model
    alone = model.prior(None).event_shape.numel() == 0
    found = log_evidence(model, x, num_samples=1 if alone else given.evidence_samples, seed=given.seed)
    parts = summary(model, x, num_samples=1 if alone else 16, seed=given.seed)
    with forked(torch.device("cpu"), given.seed):
        same = None if alone else (model.reconstruct(x) == x).all(1).double().mean().item()
    real, known = test.read_text().split(), set(train.read_text().split())
    begun = time.process_time()
    samples = texts_in(fitted.sample(given.samples, seed=given.seed))
    spent = time.process_time() - begun
    return {
        "log_evidence": found.mean,
        "standard_error": found.standard_error_of_mean,
        "elbo": found.mean_elbo,
        "rate": parts.rate,
        "active_units": parts.active_units,
        "reconstruction": same,
        "outside": 1 - len(x) / len(real),
        "num_test": len(real),
        "num_train": len(known),
        "samples_per_cpu_minute": 60 * len(samples) / spent,
        "notes": list(rows.notes),
        **molecule_scores(samples, known, real),
    }


if __name__ == "__main__":
    main()
