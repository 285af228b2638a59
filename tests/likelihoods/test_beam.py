"""Beam search against the argmax of all texts, against the greedy choice, and within the grammar of molecules."""

import itertools

import pytest
import torch

from lowerbound.decoding import beam_of, choice_of
from lowerbound.likelihoods import Tokens
from lowerbound.likelihoods.beam import beam_search
from lowerbound.nets import MLP
from lowerbound.nets.texts import END

K, T = 4, 5
ALPHABET = (2, 3)  # the known symbols; 1 is unknown


def likelihood(network, context=True):
    made = Tokens(MLP(2, [], 3) if context else None, T, K, network=network, embedding_dim=4, width=8, layers=2)
    with torch.no_grad():
        made.causal.embedding.mul_(20)
        made.causal.bias.add_(torch.tensor([-1.5, 3.0, 0.0, 0.2]))  # so that the unknown symbol is likely
    return made.double().eval()


def every_text():
    texts = [text for n in range(T) for text in itertools.product(ALPHABET, repeat=n)]
    return torch.tensor([[*text, *[END] * (T - len(text))] for text in texts], dtype=torch.float64)


@pytest.mark.parametrize("network", ["lstm", "transformer", "convolution"])
def test_a_beam_of_all_texts_is_the_argmax_and_one_of_one_is_greedy(network):
    torch.manual_seed(3)
    p = likelihood(network)(2 * torch.randn(3, 4, 2, dtype=torch.float64))
    x = every_text()
    best = x[p.log_prob(x[:, None, None]).argmax(0)]
    assert best.ne(best[0, 0]).any()  # z matters
    found = beam_search(p, len(x))
    assert torch.equal(found, best)
    assert torch.equal(beam_search(p, 1), p.greedy())
    few = p.log_prob(beam_search(p, 2))
    assert (few <= p.log_prob(best) + 1e-12).all()
    assert (few >= p.log_prob(p.greedy()) - 1e-12).all()  # here; not always
    assert not (found == 1).any()


def test_without_a_context_there_is_one_text():
    p = likelihood("lstm", context=False)(None)
    x = every_text()
    assert torch.equal(beam_search(p, len(x)), x[p.log_prob(x).argmax()])


def test_every_text_is_one_of_the_grammar():
    points = "a0-+a0-1+a0-11+a1-+a1-1+a1-11"
    made = Tokens(MLP(2, [], 3), 6, 2 + 2 + 6, points=points, embedding_dim=4, width=8).double().eval()
    with torch.no_grad():
        made.causal.embedding.mul_(20)
    p = made(3 * torch.randn(20, 2, dtype=torch.float64))
    for width in (1, 3, 50):
        assert p.log_prob(beam_search(p, width)).isfinite().all()
    assert torch.equal(beam_search(p, 1), p.greedy())
    assert (p.log_prob(beam_search(p, 5000)) >= p.log_prob(p.sample((300,))).amax(0)).all()


@pytest.mark.parametrize("words", ["beam=0", "beam=-1", "beam=1001", "beam=2.5", "beam", "beam="])
def test_refusals(words):
    assert beam_of(words) is None
    with pytest.raises(ValueError, match="beam=N with N from 1 to 1,000"):
        choice_of(words)
