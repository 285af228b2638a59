"""Autoregressive distributions: enumeration, the Jacobian of their nets, cached draws against naive ones."""

from __future__ import annotations

import itertools
import math
from functools import partial
from typing import Any

import pytest
import torch
from naive_draw import draw_naively
from torch import Tensor
from torch.distributions import Bernoulli, Categorical, Distribution, OneHotCategorical

from lowerbound.distributions.autoregressive import AutoregressiveDistribution
from lowerbound.nets import SiteNet, make_site_net
from lowerbound.testing.gradients import flat_gradient

NETWORKS = ["convolution", "transformer"]
each_network = pytest.mark.parametrize("network", NETWORKS)


def symmetric(x: Tensor) -> Tensor:
    return (2 * x - 1)[..., None]


def unchanged(x: Tensor) -> Tensor:
    return x


def bits(parameters: Tensor) -> Distribution:
    return Bernoulli(logits=parameters[..., 0], validate_args=False)


def one_hot(parameters: Tensor) -> Distribution:
    return OneHotCategorical(logits=parameters, validate_args=False)


def sharp(net: SiteNet, factor: float = 3.0) -> SiteNet:
    """Double, and with weights large enough for sites to depend on each other."""
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(factor)
    return net.double()


def binary(
    site_shape: tuple[int, ...], context: tuple[int, ...] | None = None, rows: int = 0, **options: Any
) -> AutoregressiveDistribution:
    torch.manual_seed(0)
    options = {"channels": 8, "layers": 3, **options}
    net = sharp(make_site_net(site_shape, 1, view=symmetric, context_shape=context, **options))
    given = None if context is None else torch.randn(*((rows,) if rows else ()), *context).double()
    return AutoregressiveDistribution(net, bits, site_shape, given)


def codes(site_shape: tuple[int, ...], categories: int, **options: Any) -> AutoregressiveDistribution:
    torch.manual_seed(0)
    options = {"channels": 8, "layers": 2, **options}
    shape = {"view": unchanged, "value_shape": (categories,), "num_seen": categories}
    net = sharp(make_site_net(site_shape, categories, **shape, **options), 2.0)
    return AutoregressiveDistribution(net, one_hot, (*site_shape, categories))


def every(site_shape: tuple[int, ...], values: int = 2) -> Tensor:
    states = torch.tensor(list(itertools.product(range(values), repeat=math.prod(site_shape))))
    return states.view(-1, *site_shape)


@each_network
@pytest.mark.parametrize("site_shape", [(2, 3), (1, 2, 3), (3, 2, 1)])
def test_binary_probabilities_sum_to_one_for_every_context(network, site_shape):
    p = binary(site_shape, (4, *site_shape[-2:]), rows=2, network=network)
    assert p.batch_shape == (2,)
    total = p.log_prob(every(site_shape).double()[:, None]).exp().sum(0)
    torch.testing.assert_close(total, torch.ones(2).double(), atol=1e-12, rtol=0)


@each_network
def test_codes_sum_to_one(network):
    p = codes((2, 2), 3, network=network)
    x = torch.nn.functional.one_hot(every((2, 2), 3), 3).double()
    assert p.log_prob(x).exp().sum().item() == pytest.approx(1, abs=1e-12)


def test_vectors_sum_to_one():
    p = binary((6,), (4, 6), network="transformer")
    assert p.log_prob(every((6,)).double()).exp().sum().item() == pytest.approx(1, abs=1e-12)


@each_network
@pytest.mark.parametrize("layers", [5, 7])
def test_the_jacobian_is_strictly_lower_triangular_and_full(network, layers):
    p = binary((7, 7), (3,), channels=8, layers=layers, network=network)
    x = torch.bernoulli(torch.full((1, 7, 7), 0.5)).double()
    jacobian = torch.autograd.functional.jacobian(lambda y: p.net(y, p.context[None]).flatten(), x).view(49, 49)
    earlier = torch.ones(49, 49, dtype=torch.bool).tril(-1)
    assert torch.equal(jacobian != 0, earlier)


@each_network
def test_channels_of_a_pixel_see_those_before_and_all_earlier_pixels(network):
    p = binary((3, 3, 4), channels=8, layers=4, network=network)
    x = torch.bernoulli(torch.full((1, 3, 3, 4), 0.5)).double()
    jacobian = torch.autograd.functional.jacobian(lambda y: p.net(y, None).flatten(), x).view(3, 12, 3, 12)
    in_order = jacobian.permute(1, 0, 3, 2).reshape(36, 36)  # positions first, then channels
    assert torch.equal(in_order != 0, torch.ones(36, 36, dtype=torch.bool).tril(-1))


@each_network
@pytest.mark.parametrize("site_shape", [(5, 6), (2, 4, 3)])
@pytest.mark.parametrize("context", [None, "vector", "map"])
def test_cached_draws_are_the_naive_ones_bit_for_bit(network, site_shape, context):
    shape = {None: None, "vector": (4,), "map": (4, *site_shape[-2:])}[context]
    p = binary(site_shape, shape, rows=0 if context is None else 3, network=network)
    draws = []
    for draw in (p.sample, partial(draw_naively, p)):
        torch.manual_seed(1)
        draws.append(draw((2, 5)))
    assert draws[0].shape == (2, 5, *p.batch_shape, *site_shape)
    assert torch.equal(*draws)
    assert 0.05 < draws[0].mean() < 0.95


@each_network
def test_cached_codes_are_the_naive_ones(network):
    p = codes((3, 3), 4, network=network)
    draws = []
    for draw in (p.sample, partial(draw_naively, p)):
        torch.manual_seed(1)
        draws.append(draw((20,)))
    assert torch.equal(*draws)
    assert len(draws[0].argmax(-1).unique()) == 4


@each_network
def test_draws_have_the_probabilities(network):
    p, size = binary((2, 2), network=network), 20_000
    states = every((2, 2)).double()
    exact = p.log_prob(states).exp().detach()
    codes_of = 2 ** torch.arange(4, dtype=torch.float64)
    index = (states.flatten(1) @ codes_of).long().argsort()
    counts = torch.bincount((p.sample((size,)).flatten(1) @ codes_of).long(), minlength=16)
    expected = size * exact[index]
    assert exact.max() > 2 / 16
    assert ((counts - expected).square() / expected).sum() < 15 + 6 * 30**0.5


@each_network
def test_means_are_those_along_the_draw(network):
    p = binary((3, 3), (4,), rows=5, network=network)
    torch.manual_seed(1)
    means = p.conditional_means()
    torch.manual_seed(1)
    x = p.sample()
    torch.testing.assert_close(means, bits(p.net(x, p.context)).mean.detach())
    with pytest.raises(NotImplementedError):
        _ = p.mean


@each_network
@pytest.mark.parametrize("shape", [(5, 5), (2, 3, 3)])
def test_passes_settle_on_the_draw_of_one_row(network, shape):
    p = binary(shape, (4,), rows=1, network=network)
    for seed in range(5):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        means, is_draw = p.means_in_passes(60.0)
        assert is_draw
        assert torch.equal(torch.get_rng_state(), before)
        torch.testing.assert_close(means, p.conditional_means())


def test_passes_that_are_cut_short_or_of_other_sites_are_no_draw():
    p = binary((5, 5), (4,), rows=3)
    means, is_draw = p.means_in_passes(-1.0)
    assert not is_draw
    torch.testing.assert_close(means, bits(p.net(torch.zeros(3, 5, 5).double(), p.context)).mean.detach())
    settled, is_draw = p.means_in_passes(60.0)
    assert is_draw
    assert settled.shape == (3, 5, 5)
    assert not torch.equal(means, settled)
    means, is_draw = codes((3, 3), 4).means_in_passes(60.0)
    assert (tuple(means.shape), is_draw) == ((3, 3, 4), False)


@each_network
def test_the_context_reaches_every_site_and_layer(network):
    p = binary((3, 3), (2, 3, 3), rows=1, layers=3, network=network)
    context = p.context.clone().requires_grad_()
    x = torch.zeros(1, 3, 3).double()
    q = AutoregressiveDistribution(p.net, bits, (3, 3), context)
    for site in range(9):
        (gradient,) = torch.autograd.grad(p.net(x, context).flatten()[site], context)
        assert (gradient != 0).any()
    parts = [part for name, part in p.net.named_parameters() if "context" in name]
    assert len(parts) == 3
    for part in parts:
        assert (flat_gradient(q.log_prob(x).sum(), [part]) != 0).any()
    torch.autograd.gradcheck(lambda c: AutoregressiveDistribution(p.net, bits, (3, 3), c).log_prob(x), context)


def test_leading_axes_of_x_and_of_the_context_broadcast():
    p = binary((2, 3), (4, 2, 3), rows=3)
    x = torch.bernoulli(torch.full((5, 3, 2, 3), 0.5)).double()
    alone = torch.stack(
        [AutoregressiveDistribution(p.net, bits, (2, 3), p.context[b]).log_prob(x[:, b]) for b in range(3)], 1
    )
    torch.testing.assert_close(p.log_prob(x), alone)
    torch.testing.assert_close(p.log_prob(x[0]), alone[0])
    larger = AutoregressiveDistribution(p.net, bits, (2, 3), p.context[0]).expand((2, 3))
    torch.testing.assert_close(larger.log_prob(x[0, 0]), p.log_prob(x[0, 0])[:1].expand(2, 3))
    assert larger.sample().shape == (2, 3, 2, 3)


def test_positions_are_hidden_in_training_alone_and_then_as_if_outside():
    p = binary((3, 4), position_dropout=0.999999)
    x = torch.bernoulli(torch.full((2, 3, 4), 0.5)).double()
    p.net.eval()
    assert not torch.equal(p.net(x, None)[0], p.net(x, None)[1])
    p.net.train()
    hidden = p.net(x, None)
    torch.testing.assert_close(hidden[0], hidden[1])
    p.net.eval()
    first = p.net(x, None)[:, 0, 0]
    torch.testing.assert_close(hidden[:, 0, 0], first)


def test_the_border_is_no_value():
    """A middle level is seen as 0, as the border would be; the marker tells them apart."""
    torch.manual_seed(0)
    net = sharp(make_site_net((2, 2), 3, view=symmetric, channels=8, layers=2))
    middle, low = torch.full((1, 2, 2), 0.5).double(), torch.zeros(1, 2, 2).double()
    unmarked = net.trunk(torch.zeros(1, 4, 2).double(), None)[0, 1]
    assert not torch.allclose(net.trunk(torch.tensor([[[0.0, 1.0]] * 4]).double(), None)[0, 1], unmarked)
    assert Categorical(logits=net(middle, None)).log_prob(low.long()).isfinite().all()


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda: binary((3, 3), kernel=7), r"kernel=7 for a map of 3 × 3, where no pixel has .* take kernel=5 or less"),
        (lambda: binary((1, 1)), "on a map of 2 pixels or more"),
        (lambda: binary((3, 3), kernel=4), "kernel=4 and needs at least 1 of each and an odd kernel"),
        (lambda: binary((6,)), r"over maps and got sites of shape \(6,\); take the network transformer"),
        (lambda: binary((1, 2, 3, 3)), r"sites of shape \(1, 2, 3, 3\) and expected"),
        (lambda: binary((3, 3), (4, 2, 2)), r"context of shape \(4, 2, 2\) and expected a vector or a map \(M, 3, 3\)"),
        (lambda: binary((3, 3), network="transformer", channels=6), "channels=6, .*heads=4 and needs"),
        (lambda: binary((3, 3), position_dropout=1.0), r"position_dropout=1 and expected a probability in \[0, 1\)"),
        (lambda: binary((3, 3)).log_prob(torch.zeros(2, 3, 2)), r"of shape \(3, 3\) got x of shape \(2, 3, 2\)"),
        (lambda: AutoregressiveDistribution(binary((3, 3), (4,)).net, bits, (3, 3)), "got no context and its net"),
        (
            lambda: AutoregressiveDistribution(binary((3, 3)).net, bits, (3, 3), torch.zeros(2, 4)),
            r"context of shape \(2, 4\) and its net was made for none",
        ),
        (
            lambda: AutoregressiveDistribution(binary((3, 3), (4,)).net, bits, (3, 3), torch.zeros(2, 5)),
            r"context of shape \(2, 5\) and its net was made for \(\.\.\., 4\)",
        ),
    ],
)
def test_mistakes_are_named(make, sentence):
    with pytest.raises(ValueError, match=sentence) as error:
        make()
    assert len(str(error.value)) <= 300


def test_many_draws_are_made_in_parts():
    p = binary((2, 2), (3,), rows=2, channels=4, layers=1)
    x = p.sample((600,))
    assert x.shape == (600, 2, 2, 2)
    share = torch.einsum("nk,nij->kij", p.log_prob(every((2, 2)).double()[:, None]).exp(), every((2, 2)).double())
    torch.testing.assert_close(x.mean(0), share.detach(), atol=0.1, rtol=0)
