"""Texts of a tiny alphabet, all of which can be enumerated; float64 where the oracle is exact."""

import itertools
from typing import Any

import pytest
import torch
from torch.distributions import Categorical

from lowerbound.decoding import choice_of, greedy
from lowerbound.likelihoods import Tokens, tokens
from lowerbound.nets import MLP
from lowerbound.nets.texts import END, is_text
from lowerbound.testing import check_likelihood

NETWORKS = ("lstm", "lstm first-state", "transformer", "transformer prefix", "convolution", "hybrid")
K, T = 4, 5  # an alphabet of 3 and the end; up to 4 tokens


def likelihood(network: str, *, context: bool = True, **options: Any) -> Tokens:
    net = MLP(2, [], 3).double() if context else None
    network, _, place = network.partition(" ")
    made = Tokens(
        net, T, K, network=network, context_at=place or "every-step", embedding_dim=4, width=8, layers=2, **options
    ).double()
    with torch.no_grad():
        made.causal.embedding.mul_(20)  # so that tokens and z have an effect
    return made.eval()


def every_text() -> torch.Tensor:
    texts = [text for n in range(T) for text in itertools.product(range(1, K), repeat=n)]
    return torch.tensor([[*text, *[END] * (T - len(text))] for text in texts], dtype=torch.float64)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("context", [True, False])
def test_all_texts_together_have_probability_one(network, context):
    p = likelihood(network, context=context)(torch.randn(2, 2, dtype=torch.float64) if context else None)
    x = every_text()
    assert len(x) == 1 + 3 + 9 + 27 + 81
    total = p.log_prob(x[:, None] if context else x).logsumexp(0).exp()
    torch.testing.assert_close(total, torch.ones_like(total), rtol=1e-12, atol=0)


@pytest.mark.parametrize("network", NETWORKS)
def test_texts_are_scored_in_parts_where_there_is_no_gradient(network, monkeypatch):
    x = every_text()[torch.randperm(121)]
    p = likelihood(network)(torch.randn(121, 2, dtype=torch.float64))
    whole = p.log_prob(x).detach()
    monkeypatch.setattr(tokens, "_TOKENS_AT_ONCE", 30)
    with torch.no_grad():
        torch.testing.assert_close(p.log_prob(x), whole, rtol=1e-12, atol=0)


@pytest.mark.parametrize("network", NETWORKS)
def test_conforms(network):
    made = likelihood(network).float()
    check_likelihood(made, torch.randn(3, 2))


@pytest.mark.parametrize("network", NETWORKS)
def test_a_token_is_given_those_before_it_alone(network):
    net = likelihood(network).causal
    u = torch.randn(1, T, 4, dtype=torch.float64, requires_grad=True)
    f = net.trunk(u, torch.randn(1, 3, dtype=torch.float64))  # type: ignore[operator]
    for t in range(T):
        (slope,) = torch.autograd.grad(f[0, t] @ torch.randn(8).double(), u, retain_graph=True)
        seen = slope[0].abs().sum(-1) > 0
        assert seen.tolist() == [s < t for s in range(T)]


@pytest.mark.parametrize("network", NETWORKS)
def test_every_token_is_given_the_context_and_it_enters_where_it_is_said(network):
    net = likelihood(network).causal
    c = torch.randn(1, 3, dtype=torch.float64, requires_grad=True)
    h = net.features(torch.tensor([[1, 3, 2, 2, 1]]), c)
    slopes = [torch.autograd.grad(h[0, t].sum(), c, retain_graph=True)[0].abs().sum() > 0 for t in range(T)]
    assert all(slopes)
    assert (net.skip is not None) == (network in ("lstm", "transformer", "convolution"))
    trunk = net.trunk
    if network.startswith("lstm"):
        assert (trunk.context is not None) == (network == "lstm")
    if network.startswith("transformer"):
        assert (trunk.prefix is not None) == (network == "transformer prefix")
        assert all((block.context is None) == (trunk.prefix is not None) for block in trunk.blocks)


@pytest.mark.parametrize("network", NETWORKS)
def test_kept_activations_give_the_scores_of_one_pass(network):
    net = likelihood(network).causal
    x, c = torch.tensor([[1.0, 3, 2, 2, 1], [2, 1, 1, 3, 3]], dtype=torch.float64), torch.randn(2, 3).double()
    together, cache = net(x, c), net.begin(2, c)
    for t in range(T):
        torch.testing.assert_close(net.step(cache, t, x[:, t - 1] if t else None), together[:, t], rtol=0, atol=1e-12)


@pytest.mark.parametrize("softmax", ["full", "adaptive"])
@pytest.mark.parametrize("network", ["lstm", "transformer", "convolution"])  # without a context there are no others
def test_draws_have_their_probabilities(network, softmax):
    p = likelihood(network, context=False, softmax=softmax)(None)
    draws, x = p.sample((20_000,)), every_text()
    expected = p.log_prob(x).exp()
    found = (draws[:, None] == x).all(-1).double().mean(0)
    assert float(found.sum()) == pytest.approx(1)
    error = (expected * (1 - expected) / 20_000).sqrt()
    assert bool(((found - expected).abs() < 5.5 * error + 1e-9).all())  # false failure: below 1e-5 for 121 texts


def test_log_prob_is_the_product_of_the_conditionals_and_reads_nothing_after_the_end():
    made = likelihood("lstm")
    z, x = torch.randn(3, 2, dtype=torch.float64), torch.tensor([[3.0, 1, 0, 0, 0], [0, 0, 0, 0, 0], [1, 2, 3, 1, 0]])
    scores = made.causal(x.double(), made.context_net(z)).log_softmax(-1)  # type: ignore[misc]
    terms = scores.gather(-1, x.long()[..., None]).squeeze(-1)
    terms[:, -1] = 0  # where every text has ended
    torch.testing.assert_close(made(z).log_prob(x.double()), (terms * is_text(x)).sum(1), rtol=1e-12, atol=1e-12)


def test_what_is_no_text_has_no_probability():
    p = likelihood("lstm", context=False)(None)
    strange = torch.tensor([[1.0, 0, 2, 0, 0], [1, 9, 0, 0, 0], [1.5, 0, 0, 0, 0], [1, 2, 3, 1, 1]]).double()
    assert p.log_prob(strange[:3]).tolist() == [-torch.inf] * 3
    assert p.log_prob(strange[3:]).item() == -torch.inf  # a text of T tokens has no room for its end


def test_words_are_dropped_in_training_alone():
    made = likelihood("lstm", word_dropout=0.5, dropout=0.5)
    z, x = torch.randn(8, 2, dtype=torch.float64), made(torch.zeros(8, 2).double()).sample()
    assert torch.equal(made(z).log_prob(x), made(z).log_prob(x))
    made.train()
    assert not torch.equal(made(z).log_prob(x), made(z).log_prob(x))


def test_rows_of_any_company_have_the_same_value_with_and_without_gradients():
    made = likelihood("convolution")
    z = torch.randn(40, 2, dtype=torch.float64)
    x = made(z).sample()
    with torch.no_grad():
        together = made(z).log_prob(x)
    alone = torch.cat([made(z[i : i + 1]).log_prob(x[i : i + 1]) for i in range(40)])
    torch.testing.assert_close(together, alone, rtol=1e-12, atol=1e-12)


def test_starts_at_the_frequencies_of_the_symbols():
    made = likelihood("lstm", context=False)
    x = torch.tensor([[1.0, 1, 0, 0, 0], [1, 2, 0, 0, 0]]).double()
    made.initialize(x)
    counts = torch.tensor([2.25, 3.25, 1.25, 0.25], dtype=torch.float64)
    torch.testing.assert_close(made.causal.bias.exp(), counts / 7)


def test_choices_of_the_next_token():
    scores = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log().expand(4000, 4)
    assert set(choice_of("greedy")(scores).tolist()) == {0}
    assert set(choice_of("sample")(scores).tolist()) == {0, 1, 2, 3}
    assert set(choice_of("nucleus=0.75")(scores).tolist()) == {0, 2}  # 0.71 + 0.21 of what is known; 1 is unknown
    cold = choice_of("temperature=0.5")(scores)
    expected = Categorical(logits=2 * scores[0, [0, 2, 3]]).probs[0].item()
    assert (cold == 0).double().mean().item() == pytest.approx(expected, abs=0.04)
    for words in ("nucleus=1.5", "temperature=0", "beam", "greedy=2"):
        with pytest.raises(ValueError, match="decoding is"):
            choice_of(words)


@pytest.mark.parametrize("tiny", ["nucleus=1e-320", "temperature=1e-320", "temperature=1e-45", "temperature=1e-4"])
def test_next_to_no_freedom_is_greedy(tiny):
    scores = 30 * torch.randn(200, 6)
    assert torch.equal(choice_of(tiny)(scores), greedy(scores))


def test_the_highest_temperatures_draw_known_symbols_alike():
    found = choice_of("temperature=1e308")(torch.tensor([[9.0, 50.0, -9.0, 0.0]]).expand(3000, -1))
    assert torch.bincount(found, minlength=4).tolist() == pytest.approx([1000, 0, 1000, 1000], abs=130)  # 5 sigma


def test_greedy_text_is_the_most_probable_one_token_after_another():
    made = likelihood("transformer", context=False)
    x, p = torch.zeros(1, T, dtype=torch.float64), made(None)
    for t in range(T - 1):
        x[0, t] = max((END, 2, 3), key=made.causal(x)[0, t].tolist().__getitem__)
        if x[0, t] == END:
            break
    assert torch.equal(p.greedy(), x[0])


@pytest.mark.parametrize(
    "options, message",
    [
        ({"event_shape": (3, 3)}, "length of a row"),
        ({"num_symbols": 1}, "at least 2 symbols"),
        ({"dropout": 1.0}, "drop"),
        (
            {"network": "convolution", "context_at": "prefix"},
            "convolution got context_at=prefix and takes .* every-step;",
        ),
        (
            {"context_at": "prefix"},
            "lstm got context_at=prefix and takes its context at every-step or first-state; say",
        ),
        ({"network": "hybrid", "context_at": "first-state"}, "hybrid got context_at=first-state"),
        (
            {"softmax": "adaptive", "num_symbols": 30, "embedding_dim": 15},
            "30 symbols and features of width 15; .* 16;",
        ),
        ({"softmax": "adaptive", "num_symbols": 2}, "2 symbols"),
        ({"softmax": "adaptive", "classes": [0, 1, 1, 2]}, "softmax=adaptive and classes"),
    ],
)
def test_refusals(options, message):
    given = {"event_shape": 5, "num_symbols": 4, **options}
    with pytest.raises(ValueError, match=message):
        Tokens(None, **given)
