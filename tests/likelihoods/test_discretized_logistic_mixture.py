"""The mixture of discretized logistics against the formula written out, and against summation over every image."""

import itertools

import pytest
import torch
from torch import nn

from lowerbound.likelihoods.discretized_logistic import DiscretizedLogisticDistribution
from lowerbound.likelihoods.discretized_logistic_mixture import DiscretizedLogisticMixture
from lowerbound.nets import MLP, TransposedConvolution, positive


def random_likelihood(event_shape, num_components=3, num_levels=4):
    shape = DiscretizedLogisticMixture.parameter_shape(event_shape, num_components)
    parameters = torch.randn(2, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    likelihood = DiscretizedLogisticMixture(nn.Identity(), num_components, num_levels, event_shape)
    return likelihood, parameters


def test_every_coupled_pixel_sums_to_one():
    likelihood, parameters = random_likelihood((3, 1, 1))
    levels = torch.arange(4, dtype=torch.float64) / 3
    images = torch.cartesian_prod(levels, levels, levels).view(64, 1, 3, 1, 1)
    total = likelihood(parameters).log_prob(images).exp().sum(0)
    torch.testing.assert_close(total, torch.ones(2, dtype=torch.float64), rtol=1e-12, atol=0)


def test_three_channels_follow_the_published_coupling():
    likelihood, parameters = random_likelihood((3, 2, 1))
    x = torch.tensor([[0, 1], [2, 3], [1, 1]], dtype=torch.float64).view(3, 2, 1) / 3
    red, green, blue = (2 * x - 1).squeeze(-1)
    per = parameters[1].view(3, 10, 2)  # component, number, pixel
    total = torch.zeros((), dtype=torch.float64)
    for i in range(2):
        weights, terms = per[:, 0, i].softmax(0), []
        for m in range(3):
            loc, raw, c = per[m, 1:4, i], per[m, 4:7, i], per[m, 7:10, i].tanh()
            centres = [loc[0], loc[1] + c[0] * red[i], loc[2] + c[1] * red[i] + c[2] * green[i]]
            channels = [
                DiscretizedLogisticDistribution(centre, positive(raw[j], 1e-3), 4).log_prob(x[j, i, 0])
                for j, centre in enumerate(centres)
            ]
            terms.append(weights[m] * torch.stack(channels).sum().exp())
        total += torch.stack(terms).sum().log()
    torch.testing.assert_close(likelihood(parameters).log_prob(x)[1], total)
    assert blue.shape == (2,)


@pytest.mark.parametrize("event_shape", [(2, 3), (1, 2, 3)])
def test_one_channel_is_a_plain_mixture(event_shape):
    likelihood, parameters = random_likelihood(event_shape)
    per = parameters.view(2, 3, 3, *event_shape)
    x = torch.randint(4, (5, 2, *event_shape), generator=torch.Generator().manual_seed(0)) / 3
    parts = DiscretizedLogisticDistribution(per[:, :, 1], positive(per[:, :, 2], 1e-3), 4)
    mixed = (per[:, :, 0].log_softmax(1) + parts.log_prob(x.double().unsqueeze(2))).logsumexp(2)
    p = likelihood(parameters)
    torch.testing.assert_close(p.log_prob(x.double()), mixed.flatten(2).sum(-1))
    torch.testing.assert_close(p.mean, (per[:, :, 0].softmax(1) * parts.mean).sum(1))


def test_sampled_pixels_have_their_probabilities():
    """Every one of 27 colours by a z-test: 1e-6 / 27 in each, which detects a probability wrong by 0.012."""
    likelihood, parameters = random_likelihood((3, 1, 1), num_levels=3)
    p, n = likelihood(parameters), 50_000
    draws = (2 * p.sample((n,))).flatten(2).long()
    for colour in itertools.product(range(3), repeat=3):
        k = torch.tensor(colour)
        prob = p.log_prob((k / 2).double().view(3, 1, 1)).exp()
        share = (draws == k).all(-1).double().mean(0)
        assert ((share - prob).abs() < 5.5 * (prob * (1 - prob) / n).sqrt()).all()


def test_the_mean_with_coupling_is_that_of_the_samples_when_nothing_is_clipped():
    """Narrow components in the middle of the range: the plug-in mean is exact up to rounding of the levels."""
    parameters = torch.zeros(2, 10, 1, 1, 1)
    parameters[:, 4:7] = -4.0  # narrow
    parameters[0, 1], parameters[1, 1] = 0.4, -0.3
    parameters[:, 7:] = torch.tensor([0.8, -0.5, 0.3]).view(3, 1, 1, 1)
    likelihood = DiscretizedLogisticMixture(nn.Identity(), 2, 256, (3, 1, 1))
    p = likelihood(parameters.view(20, 1, 1))
    x, n = p.sample((20_000,)), 20_000
    assert ((x.mean(0) - p.mean).abs() < 4.9 * x.std(0) / n**0.5 + 1e-3).all()


def test_values_and_gradients_are_finite_at_extreme_parameters():
    edges = torch.tensor([-200.0, -5.0, 0.0, 200.0])
    parameters = edges[torch.randint(4, (64, 20, 1, 1), generator=torch.Generator().manual_seed(0))].requires_grad_()
    likelihood = DiscretizedLogisticMixture(nn.Identity(), 2, event_shape=(3, 1, 1))
    x = torch.tensor([0, 1 / 255, 1.0])[torch.randint(3, (64, 3, 1, 1), generator=torch.Generator().manual_seed(1))]
    log_prob = likelihood(parameters).log_prob(x)
    (gradient,) = torch.autograd.grad(log_prob.sum(), parameters)
    assert log_prob.isfinite().all()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("event_shape", [(5, 4), (1, 5, 4), (2, 5, 4), (3, 5, 4)])
def test_the_event_shape_is_read_off_the_net(event_shape):
    net = TransposedConvolution(2, [4], DiscretizedLogisticMixture.parameter_shape(event_shape, 2))
    p = DiscretizedLogisticMixture(net, num_components=2)(torch.zeros(7, 2))
    assert p.event_shape == event_shape
    assert p.batch_shape == (7,)
    assert p.sample((6,)).shape == (6, 7, *event_shape)
    assert p.mean.shape == (7, *event_shape)


@pytest.mark.parametrize("event_shape", [(2, 3), (1, 2, 3), (3, 2, 3)])
def test_initialize_spreads_components_over_the_quantiles(event_shape):
    net = MLP(2, [], DiscretizedLogisticMixture.parameter_shape(event_shape, 4))
    likelihood = DiscretizedLogisticMixture(net, num_components=4)
    x = torch.linspace(0, 1, 101).view(101, *[1] * len(event_shape)).expand(101, *event_shape)
    likelihood.initialize(x)
    locs = likelihood(torch.zeros(2)).locs  # component, channel, pixel
    expected = torch.tensor([-0.75, -0.25, 0.25, 0.75])
    torch.testing.assert_close(locs, expected.view(4, 1, 1).expand_as(locs), rtol=0, atol=0.02)


def test_refuses_vectors_and_nets_of_the_wrong_shape():
    with pytest.raises(ValueError, match=r"event_shape=\(7,\) and expected an image"):
        DiscretizedLogisticMixture.parameter_shape(7)
    with pytest.raises(ValueError, match=r"output shape \(31, 8, 8\)"):
        DiscretizedLogisticMixture(MLP(2, [], (31, 8, 8)), num_components=10)
    with pytest.raises(ValueError, match=r"output shape \(30, 8, 8\) and expected \(100, 8, 8\)"):
        DiscretizedLogisticMixture(MLP(2, [], (30, 8, 8)), num_components=10, event_shape=(3, 8, 8))
    with pytest.raises(ValueError, match="num_levels=1"):
        DiscretizedLogisticMixture(MLP(2, [], (30, 8, 8)), num_levels=1)
