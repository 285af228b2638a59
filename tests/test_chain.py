"""Latents drawn one after another: what is remembered of a draw changes no number and no derivative."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch.distributions import Bernoulli, Independent, Normal

from lowerbound.chain import Chain, StateChain
from lowerbound.gradients.path_only import detach


def normal(loc, scale=1.0):
    return Independent(Normal(loc, scale), 1)


def chain(weight, *, downward, calls=None):
    """Three layers of lengths 1, 2 and 3 along the way, each the last one's sum times a weight."""

    def step(size):
        def given(z):
            if calls is not None:
                calls.append(size)
            return normal((weight * z.sum(-1, keepdim=True)).expand(*z.shape[:-1], size), 0.5)

        return given

    return Chain(normal(weight * torch.ones(4, 1, dtype=torch.float64)), [step(2), step(3)], downward=downward)


@pytest.mark.parametrize("downward", [True, False])
def test_layers_are_in_order_whichever_way_they_are_drawn(downward):
    q = chain(torch.tensor(0.7, dtype=torch.float64), downward=downward)
    z = q.rsample((5,))
    sizes = [3, 2, 1] if downward else [1, 2, 3]
    assert [layer.shape for layer in z] == [(5, 4, size) for size in sizes]
    drawn = z[::-1] if downward else z
    expected = q.first.log_prob(drawn[0])
    for above, below in pairwise(drawn):
        expected = expected + normal(0.7 * above.sum(-1, keepdim=True).expand_as(below), 0.5).log_prob(below)
    assert torch.allclose(q.log_prob(z), expected)
    assert q.event_shape == (6,)
    assert q.batch_shape == (4,)


def test_a_remembered_draw_has_the_numbers_and_derivatives_of_a_recomputed_one():
    weight = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    calls = []
    q = chain(weight, downward=True, calls=calls)
    z = q.rsample((5,))
    assert len(calls) == 2
    known, again = q.log_prob(z), q.log_prob(tuple(layer.view_as(layer) for layer in z))
    assert len(calls) == 4  # the draw, and the views
    assert torch.equal(known, again)
    one, other = (torch.autograd.grad(value.sum(), weight, retain_graph=True)[0] for value in (known, again))
    assert torch.allclose(one, other, rtol=1e-12)
    assert torch.equal(q.log_prob(detach(z)), known)
    fixed = torch.autograd.grad(q.log_prob(detach(z)).sum(), weight)[0]
    assert not torch.allclose(fixed, one)  # the score alone


def add(layer):
    layer.add_(1.0)


def add_through_a_view(layer):
    layer.view(-1)[1:3].add_(1.0)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("change", [add, add_through_a_view])
@pytest.mark.parametrize("layer", [0, 1, 2])
def test_a_draw_that_was_written_to_is_evaluated_anew(layer, change, mode):
    """By what the layer says of those below it: its own density would differ with the old distributions too."""
    calls = []
    q = chain(torch.tensor(0.7, dtype=torch.float64), downward=True, calls=calls)
    with mode():
        for draw in (q.rsample, q.sample):
            z = draw((5,))
            change(z[layer])
            assert torch.equal(q.log_prob(z), q.log_prob(tuple(part.clone() for part in z)))
            before = len(calls)
            q.log_prob(z)
            assert len(calls) == before + 2  # z was walked through, then its clone took its place
        z = q.rsample((5,))
        before = len(calls)
        q.log_prob(z)
        assert len(calls) == before  # and what was left alone is not


def test_what_was_evaluated_is_remembered_until_it_is_written_to():
    weight, calls = torch.tensor(0.7, dtype=torch.float64, requires_grad=True), []
    q = chain(weight, downward=True, calls=calls)
    z = tuple(torch.randn(4, size).double() for size in (3, 2, 1))
    first = q.log_prob(z)
    assert torch.equal(q.log_prob(z), first)
    assert len(calls) == 2
    z[2].add_(1.0)
    assert torch.equal(q.log_prob(z), chain(weight, downward=True).log_prob(z))


def test_what_was_drawn_without_gradients_is_evaluated_anew():
    weight = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    for draw in ("sample", "rsample"):
        q = chain(weight, downward=True)
        with torch.no_grad():
            z = getattr(q, draw)((5,))
            q.log_prob(z)
        assert torch.autograd.grad(q.log_prob(z).sum(), weight)[0] != 0


def test_the_first_layer_is_evaluated_when_it_is_needed_and_once():
    weight, calls = torch.tensor(0.7, dtype=torch.float64, requires_grad=True), []

    def first():
        calls.append(1)
        return normal(weight * torch.ones(4, 1, dtype=torch.float64))

    q = Chain(first, [lambda z: normal(z)], downward=True)
    assert not calls
    with torch.no_grad():
        assert (q.batch_shape, q.has_rsample) == ((4,), True)
    z = q.rsample((2,))
    assert torch.autograd.grad(q.log_prob(z).sum(), weight)[0].isfinite()
    assert len(calls) == 2  # without gradients, and with
    assert q.first.mean.requires_grad


def test_a_chain_does_not_draw_to_count_its_numbers():
    q = Chain(normal(torch.zeros(2)), [lambda z: normal(z)], downward=True)
    with pytest.raises(NotImplementedError, match="draw first, or declare layer_shapes"):
        _ = q.event_shape
    torch.manual_seed(0)
    before = torch.get_rng_state()
    assert Chain(normal(torch.zeros(2)), [], downward=True, layer_shapes=[(3, 4), (2,)]).event_shape == (14,)
    assert torch.equal(before, torch.get_rng_state())
    q.log_prob((torch.zeros(2), torch.zeros(2)))
    assert q.event_shape == (4,)


class Summed:
    """N(h, 1), and the state h + z."""

    def at(self, state):
        return normal(state, torch.ones(())), 2 * state

    def advance(self, state, carry, z):
        return carry / 2 + z


def test_a_state_carries_all_layers_before():
    q = StateChain(torch.zeros(4, 2), [Summed()] * 3, downward=True)
    z = q.rsample((5,))
    expected = sum(
        normal(above, torch.ones(())).log_prob(layer)
        for above, layer in zip((z[1] + z[2], z[2], torch.zeros(4, 2)), z, strict=True)
    )
    assert torch.allclose(q.log_prob(z), expected)
    assert torch.allclose(q.walk_through(z).end, z[0] + z[1] + z[2])
    with pytest.raises(ValueError, match="no step"):
        StateChain(None, [], downward=True)


def test_constants_are_drawn_without_gradients():
    q = chain(torch.tensor(0.7, requires_grad=True, dtype=torch.float64), downward=False)
    assert not any(layer.requires_grad for layer in q.sample((2,)))
    assert q.has_rsample


@pytest.mark.parametrize("value", [torch.zeros(4, 6), (torch.zeros(4, 1), torch.zeros(4, 2))])
def test_another_number_of_layers_is_refused(value):
    with pytest.raises(ValueError, match=r"chain of 3 latents got .* give a tuple"):
        chain(torch.tensor(0.7), downward=False).log_prob(value)


def test_what_a_chain_does_not_know():
    q = chain(torch.tensor(0.7), downward=True)
    for ask in (lambda: q.mean, lambda: q.stddev, lambda: q.entropy()):
        with pytest.raises(NotImplementedError):
            ask()
    assert not q.support.is_discrete
    bits = Chain(Independent(Bernoulli(torch.full((2,), 0.5)), 1), [], downward=True)
    assert bits.support.is_discrete
    assert not bits.has_rsample


def test_expanded():
    p = Chain(normal(torch.zeros(2)), [lambda z: normal(z)], downward=True)
    assert [layer.shape for layer in p.expand(torch.Size((3,))).sample((5,))] == [(5, 3, 2)] * 2
