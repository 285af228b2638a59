import itertools

import pytest
import torch
from torch.distributions import kl_divergence

from lowerbound.priors.bernoulli import Bernoulli
from lowerbound.priors.boltzmann import RBM, BoltzmannDistribution
from lowerbound.priors.boltzmann_partition import (
    Population,
    _resample_if_degenerate,
    advance,
    energy,
)

F64 = torch.float64


def states(size):
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=size)), dtype=F64)


def made(latent_dim=7, scale=1.0, seed=0, **options):
    """A machine with strong couplings."""
    rbm = RBM(latent_dim, **options).double()
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in rbm.parameters():
            p.copy_(scale * torch.randn(p.shape, dtype=F64, generator=g))
    return rbm


def brute_force_log_partition(rbm):
    """Over all 2^D states, straight from the formula."""
    z = states(len(rbm.left_bias) + len(rbm.right_bias))
    left, right = z[:, : len(rbm.left_bias)], z[:, len(rbm.left_bias) :]
    bias = torch.cat([rbm.left_bias, rbm.right_bias])
    return torch.logsumexp(z @ bias + torch.einsum("si,ij,sj->s", left, rbm.weight, right), 0)


@pytest.mark.parametrize("latent_dim", [2, 7, 8])
def test_probabilities_sum_to_one(latent_dim):
    rbm = made(latent_dim)
    assert rbm().log_prob(states(latent_dim)).exp().sum().item() == pytest.approx(1, abs=1e-12)
    torch.testing.assert_close(rbm().log_partition(), brute_force_log_partition(rbm))


def test_the_larger_side_may_be_the_left_one():
    rbm = made(7)
    swapped = BoltzmannDistribution(rbm.theta.transposed())
    torch.testing.assert_close(swapped.log_partition(), rbm().log_partition())
    torch.manual_seed(0)
    z = swapped.sample(torch.Size((20_000,)))
    p = swapped.log_prob(states(7)).exp().detach()
    torch.testing.assert_close(z.mean(0), p @ states(7), atol=0.02, rtol=0)


def test_without_couplings_it_is_a_factorised_bernoulli():
    rbm, factorised = made(6), Bernoulli(6).double()
    with torch.no_grad():
        rbm.weight.zero_()
        factorised.logits.copy_(torch.cat([rbm.left_bias, rbm.right_bias]))
    z = states(6)
    torch.testing.assert_close(rbm().log_prob(z), factorised().log_prob(z))


def test_the_exact_gradient_is_that_of_brute_force():
    rbm = made(7)
    z = states(7)[[3, 90]]
    exact = torch.autograd.grad(rbm().log_prob(z).sum(), list(rbm.parameters()))
    left, right = z[:, :3], z[:, 3:]
    score = z @ torch.cat([rbm.left_bias, rbm.right_bias])
    score = score + ((left @ rbm.weight) * right).sum(-1)
    expected = torch.autograd.grad((score - brute_force_log_partition(rbm)).sum(), list(rbm.parameters()))
    for got, want in zip(exact, expected, strict=True):
        torch.testing.assert_close(got, want)


@pytest.mark.parametrize("exact_limit", [20, 0])
def test_samples_follow_the_density(exact_limit):
    rbm = made(6, scale=0.7, exact_limit=exact_limit, chains=4000)
    if exact_limit == 0:
        rbm.anneal(num_chains=8000, num_temperatures=200)
    torch.manual_seed(0)
    z = rbm().sample(torch.Size((100, 200)))
    assert z.shape == (100, 200, 6)
    count = (z.flatten(0, 1)[:, None] == states(6)).all(-1).double().mean(0)
    p = torch.softmax(made(6, scale=0.7)().log_prob(states(6)), 0).detach()
    assert float((count - p).abs().sum()) / 2 < (0.03 if exact_limit else 0.06)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_annealing_agrees_with_enumeration_within_its_error(seed):
    rbm = made(10, seed=seed)
    estimate = rbm.anneal(num_chains=2000, num_temperatures=200, seed=seed)
    exact = brute_force_log_partition(rbm).item()
    assert 0 < estimate.standard_error < 0.1
    assert abs(estimate.value - exact) < 5 * estimate.standard_error


def test_annealing_with_few_temperatures_is_still_unbiased_for_z_and_says_it_is_worse():
    rbm = made(10)
    rough = rbm.anneal(num_chains=4000, num_temperatures=2)
    fine = rbm.anneal(num_chains=4000, num_temperatures=200)
    assert rough.standard_error > 2 * fine.standard_error
    assert abs(rough.value - brute_force_log_partition(rbm).item()) < 5 * rough.standard_error


def test_annealing_leaves_the_random_state_alone_and_depends_on_its_seed():
    rbm = made(6)
    torch.manual_seed(3)
    expected = torch.rand(())
    torch.manual_seed(3)
    first = rbm.anneal(num_chains=50, num_temperatures=5, seed=1)
    assert torch.equal(torch.rand(()), expected)
    assert first == rbm.anneal(num_chains=50, num_temperatures=5, seed=1)
    assert first != rbm.anneal(num_chains=50, num_temperatures=5, seed=2)


def test_chains_start_from_a_known_partition_function():
    torch.manual_seed(0)
    rbm = RBM(8, exact_limit=0, chains=2000).double()
    rbm.eval()
    assert rbm().log_partition().item() == pytest.approx(brute_force_log_partition(rbm).item(), abs=0.01)


def test_the_gradient_of_the_chains_is_that_of_the_exact_log_partition():
    exact = made(8, scale=0.7)
    chains = made(8, scale=0.7, exact_limit=0, chains=40_000)
    chains.anneal(num_chains=40_000, num_temperatures=100)
    chains.eval()
    z = states(8)[[3, 200]]
    want = torch.autograd.grad(exact().log_prob(z).mean(), list(exact.parameters()))
    got = torch.autograd.grad(chains().log_prob(z).mean(), list(chains.parameters()))
    for a, b in zip(got, want, strict=True):  # a moment of a binary variable: σ ≤ ½
        torch.testing.assert_close(a, b, atol=6 * 0.5 / 40_000**0.5, rtol=0)


def test_value_and_gradient_of_the_chains_are_one_function():
    rbm = made(6, exact_limit=0, chains=64)
    rbm.eval()
    z = states(6)[:5]
    names = [name for name, _ in rbm.named_parameters()]

    def log_p(*values):
        return torch.func.functional_call(rbm, dict(zip(names, values, strict=True))).log_prob(z)

    inputs = tuple(p.detach().clone().requires_grad_() for p in rbm.parameters())
    assert torch.autograd.gradcheck(log_p, inputs)


def fit(rbm, target, steps):
    """Maximum likelihood on samples of another machine."""
    optimizer = torch.optim.SGD(rbm.parameters(), lr=0.05)
    for _ in range(steps):
        z = target().sample(torch.Size((256,)))
        optimizer.zero_grad()
        (-rbm().log_prob(z).mean()).backward()
        optimizer.step()


def test_chains_follow_training_and_track_log_z():
    target = made(8, seed=4)
    torch.manual_seed(0)
    rbm = RBM(8, exact_limit=0, chains=1000).double()
    fit(rbm, target, 400)
    with torch.no_grad():
        before = float(kl_by_enumeration(target, Bernoulli(8).double()))
        tracked, exact = rbm().log_partition().item(), brute_force_log_partition(rbm).item()
        after = float(kl_by_enumeration(target, rbm))
    assert float(rbm.weight.detach().abs().max()) > 0.5  # it moved far from where Z was known
    assert tracked == pytest.approx(exact, abs=0.1)
    assert after < 0.3 * before


def kl_by_enumeration(p, q):
    z = states(8)
    log_p, log_q = p().log_prob(z), torch.log_softmax(q().log_prob(z), 0)
    return (log_p.exp() * (log_p - log_q)).sum()


def test_chains_move_in_training_only():
    rbm = made(6, exact_limit=0, chains=16)
    start = rbm.a.clone()
    with torch.no_grad():
        rbm()
    rbm.eval()
    rbm()
    assert torch.equal(rbm.a, start)
    rbm.train()
    rbm()
    assert not torch.equal(rbm.a, start)


def test_the_chains_are_saved_and_may_move_before_backward():
    first, second = (made(6, exact_limit=0, chains=16, seed=s) for s in (0, 1))
    p = first()
    first()  # a second call must not spoil the graph of the first
    p.log_prob(states(6)).sum().backward()
    second.load_state_dict(first.state_dict())
    first.eval(), second.eval()
    torch.testing.assert_close(first().log_partition(), second().log_partition())


def test_sweeps_take_chains_from_anywhere_to_the_density_and_keep_their_shares():
    rbm = made(6, scale=0.7)
    zeros = Population(torch.zeros(4000, 6, dtype=F64), torch.zeros(4000, dtype=F64))
    theta = rbm._constants()
    moved = advance(theta, zeros, sweeps=30)
    torch.testing.assert_close(moved.a - energy(theta, moved.z), torch.zeros(4000, dtype=F64))
    p = rbm().log_prob(states(6)).exp().detach()
    torch.testing.assert_close(moved.z.mean(0), p @ states(6), atol=0.05, rtol=0)


def test_resampling_keeps_the_estimate():
    torch.manual_seed(0)
    z, share = torch.rand(100, 3, dtype=F64), 4 * torch.randn(100, dtype=F64)
    chosen, even = _resample_if_degenerate(z, share)
    torch.testing.assert_close(torch.logsumexp(even, 0), torch.logsumexp(share, 0))
    assert float(even.std()) == pytest.approx(0, abs=1e-12)
    weighted = torch.softmax(share, 0) @ z
    torch.testing.assert_close(chosen.mean(0), weighted, atol=0.05, rtol=0)
    flat = torch.zeros(100, dtype=F64)
    kept, same = _resample_if_degenerate(z, flat)
    assert torch.equal(kept, z)
    assert torch.equal(same, flat)


def test_relaxed_latents_have_a_derivative():
    rbm = made(6)
    z = torch.full((6,), 0.5, dtype=F64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: rbm().log_prob(v), (z,))


def test_large_machines_need_no_enumeration():
    rbm = RBM(200, chains=8)
    log_p = rbm().log_prob(torch.zeros(3, 5, 200))
    assert log_p.shape == (3, 5)
    log_p.sum().backward()
    assert rbm.weight.grad.isfinite().all()
    assert rbm().sample(torch.Size((2, 3))).shape == (2, 3, 200)


def test_errors_say_what_to_do():
    with pytest.raises(ValueError, match="latent_shape=1"):
        RBM(1)
    with pytest.raises(ValueError, match="chains=1"):
        RBM(4, chains=1)
    with pytest.raises(ValueError, match="at least the number of persistent chains, 16"):
        RBM(4, exact_limit=0, chains=16).anneal(num_chains=8)
    with pytest.raises(NotImplementedError):
        kl_divergence(RBM(4)(), RBM(4)())
