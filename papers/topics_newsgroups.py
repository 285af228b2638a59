"""Topics of 20 Newsgroups: `lda` and `prodlda` beside scikit-learn's latent Dirichlet allocation.

The data are `newsgroups20_bow2000.npz`, 11,268 training and 7,505 test texts (split by date), each as the counts of
2,000 words. Both LDAs have K = 20, α = η = 1/K, steps (10 + t)^−0.7 of batches of 256 and as many passes; `prodlda`
has the settings of its recipe. scikit-learn takes its batches in the order of the rows, which are sorted by group in
the file; it gets them shuffled. One seed. Measured on all test texts:

    perplexity of the bound    exp(−bound / words): the bound of scikit-learn's `perplexity`, whose topics are latent
    perplexity                 exp(−L_S / words), under the mean topics, θ integrated out by importance sampling
    coherence                  NPMI of the ten first words of each topic, in training texts and in test texts

python papers/topics_newsgroups.py
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.sparse import csr_matrix
from sklearn.decomposition import LatentDirichletAllocation
from torch import Tensor

import lowerbound as lb
from lowerbound.data.download import needed
from lowerbound.evaluate import describe_topics, independent_elements, log_evidence
from lowerbound.likelihoods import BagOfWords
from lowerbound.models.topic_inference import TopicFit
from lowerbound.models.topics import TopicProduct, lda

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Read the options; fit, score and save after each model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--topics", type=int, default=20)
    parser.add_argument("--passes", type=int, default=10)
    parser.add_argument("--steps", type=int, default=2000, help="of prodlda")
    parser.add_argument("--samples", type=int, default=20, help="S")
    parser.add_argument("--every", type=int, default=1, help="take every n-th text")
    parser.add_argument("--out", type=Path, default=RESULTS / "topics_newsgroups.json")
    given = parser.parse_args()
    train, test, words = newsgroups(given.every)
    settings = {key: value for key, value in vars(given).items() if key != "out"}
    results: dict[str, Any] = {"protocol": __doc__, "settings": settings, "models": {}}
    x, y = (torch.as_tensor(part.to_numpy(), dtype=torch.float32) for part in (train, test))

    def keep(name: str, seconds: float, model: Any, bound: float | None = None) -> None:
        results["models"][name] = {"seconds": seconds, **_scores(model, x, y, words, given.samples), "bound": bound}
        print(name, {k: v for k, v in results["models"][name].items() if k != "topics"}, flush=True)
        given.out.write_text(json.dumps(results, indent=1))

    unigram = independent_elements(BagOfWords(TopicProduct(2, x.shape[1], 1.0)), x, y)
    results["unigram"] = float((-unigram.sum() / y.sum()).exp())
    started = time.process_time()
    fitted = lb.fit(train, f"lda:topics={given.topics},passes={given.passes}", hold_out=False)
    keep("lda", time.process_time() - started, fitted.model, _bound(fitted.model, y, given.topics))
    started = time.process_time()
    theirs = LatentDirichletAllocation(
        given.topics, learning_method="online", max_iter=given.passes, batch_size=256, random_state=0
    ).fit(x[torch.randperm(len(x), generator=torch.Generator().manual_seed(0))].numpy())
    model = lda((x.shape[1],), topics=given.topics)
    model.likelihood.net.log_weight.data = torch.as_tensor(theirs.components_).float().log()  # pyright: ignore
    keep("scikit-learn", time.process_time() - started, model.eval(), float(theirs.perplexity(y.numpy())))
    started = time.process_time()
    fitted = lb.fit(train, f"prodlda:topics={given.topics}", hold_out=False, steps=given.steps)
    keep("prodlda", time.process_time() - started, fitted.model)


def newsgroups(every: int) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Training and test texts, a column for each word."""
    with np.load(needed("newsgroups20_bow2000.npz"), allow_pickle=False) as a:
        words = [str(word) for word in a["vocab"]]
        parts = [
            csr_matrix((a[f"{p}_data"], a[f"{p}_indices"], a[f"{p}_indptr"]), shape=a[f"shape_{p}"]).toarray()[::every]
            for p in ("train", "test")
        ]
    vary = parts[0].min(0) < parts[0].max(0)  # of few texts, some words do not
    words = [word for word, kept in zip(words, vary, strict=True) if kept]
    train, test = (pd.DataFrame(part[:, vary].astype(np.int64), columns=words) for part in parts)
    return train, test, words


def _bound(model: Any, y: Tensor, topics: int) -> float:
    """exp(−bound / words) of test texts."""
    weight = model.likelihood.net.log_weight.detach().exp()
    return float(np.exp(-TopicFit(weight, 1 / topics, 1 / topics).bound(y) / float(y.sum())))


def _scores(model: Any, x: Tensor, y: Tensor, words: list[str], samples: int) -> dict[str, Any]:
    found = log_evidence(model, y, num_samples=samples)
    with torch.no_grad():
        topics = model.likelihood.net.topics()
    in_train, in_test = describe_topics(topics, x, words), describe_topics(topics, y, words)
    return {
        "perplexity": float((-found.log_evidence.double().sum() / y.sum()).exp()),
        "perplexity of the ELBO": float((-found.elbo.double().sum() / y.sum()).exp()),
        "coherence in training texts": float(np.mean([topic.coherence for topic in in_train])),
        "coherence in test texts": float(np.mean([topic.coherence for topic in in_test])),
        "topics": [[round(topic.coherence, 3), *topic.words] for topic in in_test],
    }


if __name__ == "__main__":
    main()
