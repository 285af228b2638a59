"""The log link: `positive` of it is the mean times the exponential, and the start is the mean of the data."""

from __future__ import annotations

import torch
from torch import nn

from lowerbound.likelihoods import NegativeBinomial
from lowerbound.nets import MLP, positive
from lowerbound.nets.log_link import LogLink, StandardizedLog1p


def test_positive_of_it_is_the_mean_times_the_exponential() -> None:
    link = LogLink(MLP(2, [5], 3)).double()
    x = torch.tensor([[1.0, 40.0, 20_000.0], [3.0, 60.0, 0.0]]).double()
    link.initialize(x)
    z = torch.randn(7, 2).double()
    expected = x.mean(0) * (8 * torch.tanh(link.net(z) / 8)).exp()
    torch.testing.assert_close(positive(link(z), 1e-6) - 1e-6, expected)


def test_a_net_of_zeros_gives_a_negative_binomial_the_means_of_the_data() -> None:
    net = MLP(2, [5], 3)
    nn.init.zeros_(net.layers[-1].weight)
    nn.init.zeros_(net.layers[-1].bias)
    link, x = LogLink(net), torch.tensor([[0.0, 3.0, 9_000.0], [0.0, 5.0, 1.0]])
    link.initialize(x)
    means = NegativeBinomial(link)(torch.randn(4, 2)).mean
    torch.testing.assert_close(means, torch.tensor([0.01, 4.0, 4500.5]).expand(4, 3), rtol=1e-4, atol=1e-5)


def test_no_output_of_the_net_gives_an_infinite_mean() -> None:
    link = LogLink(MLP(1, [], 1))
    assert bool(link(torch.tensor([[1e9], [-1e9]])).isfinite().all())


def test_the_encoder_sees_logarithms_in_units_of_their_spread() -> None:
    seen = StandardizedLog1p(MLP(3, [], 3), (3,))
    seen.net.layers[0].weight.data.copy_(torch.eye(3))
    seen.net.layers[0].bias.data.zero_()
    x = torch.tensor([[0.0, 3.0, 9_000.0], [0.0, 5.0, 1.0], [0.0, 50.0, 7.0]])
    seen.initialize(x)
    y = seen(x)
    torch.testing.assert_close(y.mean(0), torch.zeros(3), atol=1e-6, rtol=0)
    torch.testing.assert_close(y.std(0, correction=0), torch.tensor([0.0, 1.0, 1.0]))
