"""A softmax in two steps: one density, whichever way it is computed; float64."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from lowerbound.likelihoods import Tokens
from lowerbound.nets.adaptive_softmax import AdaptiveSoftmax
from lowerbound.nets.texts import is_text
from lowerbound.nets.token_net import make_token_net


@pytest.mark.parametrize("num_symbols", [3, 4, 37])
def test_it_sums_to_one_and_one_symbol_has_what_all_have(num_symbols):
    net = AdaptiveSoftmax(16, num_symbols).double()
    h = torch.randn(2, 50, 16, dtype=torch.float64)
    every = net(h)
    torch.testing.assert_close(every.exp().sum(-1), torch.ones(2, 50).double(), rtol=1e-12, atol=0)
    k = torch.arange(100) % num_symbols
    torch.testing.assert_close(net.of(h.flatten(0, 1), k), every.flatten(0, 1).gather(1, k[:, None])[:, 0])
    for one in range(num_symbols):  # alone in its group
        torch.testing.assert_close(net.of(h[0, :1], torch.tensor([one])), every[0, :1, one])


def test_it_starts_at_the_frequencies_of_symbols_and_of_groups():
    net = AdaptiveSoftmax(16, 37).double()
    log_p = torch.randn(37, dtype=torch.float64).log_softmax(0)
    net.start_at(log_p)
    first = net.layers.shortlist_size
    found = net(torch.zeros(16).double()[None])[0]
    torch.testing.assert_close(found[:first], log_p[:first])
    for a, b in zip(net.layers.cutoffs[:-1], net.layers.cutoffs[1:], strict=True):
        torch.testing.assert_close(found[a:b].logsumexp(0), log_p[a:b].logsumexp(0))


def test_texts_have_the_same_probability_while_training_and_after():
    made = Tokens(None, 6, 9, softmax="adaptive", embedding_dim=16, width=8).double()
    x = made.eval()(None).sample(torch.Size((40,)))
    with torch.no_grad():
        found = made(None).log_prob(x)
    torch.testing.assert_close(made.train()(None).log_prob(x).detach(), found, rtol=1e-12, atol=0)  # with gradients
    scores = made.causal(x)
    terms = -cross_entropy(scores.flatten(0, 1), x.long().flatten(), reduction="none").view_as(x)
    terms[:, -1] = 0
    torch.testing.assert_close((terms * is_text(x)).sum(1).detach(), found)


def test_its_weights_are_its_own():
    full, adaptive = (make_token_net(5, 37, embedding_dim=16, width=8, softmax=name) for name in ("full", "adaptive"))
    assert full.adaptive is None
    assert full.bias is not None
    assert adaptive.bias is None
    h, k = adaptive.features(torch.ones(1, 5).long(), None)[0], torch.tensor([36] * 5)
    (slope,) = torch.autograd.grad(adaptive.log_p(h.detach(), k).sum(), adaptive.embedding, allow_unused=True)
    assert slope is None
