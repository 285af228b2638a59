"""Nets as tutorials write them, under a likelihood: each datum by itself, whatever the axes in front of z."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lowerbound.likelihoods import Bernoulli, Normal
from lowerbound.nets import MLP, PerDatum

LATENT_DIM = 4


class TutorialDecoder(nn.Module):
    """The decoder of a hundred tutorials, but for its size."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(LATENT_DIM, 8 * 2 * 2)
        self.conv = nn.ConvTranspose2d(8, 1, 4, stride=2, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        return self.conv(self.linear(z).relu().view(-1, 8, 2, 2))


class Attends(nn.Module):
    """z as two tokens that attend to each other."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(2, 1, batch_first=True)
        self.out = nn.Linear(LATENT_DIM, 16)

    def forward(self, z: Tensor) -> Tensor:
        tokens = z.unflatten(-1, (2, 2))
        return self.out(self.attention(tokens, tokens, tokens)[0].flatten(1)).view(-1, 1, 4, 4)


class Normalises(nn.Module):
    """Groups of channels are normalised for each datum."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(LATENT_DIM, 8 * 4 * 4), nn.GroupNorm(2, 8)
        self.conv = nn.Conv2d(8, 1, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        return self.conv(self.norm(self.linear(z).view(-1, 8, 4, 4)))


@pytest.mark.parametrize("net", [TutorialDecoder, Attends, Normalises])
def test_a_row_has_the_density_alone_that_it_has_in_a_batch(net) -> None:
    torch.manual_seed(0)
    likelihood = Bernoulli(net(), (1, 4, 4)).double()
    z, x = torch.randn(3, 5, LATENT_DIM).double(), torch.rand(5, 1, 4, 4).round().double()
    together = likelihood(z).log_prob(x)
    assert together.shape == (3, 5)
    for s in range(3):
        for b in range(5):
            alone = likelihood(z[s : s + 1, b : b + 1]).log_prob(x[b : b + 1])
            torch.testing.assert_close(alone[0, 0], together[s, b])


def test_inputs_are_broadcast_to_the_same_axes_in_front() -> None:
    class Both(nn.Module):
        def forward(self, z: Tensor, c: Tensor) -> Tensor:
            assert z.ndim == c.ndim == 2
            return torch.cat([z, c], 1)

    z, c = torch.randn(3, 5, 2), torch.randn(5, 1)
    expected = torch.cat([z, c.expand(3, 5, 1)], -1)
    assert torch.equal(Normal(Both(), 1.0, 3)((z, c)).mean, expected)
    assert torch.equal(PerDatum(Both(), [2, 1], 3)(z, c), expected)


def test_an_image_as_context_needs_its_shape_said() -> None:
    class Both(nn.Module):
        def forward(self, z: Tensor, image: Tensor) -> Tensor:
            return z + image.flatten(1).sum(1, keepdim=True)

    z, image = torch.randn(3, 5, 2), torch.ones(5, 4, 4)
    with pytest.raises(ValueError, match=r"wrap it in nets.PerDatum\(net, in_shapes, out_shape\)"):
        Normal(Both(), 1.0, 2)((z, image))
    torch.testing.assert_close(Normal(PerDatum(Both(), [2, (4, 4)], 2), 1.0)((z, image)).mean, z + 16)


def test_nets_that_take_axes_in_front_are_given_them() -> None:
    seen = []
    net = MLP(2, [], 3)
    net.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape))
    Normal(net, 1.0)(torch.zeros(3, 5, 2))
    assert seen == [(3, 5, 2)]


def test_the_shape_of_the_output_is_named_where_it_is_another() -> None:
    with pytest.raises(ValueError, match=r"gave \(15, 1, 4, 4\) .* expected to give \(15, 4, 4\)"):
        Bernoulli(TutorialDecoder(), (4, 4))(torch.zeros(3, 5, LATENT_DIM))
    with pytest.raises(ValueError, match=r"expected \(\.\.\., 4\)"):
        PerDatum(TutorialDecoder(), 4, (1, 4, 4))(torch.zeros(5, 3))
    with pytest.raises(ValueError, match="got 2 inputs and was made for 1"):
        PerDatum(TutorialDecoder(), 4, (1, 4, 4))(torch.zeros(5, 4), torch.zeros(5, 4))
