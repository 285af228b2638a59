"""Sentences of the Penn Treebank: a language model, and the same net with a latent, with remedies against its disuse.

    language model            Π_t p(x_t | x_<t)              log p(x) exact
    plain                     p(z) Π_t p(x_t | x_<t, z)      the ELBO from the first step
    warm-up                   the weight of the rate rises from 0 to 1 over a third of the steps
    cyclical                  the same in three cycles (Fu et al. 2019, arXiv:1903.10145)
    free bits                 4 nats of the whole rate free of cost (Kingma et al. 2016)
    word dropout              0.3 of the tokens hidden from later ones, with a warm-up (Bowman et al. 2016)
    free bits, word dropout   both
    bag of words              free bits, and an encoder that does not see the order of the words
    convolution               free bits, and a decoder that sees the last 15 tokens (Yang et al. 2017)

The first sentences of the training part are fitted; words that occur once in them are unknown, so that figures of
different sizes are those of different vocabularies. A tenth of the rows chooses the weights. Scored are the first
sentences of the published test part, whose words outside the vocabulary are unknown: L_K of K importance samples, nats
a sentence with its end; I(x; z) of the scored sentences; perplexity exp(−L_K / tokens), the ends counted. The language
model has no z: its L_K is log p(x). Each model is a run folder, which is resumed where it stopped.

python papers/penn_treebank.py --sentences 42068 --steps 6000
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

from lowerbound.data import read_file
from lowerbound.data.download import needed
from lowerbound.data.formats.text import read_text
from lowerbound.data.given import rows_under
from lowerbound.evaluate import aggregate_posterior, log_evidence, summary
from lowerbound.evaluate.unigram import unigram
from lowerbound.fitted import Fitted
from lowerbound.fitting.planning import plan
from lowerbound.fitting.preparing import prepare
from lowerbound.likelihoods.tokens import num_tokens
from lowerbound.runs import Run

RESULTS = Path(__file__).parent / "results"
FREE, WARM = "free-bits:nats=4.0,per=group", "beta-elbo:beta=1.0,rate=kl"


def main() -> None:
    """Read the options; fit, score and save one model after another."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sentences", type=int, default=42_068)
    parser.add_argument("--test", type=int, default=3761)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--latent-dim", type=int, default=32)
    parser.add_argument("--embedding-dim", type=int, default=128)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--evidence-samples", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--models", nargs="*", help="only these")
    parser.add_argument("--runs", type=Path, default=Path("runs/penn_treebank"))
    parser.add_argument("--out", type=Path, default=RESULTS / "penn_treebank.json")
    given = parser.parse_args()
    given.runs.mkdir(parents=True, exist_ok=True)
    sentences, test = first(given, "train", given.sentences), first(given, "test", given.test)
    kept = json.loads(given.out.read_text())["models"] if given.out.exists() else {}
    options = {name: value for name, value in vars(given).items() if name not in ("out", "runs", "models")}
    results: dict[str, Any] = {"protocol": __doc__, "options": options, "models": kept}
    for name, settings in variants(given).items():
        if given.models and name not in given.models:
            continue
        begun = time.process_time()
        model = fitted(given.runs / name.replace(", ", "_").replace(" ", "-"), sentences, settings)
        results["models"][name] = scores(model, test, given) | {"cpu_seconds": time.process_time() - begun}
        print(name, results["models"][name], flush=True)
        given.out.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n")


def first(given: argparse.Namespace, part: str, count: int) -> Path:
    """The first sentences of a part, as a file."""
    path = given.runs / f"{part}-{count}.txt"
    if not path.exists():
        source = needed(f"ptb.{part}.txt.gz")
        texts = read_text(source, None).x[:count].tolist()
        path.write_text("\n".join(texts) + "\n")
    return path


def variants(given: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """The settings of every model by its name."""
    sizes = {"embedding_dim": given.embedding_dim, "width": given.width, "dropout": 0.3, "word_dropout": 0.0}
    training = {
        "steps": given.steps,
        "batch_size": 64,
        "lr": 3e-3,
        "clip_norm": 5.0,
        "seed": given.seed,
        "lr_schedule": "cosine",
    }
    model = {**sizes, **training, "recipe": "sentence-vae", "latent_dim": given.latent_dim, "encoder": "lstm"}
    third = max(1, given.steps // 3)
    warm = f"{WARM},warmup={third}"
    return {
        "language model": {**sizes, **training, "recipe": "language-model", "objective": "elbo"},
        "plain": {**model, "objective": "elbo:rate=kl"},
        "warm-up": {**model, "objective": warm},
        "cyclical": {**model, "objective": f"{WARM},warmup={max(1, third // 2)},anneal=cyclical"},
        "free bits": {**model, "objective": FREE},
        "word dropout": {**model, "objective": warm, "word_dropout": 0.3},
        "free bits, word dropout": {**model, "objective": FREE, "word_dropout": 0.3},
        "bag of words": {**model, "objective": FREE, "encoder": "bag-of-words"},
        "convolution": {**model, "objective": FREE, "decoder": "convolution", "layers": 3},
    }


def fitted(path: Path, sentences: Path, settings: dict[str, Any]) -> Fitted:
    """The fitted model of a folder: begun, resumed, or as it is."""
    dataset = read_file(sentences)
    planned = plan(dataset, **settings)
    run = Run.open(path) if (path / "run.json").exists() else None
    if run is None:
        run = Run.create(path, planned, {"path": str(sentences)}, dataset)
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


def scores(fitted: Fitted, test: Path, given: argparse.Namespace) -> dict[str, Any]:
    """L_K, rate, I(x; z) and perplexity, and those of a unigram model."""
    rows = rows_under(test, fitted.schema)
    x, model = fitted.events(rows.x), fitted.model
    tokens = int(num_tokens(x).sum())
    alone = model.prior(None).event_shape.numel() == 0
    found = log_evidence(model, x, num_samples=1 if alone else given.evidence_samples, seed=given.seed)
    parts = summary(model, x, num_samples=1 if alone else 16, seed=given.seed)
    information = 0.0 if alone else aggregate_posterior(model, x, seed=given.seed).mutual_information.mean
    best = max(r["held_out"]["bound"] for r in fitted.records if r.get("held_out"))
    return {
        "log_evidence": found.mean,
        "standard_error": found.standard_error_of_mean,
        "elbo": found.mean_elbo,
        "rate": parts.rate,
        "mutual_information": float(information),
        "active_units": parts.active_units,
        "perplexity": math.exp(-found.log_evidence.double().sum().item() / tokens),
        "num_sentences": len(x),
        "num_tokens": tokens,
        "num_symbols": len(fitted.schema.text.symbols),  # type: ignore[union-attr]
        "notes": list(rows.notes),
        "held_out": best,
        "unigram": unigram(fitted.events(fitted.dataset.x_train), x).mean().item(),
    }


if __name__ == "__main__":
    main()
