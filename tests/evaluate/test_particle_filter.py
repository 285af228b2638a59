"""The particle filter against exact conditioning of a linear-Gaussian model."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from lowerbound.evaluate.filtering import particle_filter
from lowerbound.models.directed import DirectedModel
from lowerbound.models.sequence import autoregressive_rows, state_space

LENGTH, DATA, STATE = 5, 2, 3


@pytest.fixture
def linear() -> DirectedModel:
    torch.manual_seed(1)
    model = state_space((LENGTH, DATA), latent_dim=STATE, hidden=[], recurrent_dim=4).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.5)
    return model


def affine(conditional: Any, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """(A, b, Σ) of N(A z + b, Σ)."""
    p = conditional(torch.cat([torch.zeros(1, size), torch.eye(size)]).double())
    return (p.mean[1:] - p.mean[0]).mT, p.mean[0], p.variance[0].diag()


def of_the_series(model: DirectedModel) -> tuple[Tensor, Tensor]:
    """Mean (T D) and covariance of x, from its definition."""
    chain, emission = (node.conditional for node in model.order)
    transition: tuple[Tensor, Tensor, Tensor] = affine(chain.transition, STATE)  # type: ignore[attr-defined]
    step, shift, noise = transition
    to_data, data_shift, data_noise = affine(emission.step, STATE)  # type: ignore[attr-defined]
    means, covariance = [torch.zeros(STATE).double()], torch.zeros(LENGTH, LENGTH, STATE, STATE).double()
    covariance[0, 0] = torch.eye(STATE)
    for t in range(1, LENGTH):
        means.append(step @ means[-1] + shift)
        for s in range(t):
            covariance[t, s] = step @ covariance[t - 1, s]
            covariance[s, t] = covariance[t, s].mT
        covariance[t, t] = step @ covariance[t - 1, t - 1] @ step.mT + noise
    of_x = torch.einsum("di,tsij,ej->tdse", to_data, covariance, to_data).reshape(LENGTH * DATA, LENGTH * DATA)
    mean = torch.stack([to_data @ m + data_shift for m in means]).flatten()
    return mean, of_x + torch.block_diag(*[data_noise] * LENGTH)


def exact_forecast(mean: Tensor, covariance: Tensor, x: Tensor, seen: int, ahead: slice) -> Tensor:
    """E[x at `ahead` | the first `seen` numbers of x] (B, numbers)."""
    gain = torch.linalg.solve(covariance[:seen, :seen], covariance[:seen, ahead]).mT
    return mean[ahead] + (x.flatten(1)[:, :seen] - mean[:seen]) @ gain.mT


@torch.no_grad()
@pytest.mark.slow
def test_forecasts_and_evidence_are_those_of_exact_conditioning(linear: DirectedModel) -> None:
    x = linear.sample(6)
    mean, covariance = of_the_series(linear)
    filtered = particle_filter(linear, x, num_particles=100_000)
    for t in range(LENGTH):
        exact = exact_forecast(mean, covariance, x, t * DATA, slice(t * DATA, (t + 1) * DATA))
        torch.testing.assert_close(filtered.forecasts[:, t], exact, atol=0.1, rtol=0)
    exact_evidence = MultivariateNormal(mean, covariance).log_prob(x.flatten(1))
    torch.testing.assert_close(filtered.log_evidence, exact_evidence, atol=0.1, rtol=0)
    assert exact_evidence.std() > 0.5


@torch.no_grad()
def test_steps_that_were_not_seen_are_summed_out_and_forecast(linear: DirectedModel) -> None:
    x = linear.sample(6)
    mean, covariance = of_the_series(linear)
    cut = x.clone()
    cut[:, 2:] = torch.nan
    filtered = particle_filter(linear, cut, num_particles=100_000)
    exact = exact_forecast(mean, covariance, x, 2 * DATA, slice((LENGTH - 1) * DATA, None))
    torch.testing.assert_close(filtered.forecasts[:, -1], exact, atol=0.1, rtol=0)
    seen = MultivariateNormal(mean[: 2 * DATA], covariance[: 2 * DATA, : 2 * DATA]).log_prob(x[:, :2].flatten(1))
    torch.testing.assert_close(filtered.log_evidence, seen, atol=0.05, rtol=0)
    assert filtered.effective_sample_size[:, 3:].sub(100_000).abs().max() < 1


@torch.no_grad()
def test_the_evidence_is_unbiased_with_few_particles(linear: DirectedModel) -> None:
    x = linear.sample(1).expand(20_000, LENGTH, DATA)
    exact = MultivariateNormal(*of_the_series(linear)).log_prob(x[:1].flatten(1))
    ratio = (particle_filter(linear, x, num_particles=8).log_evidence - exact).exp()
    error = ratio.std() / len(x) ** 0.5
    assert abs(ratio.mean() - 1) < 4 * error
    assert error < 0.05


def test_the_callers_random_state_is_untouched(linear: DirectedModel) -> None:
    x = linear.sample(2)
    state = torch.get_rng_state()
    first = particle_filter(linear, x, num_particles=10)
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(first.forecasts, particle_filter(linear, x, num_particles=10).forecasts)


def test_bad_input_is_one_sentence(linear: DirectedModel) -> None:
    x = linear.sample(2)
    with pytest.raises(ValueError, match=r"got x of shape \(2, 5\) and expected \(series, steps, 2\)"):
        particle_filter(linear, x[..., 0])
    with pytest.raises(ValueError, match=r"got x of shape \(2, 0, 2\) .* one of each at least"):
        particle_filter(linear, x[:, :0])
    with pytest.raises(ValueError, match="x has infinite numbers; give finite ones"):
        particle_filter(linear, x / 0)
    with pytest.raises(ValueError, match="got num_particles=0 and needs at least 1"):
        particle_filter(linear, x, num_particles=0)
    with pytest.raises(ValueError, match="some numbers are NaN and some are not"):
        particle_filter(linear, torch.where(torch.arange(DATA) > 0, torch.nan, x))
    with pytest.raises(ValueError, match="got a graph of ChainRule and needs a MarkovChain"):
        particle_filter(autoregressive_rows((3, 2), hidden=[4], recurrent_dim=4), torch.zeros(1, 3, 2))
