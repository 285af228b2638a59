"""Sentences of the Penn Treebank: a language model, and the same net with a latent, with remedies against its disuse.

    language model            Π_t p(x_t | x_<t)              log p(x) exact
    plain                     p(z) Π_t p(x_t | x_<t, z)      the ELBO from the first step
    free bits                 4 nats of the whole rate free of cost (Kingma et al. 2016)
    two free nats             the same with 2
    cyclical                  the weight of the rate rises from 0 to 1 in three cycles (Fu et al. 2019)
    convolution               free bits, and a decoder that sees the last 15 tokens (Yang et al. 2017)
    warm-up                   the weight of the rate rises once, over a third of the steps
    bag of words              free bits, and an encoder that does not see the order of the words
    free bits, word dropout   free bits, and 0.3 of the tokens hidden from later ones (Bowman et al. 2016)
    first state               free bits, and z in the first state alone: no skip connections past and beside the net
    aggressive                five steps of the encoder for one of the decoder, while I(x; z) rises (He et al. 2019)
    word dropout              0.3 of the tokens hidden, with a warm-up

The words are those of the published files, with the unknown ones as these have them: 9,998 and <unk>, and the end is a
token (`--sentences` below all takes words that occur once for unknown ones, so that figures of different sizes are
those of different vocabularies). All training sentences are trained on, and the published validation part chooses the
weights. Scored is the published test part: −ELBO, rate and units on all of it, and L_K of K importance samples on every
twelfth sentence, beside the language model's exact log p(x) of the same sentences, with the standard error of the
difference. All is in nats a sentence with its end; a perplexity is exp(−L / tokens), the ends counted. I(x; z) is that
of the test part. Products of training are computed in `--precision`, scores in float32. Each model is a run folder,
which is resumed where it stopped, and the results are saved after each.

python papers/penn_treebank.py
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lowerbound.data import Dataset
from lowerbound.data.download import needed
from lowerbound.data.formats.text import read_text
from lowerbound.data.given import rows_under
from lowerbound.data.source import InMemory, OnData
from lowerbound.evaluate import aggregate_posterior, log_evidence, summary
from lowerbound.evaluate.unigram import unigram
from lowerbound.fitted import Fitted
from lowerbound.fitting.planning import plan
from lowerbound.fitting.preparing import prepare
from lowerbound.likelihoods.tokens import num_tokens
from lowerbound.runs import Run

RESULTS = Path(__file__).parent / "results"
_ALL = 42_068
FREE, WARM = "free-bits:nats=4.0,per=group", "beta-elbo:beta=1.0,rate=kl"


def main() -> None:
    """Read the options; fit, score and save one model after another."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sentences", type=int, default=_ALL)
    parser.add_argument("--steps", type=int, default=7000)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--latent-dim", type=int, default=32)
    parser.add_argument("--embedding-dim", type=int, default=128)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--dropout", type=float, default=0.3)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--evidence-samples", type=int, default=500)
    parser.add_argument("--one-in", type=int, default=12, help="test sentences of which one has importance samples")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--models", nargs="*", help="only these")
    parser.add_argument("--runs", type=Path, default=Path("runs/penn_treebank"))
    parser.add_argument("--out", type=Path, default=RESULTS / "penn_treebank.json")
    given = parser.parse_args()
    train, valid, test = texts("train")[: given.sentences], texts("valid"), texts("test")
    dataset = Dataset.from_arrays(
        name="penn treebank",
        kind="text:vocabulary=9998" if given.sentences >= _ALL else "text",
        x_train=train,
        x_test=valid,
        source="ptb.train.txt.gz and ptb.valid.txt.gz",
    )
    kept = json.loads(given.out.read_text())["models"] if given.out.exists() else {}
    options = {name: value for name, value in vars(given).items() if name not in ("out", "runs", "models")}
    results: dict[str, Any] = {"protocol": __doc__, "options": options, "models": kept}
    for name, settings in variants(given).items():
        if name in kept or (given.models and name not in given.models):
            continue
        begun = time.process_time()
        model = fitted(given.runs / name.replace(", ", "_").replace(" ", "-"), dataset, settings)
        of_fit = time.process_time() - begun
        found = scores(model, dataset, test, given) | {"cpu_seconds_of_fit": of_fit}
        results["models"][name] = found | {"cpu_seconds_of_scores": time.process_time() - begun - of_fit}
        print(name, {k: v for k, v in results["models"][name].items() if k != "log_p_of_sentences"}, flush=True)
        compare(results["models"])
        given.out.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n")


def texts(part: str) -> np.ndarray:
    """The sentences of a part."""
    return np.asarray(read_text(needed(f"ptb.{part}.txt.gz"), None).x)


def variants(given: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """The settings of every model by its name."""
    sizes = {"embedding_dim": given.embedding_dim, "width": given.width, "dropout": given.dropout, "word_dropout": 0.0}
    training = {
        "steps": given.steps,
        "batch_size": given.batch_size,
        "lr": 6e-3,
        "clip_norm": 5.0,
        "seed": given.seed,
        "lr_schedule": "cosine",
        "precision": given.precision,
    }
    model = {**sizes, **training, "recipe": "sentence-vae", "latent_dim": given.latent_dim, "encoder": "lstm"}
    third = max(1, given.steps // 3)
    warm = f"{WARM},warmup={third}"
    return {
        "language model": {**sizes, **training, "recipe": "language-model", "objective": "elbo"},
        "plain": {**model, "objective": "elbo:rate=kl"},
        "free bits": {**model, "objective": FREE},
        "cyclical": {**model, "objective": f"{WARM},warmup={max(1, third // 2)},anneal=cyclical"},
        "convolution": {**model, "objective": FREE, "decoder": "convolution", "layers": 3},
        "warm-up": {**model, "objective": warm},
        "bag of words": {**model, "objective": FREE, "encoder": "bag-of-words"},
        "free bits, word dropout": {**model, "objective": FREE, "word_dropout": 0.3},
        "first state": {**model, "objective": FREE, "context_at": "first-state"},
        "aggressive": {**model, "objective": "elbo:rate=kl", "loss": "aggressive:num_encoder_steps=5"},
        "word dropout": {**model, "objective": warm, "word_dropout": 0.3},
        "two free nats": {**model, "objective": "free-bits:nats=2.0,per=group"},
    }


def fitted(path: Path, dataset: Dataset, settings: dict[str, Any]) -> Fitted:
    """The fitted model of a folder: begun, resumed, or as it is."""
    planned = plan(dataset, **settings)
    run = Run.open(path) if (path / "run.json").exists() else None
    if run is None:
        run = Run.create(path, planned, {"source": dataset.source}, dataset)
    elif run.plan.replace(given={}, reasons={}) != planned.replace(given={}, reasons={}):
        raise SystemExit(f"{path} holds a run with other settings; remove it, or name another folder by --runs.")
    if run.finished:
        return run.fitted(dataset=dataset)
    engine = planned.engine()
    training = prepare(dataset, planned, engine)
    rows = [
        InMemory(torch.from_numpy(np.array(x)), OnData(training.transform)) for x in (dataset.x_train, dataset.x_test)
    ]
    training = replace(training, source=rows[0], held_out=rows[1], numbers=None)
    for record in run.fit(training, engine):
        if record.held_out is not None:
            print(f"{path.name}: pass {record.epoch:.1f}, held out {record.held_out['bound']:.2f}", flush=True)
    return run.fitted(model=training.loss.model, transform=training.transform, dataset=dataset)


def scores(fitted: Fitted, dataset: Dataset, test: np.ndarray, given: argparse.Namespace) -> dict[str, Any]:
    """The ELBO and its parts of all test sentences, L_K of some, I(x; z), and a unigram model's score."""
    rows = rows_under(list(test), fitted.schema)
    x, model = fitted.events(rows.x), fitted.model
    some = x[:: given.one_in]
    alone = model.prior(None).event_shape.numel() == 0
    parts = summary(model, x, num_samples=1 if alone else 4, seed=given.seed)
    found = log_evidence(
        model, x if alone else some, num_samples=1 if alone else given.evidence_samples, seed=given.seed
    )
    of_some = found.log_evidence[:: given.one_in] if alone else found.log_evidence
    information = 0.0 if alone else aggregate_posterior(model, x, seed=given.seed).mutual_information.mean
    return {
        "elbo": found.mean if alone else parts.elbo,
        "rate": parts.rate,
        "mutual_information": float(information),
        "active_units": parts.active_units,
        "log_evidence": of_some.mean().item(),
        "perplexity": perplexity(of_some, some),
        "perplexity_of_all": perplexity(found.log_evidence, x) if alone else None,
        "num_sentences": [len(x), len(some)],
        "num_tokens": [int(num_tokens(x).sum()), int(num_tokens(some).sum())],
        "num_symbols": len(fitted.schema.text.symbols),  # type: ignore[union-attr]
        "notes": list(rows.notes),
        "held_out": max(r["held_out"]["bound"] for r in fitted.records if r.get("held_out")),
        "unigram": unigram(fitted.events(dataset.x_train), x).mean().item(),
        "log_p_of_sentences": [round(value, 4) for value in of_some.tolist()],
    }


def perplexity(log_p: Tensor, x: Tensor) -> float:
    """exp(−Σ log p / tokens)."""
    return math.exp(-log_p.double().sum().item() / int(num_tokens(x).sum()))


def compare(models: dict[str, dict[str, Any]]) -> None:
    """Give each model the mean of its L_K less the language model's, and the standard error of that."""
    if "language model" not in models:
        return
    base = torch.tensor(models["language model"]["log_p_of_sentences"])
    for of_model in models.values():
        change = torch.tensor(of_model["log_p_of_sentences"]) - base
        of_model["less_language_model"] = [change.mean().item(), (change.std() / len(change) ** 0.5).item()]


if __name__ == "__main__":
    main()
