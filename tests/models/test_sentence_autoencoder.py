"""Sentence VAEs: two topics that must be told apart, encoders, and the language model of the same net."""

import math

import pytest
import torch

import lowerbound as lb
from lowerbound.data import InMemory
from lowerbound.evaluate import aggregate_posterior, log_evidence
from lowerbound.models.sentence_autoencoder import language_model, sentence_vae
from lowerbound.nets.token_encoder import TokenEncoder

K, T, WORDS = 6, 5, "tokens:num_symbols=6"  # the end, an unknown word, and two topics of two words each


def two_topics(num: int) -> torch.Tensor:
    """Three words, all of one of two disjoint topics: log 2 + 3 log 2 nats a text."""
    topic, words = torch.randint(2, (num, 1)), torch.randint(2, (num, 3))
    return torch.nn.functional.pad(2 + 2 * topic + words, (0, T - 3)).float()


def fitted(model, objective, steps, gradient):
    loss = lb.VariationalLoss(model, objective, gradient)
    x = two_topics(2000)
    model.initialize(x)
    for _ in lb.train(loss, InMemory(x), num_steps=steps, batch_size=32, lr=1e-2, compile=False):
        pass
    return model.eval()


def test_two_disjoint_topics_are_worth_log_2():
    model = sentence_vae(
        (T,), likelihood=WORDS, latent_dim=1, encoder="bag-of-words", word_dropout=0.95, embedding_dim=8, width=8
    )
    warm = lb.objectives.BetaELBO(1.0, warmup=150, rate="kl")
    model = fitted(model, warm, 250, lb.gradients.Pathwise())
    x = two_topics(200)
    topics = (x[x[:, 0] >= 4], x[x[:, 0] < 4])
    both = sum(len(part) / len(x) * information(model, part) for part in topics)
    assert information(model, x) - both == pytest.approx(math.log(2), abs=0.08)  # I(x; z) − I(x; z | topic)


def information(model, x):
    return aggregate_posterior(model, x, num_samples=16).mutual_information.mean


def test_a_language_model_reaches_the_entropy_of_the_data():
    model = language_model((T,), likelihood=WORDS, embedding_dim=8, width=16, dropout=0.0)
    model = fitted(model, lb.objectives.ELBO(), 200, lb.gradients.Pathwise())
    assert log_evidence(model, two_topics(500), num_samples=1).mean == pytest.approx(-4 * math.log(2), abs=0.05)


@pytest.mark.parametrize("network", ["lstm", "bag-of-words", "convolution", "transformer"])
def test_an_encoder_reads_up_to_the_end_and_every_text_by_itself(network):
    net = TokenEncoder(K, T, (2, 3), network, embedding_dim=4, width=8).double()
    x = torch.tensor([[2.0, 3, 4, 0, 0], [5, 0, 0, 0, 0], [2, 2, 2, 2, 0], [4, 3, 2, 0, 0]]).double()
    together = net(x)
    assert together.shape == (4, 2, 3)
    torch.testing.assert_close(together, torch.cat([net(row[None]) for row in x]))
    torch.testing.assert_close(net(x[None, :2]), together[None, :2])
    longer = TokenEncoder(K, T + 2, (2, 3), network, embedding_dim=4, width=8).double()
    if network == "transformer":
        net.body.position.data = longer.body.position.data[:T]  # type: ignore[union-attr]
        net.load_state_dict({**longer.state_dict(), "body.position": net.body.position.data})  # type: ignore[union-attr]
    else:
        net.load_state_dict(longer.state_dict())
    torch.testing.assert_close(net(x), longer(torch.nn.functional.pad(x, (0, 2))))  # padding has no effect
    order = not torch.allclose(net(x)[0], net(x)[3])
    assert order == (network != "bag-of-words")


@pytest.mark.parametrize("covariate_sizes", [(), (2,)])
def test_categories_are_latents_of_texts_too(covariate_sizes):
    words, sizes = "categorical:categories=4", {"latent_dim": 3, "embedding_dim": 4, "width": 4}
    model = sentence_vae((T,), likelihood=WORDS, prior=words, posterior=words, covariate_sizes=covariate_sizes, **sizes)
    context = torch.eye(2) if covariate_sizes else None
    log_w = model.log_weights(two_topics(2), 5, *([] if context is None else [context])).log_w
    assert log_w.shape == (5, 2)
    assert bool(log_w.isfinite().all())


def test_a_text_has_categories_with_no_other_word():
    small = {"latent_dim": 2, "embedding_dim": 4, "width": 4, "steps": 1, "compile": False}
    fitted = lb.fit(["a b", "b a", "a a b"] * 10, posterior="categorical:categories=3", **small)
    assert fitted.model.prior(None).event_shape == (2, 3)


def test_refusals():
    with pytest.raises(ValueError, match="language-model has no latent"):
        sentence_vae((T,), likelihood="tokens:num_symbols=5", latent_dim=0)
    for words in ("bernoulli", "tokens"):
        with pytest.raises(ValueError, match="expected tokens:num_symbols"):
            sentence_vae((T,), likelihood=words)
    with pytest.raises(ValueError, match="4 divides"):
        sentence_vae((T,), likelihood="tokens:num_symbols=5", encoder="transformer", width=6)
