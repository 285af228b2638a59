import pytest
import torch

from lowerbound.nets.softplus import positive, raw_of
from lowerbound.priors.mixture_normal import MixtureNormal


def test_one_component_at_its_start_is_a_gaussian_of_unit_scale():
    prior = MixtureNormal(3, components=1, spread=0.0, min_scale=0.0)
    expected = torch.distributions.Normal(0.0, 1.0).log_prob(torch.ones(3)).sum()
    torch.testing.assert_close(prior().log_prob(torch.ones(3)), expected)


def test_the_default_start_is_spread():
    torch.manual_seed(0)
    prior = MixtureNormal(2, components=200, spread=3.0)
    assert 2.5 < prior.loc.std().item() < 3.5


def test_every_parameter_receives_a_gradient():
    torch.manual_seed(0)
    prior = MixtureNormal(2, components=4)
    prior().log_prob(torch.randn(5, 2)).sum().backward()
    assert all((p.grad != 0).any() for p in prior.parameters())


def test_latents_give_shares_means_and_spreads():
    g = torch.Generator().manual_seed(0)
    left = torch.tensor([-5.0, 0.0]) + 0.5 * torch.randn(3000, 2, generator=g)
    right = torch.tensor([5.0, 0.0]) + 0.2 * torch.randn(1000, 2, generator=g)
    prior = MixtureNormal(2, components=2)
    torch.manual_seed(0)
    prior.initialize_from_latents(torch.cat([left, right]))
    p = prior()
    order = p.loc[:, 0].argsort()
    torch.testing.assert_close(p.log_weights.exp()[order], torch.tensor([0.75, 0.25]))
    torch.testing.assert_close(p.loc[order, 0], torch.tensor([-5.0, 5.0]), rtol=0.01, atol=0)
    expected = torch.tensor([[0.5, 0.5], [0.2, 0.2]])
    torch.testing.assert_close(p.scale[order], expected, rtol=0.05, atol=0)


def test_the_variance_of_a_cluster_counts_the_pooled_one_as_one_more_point():
    prior = MixtureNormal(1, components=2).double()
    prior.initialize_from_latents(torch.tensor([[0.0], [2.0], [10.0], [14.0]]))
    p = prior()
    variance = (p.scale[p.loc[:, 0].argsort(), 0] ** 2).detach()  # residuals 1, 1, 4, 4: pooled 2.5
    expected = torch.tensor([(2 + 2.5) / 3, (8 + 2.5) / 3], dtype=torch.float64)
    torch.testing.assert_close(variance, expected)


def test_a_cluster_of_one_code_does_not_start_at_the_floor():
    latents = torch.cat([torch.randn(100, 1, generator=torch.Generator().manual_seed(0)), torch.tensor([[50.0]])])
    prior = MixtureNormal(1, components=2)
    torch.manual_seed(0)
    prior.initialize_from_latents(latents)
    alone = prior().loc[:, 0].argmax()
    assert prior().scale[alone].item() > 0.3


@pytest.mark.parametrize("scale", [0.011, 0.5, 1.0, 40.0, 500.0])
def test_raw_of_is_the_inverse_of_positive(scale):
    value = torch.tensor(scale, dtype=torch.float64)
    torch.testing.assert_close(positive(raw_of(value, 0.01), 0.01), value)


def test_a_state_dict_restores_it():
    torch.manual_seed(0)
    first, second = MixtureNormal(2, components=5), MixtureNormal(2, components=5)
    second.load_state_dict(first.state_dict())
    z = torch.randn(7, 2)
    torch.testing.assert_close(first().log_prob(z), second().log_prob(z))


def test_no_component_is_refused():
    with pytest.raises(ValueError, match="components=0"):
        MixtureNormal(2, components=0)
