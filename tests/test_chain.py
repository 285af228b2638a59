"""Latents drawn one after another: what is remembered of a draw changes no number and no derivative."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch.distributions import Bernoulli, Independent, Normal

from lowerbound.chain import Chain
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


def test_what_was_written_to_or_drawn_without_gradients_is_evaluated_anew():
    weight = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    q = chain(weight, downward=True)
    z = q.rsample((5,))
    with torch.no_grad():
        before = q.log_prob(z)
        z[1].add_(1.0)
        assert not torch.allclose(q.log_prob(z), before)
        z = q.rsample((5,))
    assert torch.autograd.grad(q.log_prob(z).sum(), weight)[0] != 0


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
