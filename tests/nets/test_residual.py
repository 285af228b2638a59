"""Bottlenecks, pyramids and what belongs to them, against torch's own layers."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from lowerbound.nets import Bottleneck, Enlarged, Pointwise, Pyramid, ResidualStack
from lowerbound.nets.pyramid import pyramid_sizes


@pytest.mark.parametrize("norm_groups", [0, 1, 2])
@pytest.mark.parametrize("space", [(), (5, 3), (2, 4)])
def test_a_bottleneck_is_its_layers(space, norm_groups):
    """Also with inputs of other leading axes, which are normalised before they are expanded."""
    torch.manual_seed(0)
    net = Bottleneck([(4, *space), (6, *space)], 8, (2, 3), norm_groups=norm_groups)
    h, a = 5 * torch.randn(7, 1, 4, *space), torch.randn(9, 6, *space)
    got = net(h, a)
    assert got.shape == (7, 9, *net.out_shape) == (7, 9, 2, 3, *space)
    parts = [part.expand(7, 9, *part.shape[-1 - len(space) :]).flatten(0, 1) for part in (h, a)]
    if norm_groups:
        parts = [nn.GroupNorm(norm_groups, part.shape[1])(part) for part in parts]
    first, *rest = [layer for layer in net.layers if not isinstance(layer, nn.GELU)]
    y = first(torch.cat(parts, 1))
    for layer in rest:
        y = layer(functional.gelu(y))
    torch.testing.assert_close(got.flatten(0, 1).flatten(1, 2), y)
    kernels = {layer.kernel_size for layer in rest if isinstance(layer, nn.Conv2d)}
    assert kernels == {(): set(), (5, 3): {(3, 3), (1, 1)}, (2, 4): {(1, 3), (1, 1)}}[space]


def test_a_factor_scales_the_last_layer_and_biases_start_at_zero():
    h = torch.randn(5, 4)
    nets = []
    for factor in (1.0, 0.25, 0.0):
        torch.manual_seed(0)
        nets.append(Bottleneck(4, 8, 3, factor=factor))
    torch.testing.assert_close(0.25 * nets[0](h), nets[1](h))
    assert torch.equal(nets[2](h), torch.zeros(5, 3))


def test_pointwise_is_a_convolution_of_one():
    net, z = Pointwise(3, 5, 3), torch.randn(2, 7, 3, 4, 6)
    expected = functional.conv2d(z.flatten(0, 1), net.weight[..., None, None], net.bias).unflatten(0, (2, 7))
    torch.testing.assert_close(net(z), expected)
    assert Pointwise(3, 5, 1)(torch.randn(2, 7, 3)).shape == (2, 7, 5)


def test_enlarged_repeats_the_nearest():
    net = Enlarged((2, 4, 3))
    nn.init.ones_(net.constant)
    h = torch.randn(5, 7, 2, 2, 2)
    rows, columns = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 0, 1])
    assert torch.equal(net(h), h[..., rows, :][..., columns] + 1)


@pytest.mark.parametrize(
    "image, expected", [((28, 28), [(4, 4), (7, 7), (14, 14)]), ((3, 9, 2), [(2, 1), (3, 1), (5, 1)])]
)
def test_the_pyramid_halves(image, expected):
    assert pyramid_sizes(image, 1, 3) == expected
    maps = Pyramid(image, [2, 1, 1], 4, 2)(torch.rand(5, *image))
    assert [a.shape for a in maps] == [(5, 4, *size) for size in (expected[0], *expected)]
    assert torch.equal(maps[0], maps[1])


def test_a_pyramid_keeps_leading_axes():
    net, x = Pyramid((6, 5), [1, 1], 4, 2), torch.rand(2, 3, 6, 5)
    for whole, part in zip(net(x), net(x[1]), strict=True):
        torch.testing.assert_close(whole[1], part)


def test_a_stack_normalises_its_state_alone():
    net, x = ResidualStack((3, 2), 8, 4, 2), torch.randn(5, 3, 2)
    torch.testing.assert_close(net(x)[:2], net(x[:2]))


@pytest.mark.parametrize(
    "make, sentence",
    [
        (
            lambda: pyramid_sizes((8, 8), 1, 4),
            "An image of 8×8 can be halved 3 times, and halvings=1 with numbers of groups for 4",
        ),
        (lambda: pyramid_sizes((8, 8), 0, 2), "one halving or more"),
        (lambda: pyramid_sizes((64,), 1, 2), r"got data of shape \(64,\)"),
        (lambda: Bottleneck([(4, 3, 3), (4, 5, 5)], 2, 2), "of one height and width"),
        (lambda: Bottleneck(6, 2, 2, norm_groups=4), "norm_groups is 4 for 6 channels"),
        (lambda: Bottleneck(4, 2, 2, norm_groups=4), "equal parts of two or more"),
    ],
)
def test_mistakes_are_named(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
