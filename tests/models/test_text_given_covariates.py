"""Texts given a number: the planted length follows it, probabilities given it sum to one, and what is refused."""

import itertools
import math

import pytest
import torch

import lowerbound as lb
from lowerbound.data import InMemory
from lowerbound.evaluate import log_evidence
from lowerbound.likelihoods.tokens import num_tokens
from lowerbound.models.sentence_autoencoder import language_model, sentence_vae

K, T, WORDS = 4, 6, "tokens:num_symbols=4"
SIZES = {"likelihood": WORDS, "embedding_dim": 8, "width": 16, "covariate_sizes": [1, 2]}


def planted(num):
    """Texts of 1 to 4 words, and c: their length, standardised, and a class that says which of two words they repeat;
    log 1 nats given c.
    """
    length, word = torch.randint(1, 5, (num,)), torch.randint(2, (num,))
    x = torch.where(torch.arange(T) < length[:, None], 2 + word[:, None], 0).float()
    return x, torch.cat([(length[:, None] - 2.5), torch.nn.functional.one_hot(word, 2)], 1)


def trained(model):
    loss = lb.VariationalLoss(model, lb.objectives.ELBO(), lb.gradients.Pathwise())
    x, c = planted(2000)
    for _ in lb.train(loss, InMemory((x, c)), num_steps=100, batch_size=32, lr=3e-2, compile=False):
        pass
    return model.eval()


@pytest.fixture(scope="module", params=[sentence_vae, language_model])
def model(request):
    torch.manual_seed(0)
    sizes = SIZES | ({"latent_dim": 2} if request.param is sentence_vae else {})
    return trained(request.param((T,), dropout=0.0, **sizes))


def test_what_is_drawn_has_what_is_given(model):
    _, c = planted(400)
    x, _ = model.draw(400, c)
    assert (num_tokens(x) - 1 == c[:, 0] + 2.5).double().mean() > 0.97
    assert (x[:, 0] == 2 + c[:, 2]).double().mean() > 0.97


def test_the_bound_given_c_is_near_its_entropy(model):
    x, c = planted(200)
    assert log_evidence(model, x, num_samples=50, context=c).mean == pytest.approx(0.0, abs=0.1)
    alone = log_evidence(model, x, num_samples=50, context=c.flip(0)).mean
    assert alone < -math.log(8)  # what is given is read


def test_the_probabilities_of_all_texts_given_c_sum_to_one():
    model = language_model((4,), **SIZES).double().eval()
    p = model.decode(torch.zeros(1, 0).double(), torch.tensor([[0.7, 0.0, 1.0]]).double())
    texts = [row for n in range(4) for row in itertools.product(range(1, K), repeat=n)]
    rows = torch.tensor([[*row, *[0] * (4 - len(row))] for row in texts]).double()
    assert p.log_prob(rows[:, None]).exp().sum().item() == pytest.approx(1.0, abs=1e-9)


def test_q_reads_what_is_given():
    torch.manual_seed(1)
    model = sentence_vae((T,), latent_dim=2, **SIZES).eval()
    x, c = planted(3)
    means = [model.infer(x, given).mean for given in (c, c + 1)]
    assert not torch.allclose(*means)
    together, apart = model.infer(x, c).mean, [model.infer(x[i : i + 1], c[i : i + 1]).mean for i in range(3)]
    torch.testing.assert_close(together, torch.cat(apart))


def test_without_what_is_given_it_is_refused():
    model = sentence_vae((T,), latent_dim=2, **SIZES)
    with pytest.raises(ValueError, match="conditional and got no context"):
        model.sample(2)
