"""Molecules of MOSES: a latent and a grammar in which every row is a molecule, against the same without either.

    warm-up            p(z) p(x | z), x a derivation by fragments and atoms; the weight of the rate rises to 1
    free bits          the same, 4 nats of the rate free of cost
    fragments alone    Π_t p(x_t | x_<t): the same net without a latent, log p(x) exact
    characters         a sentence VAE of the characters of the same SMILES, without a grammar
    characters alone   the same without a latent
    selfies            a sentence VAE of the symbols of SELFIES (Krenn et al. 2020), every string of which is a molecule
    selfies alone      the same without a latent

and remedies against an unused latent, each with everything else as it is:

    plain              no warm-up
    free bits 2, 8     2 nats, as the recipe molecule-vae has them, or 8
    word dropout       0.3 of the symbols hidden from later ones while training
    free bits, word dropout   4 nats free, 0.3 of the symbols hidden
    aggressive         10 steps of the encoder for each of the decoder, while that raises I (He et al. 2019)
    bag of words       4 nats free, and an encoder of the counts of symbols
    short sight        4 nats free, and a decoder that sees z and the last three symbols
    free bits 20       20 nats
    little rate        a weight of 0.01 on the rate, the largest of the published code of JT-VAE; 64 latents, no dropout
    little rate, counts   the same, an encoder of the counts of symbols, 32 molecules a step and four times the steps

and other encoders and latents, with 2 nats of the rate free:

    atoms              an encoder that passes messages between bonded atoms
    rings              unknown ring systems are taken apart at their single bonds, with an LSTM for an encoder
    tree and graph     z_T of the tree of fragments and z_G of the graph of atoms, half of the numbers each

Every k-th molecule of the training part of MOSES is fitted; a tenth of them chooses the weights. Scored are molecules
spread over the published test part: L_K of K importance samples, nats a molecule of its derivation (of characters: of
its canonical SMILES), each a lower bound of log p(molecule), because a molecule has more than one way to be written;
the share of them that is outside of what the model can write; I(x; z) of the scored molecules; what is written greedily
at one z ~ q(z | x): the share that is the molecule itself, its Tanimoto similarity to it, and that to another test
molecule, which is the same for a latent that says nothing; L_K summed over the derivations that differ by the symmetry
of symbols alone; and samples against more test molecules by the scores of `evaluate.molecules`, which leave out the
Fréchet ChemNet distance. As many molecules of the training part are scored as samples are, for what can be reached.
Each model is a run folder, which is resumed where it stopped.

python papers/moses.py --molecules 50000 --steps 6000
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from rdkit import Chem
from rdkit.Chem import rdFingerprintGenerator
from rdkit.DataStructs import TanimotoSimilarity

from lowerbound.data import read_file
from lowerbound.data.download import needed
from lowerbound.data.formats.text import read_smiles
from lowerbound.data.fragments import all_rows_of
from lowerbound.data.given import rows_under
from lowerbound.data.kinds.strings import texts_in
from lowerbound.data.overrides import Overrides
from lowerbound.data.smiles import read_molecules
from lowerbound.evaluate import aggregate_posterior, log_evidence, summary
from lowerbound.evaluate.molecules import TestMolecules, molecule_scores
from lowerbound.evaluate.several_rows import log_evidence_of_sums
from lowerbound.fitted import Fitted
from lowerbound.fitting.planning import plan
from lowerbound.fitting.preparing import prepare
from lowerbound.hooks import NamesLatents
from lowerbound.model import LatentVariableModel
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
    parser.add_argument("--compared", type=int, default=30_000, help="test molecules that samples are compared with")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--models", nargs="*", help="only these")
    parser.add_argument("--runs", type=Path, default=Path("runs/moses"))
    parser.add_argument("--out", type=Path, default=RESULTS / "moses.json")
    given = parser.parse_args()
    given.runs.mkdir(parents=True, exist_ok=True)
    train, test = spread(given, "train", given.molecules), spread(given, "test", given.test)
    real = TestMolecules(canonical(spread(given, "test", given.compared)))
    kept = json.loads(given.out.read_text())["models"] if given.out.exists() else {}
    options = {name: value for name, value in vars(given).items() if name not in ("out", "runs", "models")}
    results: dict[str, Any] = {"protocol": __doc__, "options": options, "models": kept}
    some = canonical(spread(given, "train", given.samples))
    results["training_molecules"] = molecule_scores(some, (), real)
    for name, settings in variants(given).items():
        if given.models and name not in given.models:
            continue
        begun = time.process_time()
        model = fitted(given.runs / name.replace(" ", "-"), train, settings, kind_of(name))
        spent = time.process_time() - begun
        results["models"][name] = {**scores(model, train, test, real, given), "cpu_seconds_of_fit": spent}
        print(name, results["models"][name], flush=True)
        given.out.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n")


def spread(given: argparse.Namespace, part: str, count: int) -> Path:
    """Molecules at equal distances in a part, as a file."""
    path = given.runs / f"{part}-{count}.smi"
    if not path.exists():
        path.write_text("\n".join(molecules_of_part(part, count)) + "\n")
    return path


def molecules_of_part(part: str, count: int | None) -> list[str]:
    """SMILES at equal distances in a part of MOSES, or all of them, as they are published."""
    lines = read_smiles(needed(f"moses_zinc_{part}.smi.txt.gz"), None).x
    return lines.tolist() if count is None else lines[:: max(1, len(lines) // count)][:count].tolist()


def canonical(path: Path) -> list[str]:
    """The canonical SMILES of the lines of a file."""
    return [one for one in read_molecules(path.read_text().split()).smiles if one]


def variants(given: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """The settings of every model by its name."""
    training = {"steps": given.steps, "seed": given.seed}
    net = {"embedding_dim": given.embedding_dim, "width": given.width}
    warm = f"beta-elbo:beta=1.0,rate=kl,warmup={max(1, given.steps // 3)}"
    model = {**training, **net, "latent_dim": given.latent_dim}
    fragments = {**model, "recipe": "molecule-vae"}
    little = {"objective": "beta-elbo:beta=0.01,rate=kl", "latent_dim": 64, "dropout": 0.0}
    free, hidden = {"objective": "free-bits:nats=4.0,per=group"}, {"word_dropout": 0.3}
    return {
        "warm-up": {**fragments, "objective": warm},
        "free bits": {**fragments, **free},
        "fragments alone": {**training, **net, "recipe": "language-model"},
        "characters": {**model, "recipe": "sentence-vae", "objective": warm},
        "characters alone": {**training, **net, "recipe": "language-model"},
        "selfies": {**model, "recipe": "sentence-vae", "objective": warm},
        "selfies alone": {**training, **net, "recipe": "language-model"},
        "plain": {**fragments, "objective": "elbo:rate=kl"},
        "free bits 2": {**fragments, "objective": "free-bits:nats=2.0,per=group"},
        "free bits 8": {**fragments, "objective": "free-bits:nats=8.0,per=group"},
        "word dropout": {**fragments, **hidden, "objective": warm},
        "free bits, word dropout": {**fragments, **free, **hidden},
        "aggressive": {**fragments, "objective": "elbo:rate=kl", "loss": "aggressive:num_encoder_steps=10"},
        "bag of words": {**fragments, **free, "encoder": "bag-of-words"},
        "short sight": {**fragments, **free, "decoder": "convolution", "layers": 1},
        "atoms": {**fragments, "encoder": "message-passing"},
        "rings": {**fragments},
        "tree and graph": {**fragments, "latent_dim": given.latent_dim // 2, "graph_latent_dim": given.latent_dim // 2},
        "free bits 20": {**fragments, "objective": "free-bits:nats=20.0,per=group"},
        "little rate": {**fragments, **little},
        "little rate, counts": {
            **fragments,
            **little,
            "encoder": "bag-of-words",
            "batch_size": 32,
            "steps": 4 * given.steps,
        },
    }


def kind_of(name: str) -> str:
    """How the lines of molecules are read for a model."""
    words = name.split()[0]
    kinds = {"characters": "text:tokens=character", "selfies": "text:tokens=selfies", "rings": "molecules:rings=true"}
    return kinds.get(words, "molecules")


def fitted(path: Path, molecules: Path, settings: dict[str, Any], kind: str) -> Fitted:
    """The fitted model of a folder: begun, resumed, or as it is."""
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


def scores(
    fitted: Fitted, train: Path, test: Path, compared: TestMolecules, given: argparse.Namespace
) -> dict[str, Any]:
    """L_K, rate, reconstruction, and the scores of samples."""
    rows = rows_under(test, fitted.schema)
    x, model = fitted.events(rows.x), fitted.model
    alone = model.prior(None).event_shape.numel() == 0
    found = log_evidence(model, x, num_samples=1 if alone else given.evidence_samples, seed=given.seed)
    parts = summary(model, x, num_samples=1 if alone else 16, seed=given.seed)
    told = {} if alone else what_z_tells(fitted, x, given.seed)
    real, known = canonical(test), set(canonical(train))
    begun = time.process_time()
    samples = texts_in(fitted.sample(given.samples, seed=given.seed))
    spent = time.process_time() - begun
    return {
        "log_evidence": found.mean,
        "standard_error": found.standard_error_of_mean,
        **summed(fitted, x, 1 if alone else given.evidence_samples, given.seed),
        "elbo": found.mean_elbo,
        "rate": parts.rate,
        **rates_of_parts(model, parts.rate_per_dimension),
        "distortion": parts.distortion,
        "active_units": parts.active_units,
        **told,
        "outside": 1 - len(x) / len(real),
        "num_test": len(real),
        "num_train": len(known),
        "samples_per_cpu_minute": 60 * len(samples) / spent,
        "notes": list(rows.notes),
        **molecule_scores(samples, known, compared),
    }


def rates_of_parts(model: LatentVariableModel, kl: torch.Tensor | None) -> dict[str, float]:
    """The rates of the tree and of the graph, where there are both."""
    parts = model.likelihood.latent_parts() if isinstance(model.likelihood, NamesLatents) else {}
    split = [] if kl is None or not parts else kl.split(list(parts.values()))
    return {f"rate_{name}": part.sum().item() for name, part in zip(parts, split, strict=True)}


def summed(fitted: Fitted, x: torch.Tensor, num_samples: int, seed: int) -> dict[str, float]:
    """L_K summed over derivations that differ by symmetry alone; nothing for a model of characters or SELFIES."""
    schema = fitted.schema.molecules
    if schema is None:
        return {}
    rows = [torch.from_numpy(all_rows_of(one, schema, x.shape[1])).to(x) for one in texts_in(fitted.render(x))]
    found = log_evidence_of_sums(fitted.model, rows, num_samples=num_samples, seed=seed)
    return {"log_evidence_summed": found.mean().item(), "derivations": sum(map(len, rows)) / len(rows)}


def what_z_tells(fitted: Fitted, x: torch.Tensor, seed: int) -> dict[str, float]:
    """I(x; z), and how molecules compare with what is written at one z ~ q(z | x)."""
    information = aggregate_posterior(fitted.model, x, seed=seed).mutual_information.mean
    with forked(torch.device("cpu"), seed):
        made = fitted.model.reconstruct(x)
    seen, again = texts_in(fitted.render(x)), texts_in(fitted.render(made))
    return {
        "mutual_information": float(information),
        "reconstruction": (made == x).all(1).double().mean().item(),
        "similarity": similarity(seen, again),
        "similarity_to_another": similarity(seen[1:] + seen[:1], again),
    }


def similarity(these: list[str], those: list[str]) -> float:
    """The mean Tanimoto similarity of pairs, Morgan fingerprints of radius 2; 0 where one is no molecule."""
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=1024)
    pairs = [[Chem.MolFromSmiles(one) for one in pair] for pair in zip(these, those, strict=True)]
    return statistics.fmean(
        0.0 if None in pair else TanimotoSimilarity(*map(generator.GetFingerprint, pair)) for pair in pairs
    )


if __name__ == "__main__":
    main()
