"""Shapes in, shapes out, for every size; and the bias that likelihoods start from."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lowerbound.nets import MLP, Convolution, TransposedConvolution, as_shape, numel, out_shape_of, positive
from lowerbound.nets.views import BagOfTokens

SIDE = st.integers(1, 40)


@settings(deadline=None, max_examples=60)
@given(height=SIDE, width=SIDE, stages=st.integers(1, 4), channels=st.sampled_from([None, 1, 3]))
def test_convolutions_take_and_make_images_of_any_size(height, width, stages, channels):
    shape = (height, width) if channels is None else (channels, height, width)
    widths = [2] * stages
    encoder, decoder = Convolution(shape, widths, (2, 3), hidden=4), TransposedConvolution(3, widths, shape, hidden=4)
    assert encoder(torch.zeros(2, 5, *shape)).shape == (2, 5, 2, 3)
    assert decoder(torch.zeros(2, 5, 3)).shape == (2, 5, *shape)
    assert encoder.out_shape == (2, 3)
    assert decoder.out_shape == decoder.output_bias.shape == shape


def test_convolutions_see_every_pixel():
    net = Convolution((5, 6), [4, 4], 3).double()
    x = torch.zeros(1, 5, 6, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(net(x).sum(), x)
    assert (gradient != 0).all()


def test_transposed_convolutions_reach_every_pixel():
    net = TransposedConvolution(2, [8, 8], (3, 7, 6), activation=nn.Tanh).double()
    a, b = net(torch.randn(2, 2, dtype=torch.float64))
    assert (a != b).all()


def test_leading_axes_are_batch_axes():
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    net = Convolution((4, 5), [3], 2).double()
    assert torch.allclose(net(x)[1, 2], net(x[1, 2]))
    mlp = MLP((4, 5), [3], (2, 2)).double()
    assert torch.allclose(mlp(x)[1, 2], mlp(x[1, 2]))


@pytest.mark.parametrize("hidden", [[], [6], [6, 7]])
def test_mlp_is_the_composition_of_its_layers(hidden):
    net = MLP(3, hidden, (2, 2), activation=nn.Tanh).double()
    x = y = torch.randn(5, 3, dtype=torch.float64)
    linear = [layer for layer in net.layers if isinstance(layer, nn.Linear)]
    for layer in linear[:-1]:
        y = torch.tanh(y @ layer.weight.T + layer.bias)
    y = y @ linear[-1].weight.T + linear[-1].bias
    assert torch.allclose(net(x), y.view(5, 2, 2))
    assert net.output_bias.shape == (2, 2)


def test_several_inputs_are_broadcast_and_concatenated():
    net = MLP([2, (3, 4)], [], 5).double()
    z, c = torch.randn(7, 6, 2, dtype=torch.float64), torch.randn(6, 3, 4, dtype=torch.float64)
    y = net(z, c)
    weight, bias = net.layers[0].weight, net.layers[0].bias
    assert y.shape == (7, 6, 5)
    assert torch.allclose(y, z @ weight[:, :2].T + c.flatten(1) @ weight[:, 2:].T + bias)


def test_the_output_bias_is_the_parameter_itself():
    for net in (MLP(2, [3], (4, 5)), TransposedConvolution(2, [3], (4, 5))):
        before = net(torch.zeros(1, 2)).detach()
        with torch.no_grad():
            net.output_bias.add_(1)
        assert torch.allclose(net(torch.zeros(1, 2)), before + 1)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: MLP((2, 3), [], 1)(torch.zeros(5, 3, 2)), "expected"),
        (lambda: MLP([2, 3], [], 1)(torch.zeros(5, 2)), "got 1 inputs and was built for 2"),
        (lambda: Convolution((4, 4), [2], 1)(torch.zeros(5, 4, 5)), "expected"),
        (lambda: Convolution((16,), [2], 1), "use MLP"),
        (lambda: Convolution((4, 4), [], 1), "at least one stage"),
        (lambda: TransposedConvolution(2, [], (4, 4)), "at least one stage"),
        (lambda: out_shape_of(nn.Linear(2, 2), None, owner="Prior", argument="latent_dim"), "pass latent_dim="),
    ],
)
def test_refusals(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_shapes():
    assert as_shape(3) == (3,)
    assert numel((2, 3)) == 6
    assert numel(()) == 1
    assert out_shape_of(MLP(2, [], (3, 4)), None, owner="Prior", argument="x") == (3, 4)
    assert out_shape_of(nn.Linear(2, 2), 5, owner="Prior", argument="x") == (5,)


def test_positive_has_its_floor_its_unit_and_gradients():
    raw = torch.tensor([-1e4, 0.0, 1e4], requires_grad=True)
    y = positive(raw, 0.25)
    (gradient,) = torch.autograd.grad(y.sum(), raw)
    assert torch.allclose(y, torch.tensor([0.25, 1.25, 1e4]), rtol=1e-3)
    assert gradient.isfinite().all()


def test_a_bag_of_tokens_has_two_symbols_at_least():
    with pytest.raises(ValueError, match="num_symbols=-1 and expected at least 2"):
        BagOfTokens(-1)
