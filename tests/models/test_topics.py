"""Topic models against scikit-learn's bound, sums over every assignment of words to topics, and planted topics."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import gammaln
from sklearn.decomposition import LatentDirichletAllocation
from torch import Tensor

from lowerbound.evaluate import describe_topics, log_evidence
from lowerbound.model import LatentVariableModel
from lowerbound.models.topic_inference import TopicFit, fit_topics
from lowerbound.models.topics import lda, prodlda, start_lda, start_prodlda


def planted(texts: int = 150, words_of_each: int = 60) -> Tensor:
    """Texts of three topics, of five words of their own each and one that all have."""
    g = np.random.default_rng(0)
    topics = np.full((3, 16), 0.004)
    for k in range(3):
        topics[k, 5 * k : 5 * k + 5] = 0.17
    topics[:, 15] = 1 - topics[:, :15].sum(1)
    shares = g.dirichlet([0.2] * 3, texts)
    return torch.as_tensor(np.stack([g.multinomial(words_of_each, row @ topics) for row in shares])).double()


def test_the_bound_is_that_of_scikit_learn() -> None:
    x = planted()
    theirs = LatentDirichletAllocation(3, doc_topic_prior=0.3, topic_word_prior=0.2, max_iter=5, random_state=0)
    theirs.fit(x[:100].numpy())
    ours = TopicFit(torch.as_tensor(theirs.components_), concentration=0.3, smoothing=0.2)
    assert ours.bound(x) == pytest.approx(theirs.score(x.numpy()), rel=1e-5)


def dirichlet_multinomial(counts: np.ndarray, prior: float) -> float:
    """log p of words one after another under Dir(prior) that is integrated out."""
    n, size = counts.sum(), len(counts)
    ends = gammaln(size * prior) - gammaln(n + size * prior)
    return float(ends + (gammaln(counts + prior) - gammaln(prior)).sum())


def words_of(x: Tensor) -> list[list[int]]:
    return [[w for w, n in enumerate(row.long().tolist()) for _ in range(n)] for row in x]


def test_the_bound_is_below_the_sum_over_every_assignment_of_words_to_topics() -> None:
    x = torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, 2.0]]).double()
    texts, alpha, eta = words_of(x), 0.4, 0.5
    terms = []
    for z in itertools.product(range(2), repeat=6):
        of_text, of_topic = np.zeros((2, 2)), np.zeros((2, 3))
        for (d, w), k in zip([(d, w) for d, words in enumerate(texts) for w in words], z, strict=True):
            of_text[d, k] += 1
            of_topic[k, w] += 1
        terms.append(
            sum(dirichlet_multinomial(row, alpha) for row in of_text)
            + sum(dirichlet_multinomial(row, eta) for row in of_topic)
        )
    exact = float(np.logaddexp.reduce(terms))
    torch.manual_seed(0)
    fits = [fit_topics(x, 2, concentration=alpha, smoothing=eta, passes=n) for n in (1, 100)]
    first, last = (fit.bound(x) for fit in fits)
    assert first < last < exact
    assert last > exact - 2.5  # the factorisation, with two words of each topic


def test_p_of_lda_is_the_sum_over_every_assignment() -> None:
    model: Any = lda((4,), topics=3, concentration=0.6).double()
    torch.manual_seed(1)
    model.likelihood.net.log_weight.data = torch.randn(3, 4).double()
    x = torch.tensor([[2.0, 1.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0]]).double()
    beta = model.likelihood.net.topics().detach().numpy()
    terms = []
    for z in itertools.product(range(3), repeat=4):
        emitted = sum(np.log(beta[k, w]) for k, w in zip(z, words_of(x)[0], strict=True))
        terms.append(emitted + dirichlet_multinomial(np.bincount(z, minlength=3), 0.6))
    exact = torch.tensor([np.logaddexp.reduce(terms), 0.0]).double()
    under_p = log_evidence(
        LatentVariableModel(prior=model.prior, likelihood=model.likelihood, posterior=Ignoring(model)), x
    )
    error = under_p.standard_error[0].item()
    assert error < 0.04
    assert under_p.log_evidence[0].item() == pytest.approx(exact[0].item(), abs=5 * error)
    assert under_p.log_evidence[1] == 0
    found = log_evidence(model, x)
    assert exact[0] - 1 < found.elbo[0] < exact[0] - 0.02
    assert found.elbo[1] == pytest.approx(0, abs=1e-9)  # q is the prior


class Ignoring(torch.nn.Module):
    """q(θ | x) = p(θ), whose weights are p(x | θ)."""

    def __init__(self, model: Any):
        super().__init__()
        self.prior = model.prior

    def forward(self, x: Tensor) -> torch.distributions.Distribution:
        return self.prior(None).expand((len(x),))


@pytest.mark.parametrize("make, start", [(lda, start_lda), (prodlda, start_prodlda)])
def test_planted_topics_are_recovered(make: Any, start: Any) -> None:
    x = planted()
    torch.manual_seed(0)
    model = make((16,), topics=3)
    model.initialize(x.float())
    said = start(model, x.float())
    assert (said is None) == (make is prodlda)
    topics = model.likelihood.net.topics().detach()
    shared = topics[:, :15].unflatten(1, (3, 5)).sum(-1)  # how much of each topic is of each planted one
    assert sorted(shared.argmax(1).tolist()) == [0, 1, 2]
    assert shared.max(1).values.min() > 0.7
    drawn = model.sample(50)
    assert drawn.shape == (50, 16)
    assert (drawn.sum(1) == 60).all()


def test_a_text_of_one_topic_has_its_share() -> None:
    x = planted().float()
    torch.manual_seed(0)
    model: Any = lda((16,), topics=3)
    start_lda(model, x)
    text = torch.zeros(1, 16)
    text[0, 5:10] = 10
    share = model.infer(text).mean[0]
    assert share.max() > 0.95
    torch.testing.assert_close(model.infer(torch.zeros(1, 16)).mean, torch.full((1, 3), 1 / 3))  # the prior


def test_coherence_counts_texts_with_both_words() -> None:
    x = torch.tensor([[1, 1, 0, 1], [2, 1, 0, 0], [1, 0, 3, 0], [0, 0, 1, 0]])
    topics = torch.tensor([[0.4, 0.3, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4]])
    first, second = describe_topics(topics, x, ["a", "b", "c", "d"], num_words=2)
    assert (first.words, second.words) == (("a", "b"), ("d", "c"))
    assert first.coherence == pytest.approx(np.log(0.5 / (0.75 * 0.5)) / -np.log(0.5))
    assert second.coherence == -1
    assert first.probabilities == pytest.approx((0.4, 0.3))
    with pytest.raises(ValueError, match="a name for each word"):
        describe_topics(topics, x, ["a", "b"])


@pytest.mark.parametrize(
    "make, shape, options, words",
    [
        (lda, (4, 4), {}, "one count for each word"),
        (prodlda, (4,), {"topics": 1}, "needs at least 2"),
        (lda, (4,), {"concentration": 0.0}, "give finite numbers above 0"),
        (prodlda, (4,), {"concentration": 0.0}, "needs a finite number, 1e-06 or more"),
        (prodlda, (4,), {"dropout": 1.0}, "a fraction from 0 to below 1"),
    ],
)
def test_what_is_no_topic_model_is_refused(make: Any, shape: Any, options: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make(shape, **options)
