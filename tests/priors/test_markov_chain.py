"""Chains of states against one big Gaussian, and against enumeration."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from lowerbound import likelihoods, priors
from lowerbound.nets import MLP
from lowerbound.priors.markov_chain import MarkovChain, MarkovChainDistribution
from lowerbound.testing.conditionals import check_conditional

LENGTH, DIM = 4, 2


@pytest.fixture
def chain() -> MarkovChain:
    torch.manual_seed(0)
    transition = likelihoods.Normal(MLP(DIM, [], DIM), scale="per-dimension")
    chain = MarkovChain(priors.StandardNormal(DIM), transition, LENGTH).double()
    with torch.no_grad():
        for parameter in chain.parameters():
            parameter.copy_(torch.randn_like(parameter))
    return chain


def joint_of(chain: MarkovChain) -> MultivariateNormal:
    """z_1 ~ N(0, I), z_t = A z_{t−1} + b + σ ε: its mean and covariance, block by block."""
    layer = chain.transition.net.layers[0]  # type: ignore[attr-defined]
    a, b = layer.weight.detach(), layer.bias.detach()
    sigma = chain.transition(torch.zeros(DIM).double()).base_dist.scale.detach()  # type: ignore[attr-defined]
    means, blocks = [torch.zeros(DIM).double()], {(0, 0): torch.eye(DIM).double()}
    for t in range(1, LENGTH):
        means.append(a @ means[-1] + b)
        for s in range(t):
            blocks[t, s] = a @ blocks[t - 1, s]
            blocks[s, t] = blocks[t, s].mT
        blocks[t, t] = a @ blocks[t - 1, t - 1] @ a.mT + torch.diag(sigma**2)
    rows = [torch.cat([blocks[t, s] for s in range(LENGTH)], 1) for t in range(LENGTH)]
    return MultivariateNormal(torch.cat(means), torch.cat(rows))


def test_density_is_that_of_the_big_gaussian(chain: MarkovChain) -> None:
    z = torch.randn(3, 5, LENGTH, DIM, dtype=torch.float64)
    torch.testing.assert_close(chain().log_prob(z).detach(), joint_of(chain).log_prob(z.flatten(-2)))


def test_samples_have_its_moments(chain: MarkovChain) -> None:
    size, exact = 50_000, joint_of(chain)
    z = chain().sample((size,)).flatten(1)
    scale = exact.covariance_matrix.diagonal().sqrt()
    assert bool(((z.mean(0) - exact.mean).abs() < 6 * scale / size**0.5).all())
    error = (torch.cov(z.mT) - exact.covariance_matrix) / torch.outer(scale, scale)
    assert error.abs().max() < 6 * (2 / size) ** 0.5


def test_it_is_a_prior_like_others(chain: MarkovChain) -> None:
    check_conditional(chain)


def test_the_last_state_differentiates_through_all_before_it(chain: MarkovChain) -> None:
    z = chain().rsample((1,))
    layer = chain.transition.net.layers[0]  # type: ignore[attr-defined]
    (gradient,) = torch.autograd.grad(z[0, -1].sum(), layer.bias)
    a, power, exact = layer.weight.detach(), torch.eye(DIM).double(), torch.zeros(DIM).double()
    for _ in range(LENGTH - 1):
        exact, power = exact + power.sum(0), power @ a
    torch.testing.assert_close(gradient, exact)


def test_discrete_states_sum_to_one() -> None:
    transition = likelihoods.Bernoulli(MLP(1, [3], 1))
    p = MarkovChain(priors.Bernoulli(1), transition, 3).double()()
    z = torch.tensor(list(itertools.product([0.0, 1.0], repeat=3)), dtype=torch.float64)[..., None]
    assert p.log_prob(z).exp().sum().item() == pytest.approx(1, abs=1e-12)
    assert not p.has_rsample
    assert p.support.is_discrete
    with pytest.raises(NotImplementedError, match="use sample"):
        p.rsample()


def test_a_chain_of_one_state_is_its_initial_state() -> None:
    p = MarkovChain(priors.StandardNormal(2), likelihoods.Normal(MLP(2, [], 2)), 1)()
    z: Tensor = p.sample((7,))
    torch.testing.assert_close(p.log_prob(z), priors.StandardNormal(2)().log_prob(z[:, 0]))


def test_mistakes_are_named(chain: MarkovChain) -> None:
    with pytest.raises(ValueError, match="length=0 and needs at least 1"):
        MarkovChain(priors.StandardNormal(2), chain.transition, 0)
    with pytest.raises(ValueError, match=r"event shape \(4, 2\) got z of shape \(3, 5, 2\)"):
        chain().log_prob(torch.zeros(3, 5, 2).double())
    batched = likelihoods.Normal(MLP(2, [], 2))(torch.zeros(6, 2))
    with pytest.raises(ValueError, match=r"batch shape \(6,\) and expected \(\)"):
        MarkovChainDistribution(batched, chain.transition, 2)
