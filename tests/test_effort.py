"""How many samples a score draws: operations against counts by hand, and the rule at its borders."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

import lowerbound as lb
from lowerbound.models import vae
from lowerbound.models.sentence_autoencoder import language_model, sentence_vae
from lowerbound.verbs import effort
from lowerbound.verbs.effort import samples_for, samples_of_summary

N = 6


def count(function) -> int:
    with torch.inference_mode(), effort._Operations() as found:
        function()
    return found.count


@pytest.mark.parametrize(
    "net, shape, expected",
    [
        (nn.Linear(3, 5), (N, 3), 2 * N * 3 * 5),
        (nn.Sequential(nn.Linear(3, 5), nn.ReLU()), (N, 3), 2 * N * 3 * 5 + 30 * N * 5),
        (nn.Conv2d(2, 4, 3, padding=1), (N, 2, 7, 8), 2 * N * 4 * 7 * 8 * 2 * 9),
    ],
    ids=str,
)
def test_operations_are_those_counted_by_hand(net, shape, expected):
    x = torch.randn(shape)
    assert count(lambda: net(x)) == expected


def test_operations_of_a_recurrent_net_are_its_products_and_little_more():
    net, u, state = nn.LSTM(16, 32), torch.randn(7, N, 16), torch.zeros(1, N, 32)
    products = 2 * 7 * N * 4 * 32 * (16 + 32)
    found = count(lambda: net(u, (state, state)))
    assert products <= found < 1.2 * products


def test_operations_of_a_recurrent_net_on_a_gpu_are_those_of_its_products():
    net, u = nn.LSTM(16, 32, num_layers=2), torch.randn(7, N, 16)
    formula = effort._FORMULAS[torch.ops.aten._cudnn_rnn]
    assert formula(u, list(net.parameters())) == 2 * 7 * N * 4 * 32 * (16 + 32 + 32 + 32)


def test_operations_of_attention_are_its_products_and_little_more():
    q, k, v = torch.randn(2, 3, 64, 16), torch.randn(2, 3, 80, 16), torch.randn(2, 3, 80, 16)
    products = 2 * 2 * 3 * 64 * 80 * (16 + 16)
    assert products <= count(lambda: scaled_dot_product_attention(q, k, v)) < 1.2 * products


@pytest.fixture
def model():
    return vae((8,), likelihood="bernoulli", latent_dim=2, hidden=[16]).eval()


X = torch.ones(40, 8)


def of_sample(model) -> float:
    return effort._operations(model, X, None)[1]


def test_a_thousand_samples_are_drawn_where_they_take_no_time(model):
    assert samples_for(model, X, None) == effort.Samples(1000, None)
    assert samples_for(model, X[:0], None) == effort.Samples(1000, None)


def test_fewer_samples_take_the_operations_that_there_are(model, monkeypatch):
    each = of_sample(model)
    for affordable, expected in ((1064.5, 1000), (1063.5, 999), (264.5, 200), (100.5, 50), (12, 10), (0, 10)):
        monkeypatch.setattr(effort, "_OPERATIONS", affordable * 40 * each)
        found = samples_for(model, X, None)
        assert found.count == expected
        assert (found.reason is None) == (expected == 1000)
        assert affordable < 20 or found.count + samples_of_summary(found.count) <= affordable
    monkeypatch.setattr(effort, "_OPERATIONS", 264.5 * 400 * each)
    assert samples_for(model, X, None, num_rows=400).count == 200


@pytest.mark.parametrize("choices", [{}, {"prior": "vamp:components=100"}, {"posterior": "maf"}], ids=str)
def test_operations_of_a_sample_are_what_each_of_many_takes(choices):
    made = vae((8,), likelihood="bernoulli", latent_dim=4, hidden=[16], **choices).eval()
    q, many = made.infer(X[:8]), 1000

    def draw() -> object:
        z = q.rsample((many,))
        return q.log_prob(z), made.joint(X[:8])(z)

    assert count(draw) / (8 * many) == pytest.approx(of_sample(made), rel=0.05)


def test_of_a_posterior_whose_draws_are_the_same_any_number_is_free(monkeypatch):
    monkeypatch.setattr(effort, "_OPERATIONS", 0)
    images = np.random.default_rng(0).integers(0, 256, (12, 16, 16)).astype(np.uint8)
    codes = lb.fit(images, "fsq", steps=0, compile=False)
    assert samples_for(codes.model, codes.events(codes.rows(images).x, 0), None) == effort.Samples(1000)


def test_a_long_training_is_followed_by_more_samples(model, monkeypatch):
    monkeypatch.setattr(effort, "_OPERATIONS", 0)
    of_row, each = effort._operations(model, X, None)
    trained = 264.5 * 40 * each / (0.2 * 3 * of_row)
    assert samples_for(model, X, None, num_trained=round(trained)).count == 200


def test_texts_count_by_their_tokens_and_one_without_latents_takes_one():
    sizes = {"likelihood": "tokens:num_symbols=9", "embedding_dim": 4, "width": 8}
    made = sentence_vae((12,), latent_dim=2, **sizes).eval()
    short, long = torch.tensor([[3.0] + [0] * 11] * 8), torch.tensor([[3.0] * 11 + [0]] * 8)
    few, many = effort._operations(made, short, None)[1], effort._operations(made, torch.cat([short, long]), None)[1]
    assert many == pytest.approx(few * (2 + 12) / 2 / 2)
    without = language_model((12,), **sizes).eval()
    assert samples_for(without, long, None) == effort.Samples(1)
    assert effort.knows_log_p(without)
    assert not effort.knows_log_p(made)


def test_scores_of_a_language_model_are_exact():
    fitted = lb.fit(["a b c", "b c"] * 20, "language-model", embedding_dim=4, width=4, steps=1, device="cpu")
    scores = fitted.evaluate()
    assert scores["exact"]
    assert scores["log_evidence"] == pytest.approx(scores["elbo"], rel=1e-6)


def test_a_molecule_has_several_rows_and_the_score_of_one_is_a_bound():
    sizes = {"embedding_dim": 4, "width": 4, "steps": 1, "device": "cpu"}
    fitted = lb.fit(["CCO", "CCN", "c1ccccc1"] * 15, "language-model", kind="molecules", **sizes)
    scores = fitted.evaluate()
    assert "exact" not in scores
    assert scores["num_samples"] == 1


def test_rows_beyond_the_first_block_change_nothing(monkeypatch):
    sizes = {"likelihood": "tokens:num_symbols=9", "embedding_dim": 4, "width": 8}
    made = sentence_vae((12,), latent_dim=2, **sizes).eval()
    short, long = torch.tensor([[3.0] + [0] * 11]), torch.tensor([[3.0] * 11 + [0]])
    x = torch.cat([short.expand(4096, -1), long.expand(4096, -1)])
    monkeypatch.setattr(effort, "_OPERATIONS", 100 * len(x) * effort._operations(made, short, None)[1])
    assert samples_for(made, x, None) == samples_for(made, x[:4096], None, num_rows=len(x))


def test_random_numbers_of_the_caller_are_untouched(model):
    torch.manual_seed(0)
    expected = torch.randn(3)
    torch.manual_seed(0)
    samples_for(model, X, None)
    assert torch.equal(torch.randn(3), expected)
