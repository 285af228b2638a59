"""log p of counts and its written-out derivatives, against scipy and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch

from lowerbound.likelihoods.quick_negative_binomial import digamma, log_negative_binomial

X = torch.tensor([[0.0, 1.0, 7.0, 300.0], [2.0, 0.0, 1.0, 40.0]], dtype=torch.float64)


def _parameters(shape: tuple[int, ...] = (4,)) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    log_mean = torch.randn(2, 4, generator=g, dtype=torch.float64) + torch.tensor([-3.0, 0.0, 2.0, 4.0]).double()
    return log_mean.requires_grad_(), torch.randn(shape, generator=g, dtype=torch.float64).requires_grad_()


def test_value_is_that_of_scipy() -> None:
    log_mean, log_r = _parameters()
    m, r = log_mean.detach().exp().numpy(), log_r.detach().exp().numpy()
    exact = scipy.stats.nbinom.logpmf(X.numpy(), r, r / (r + m))
    np.testing.assert_allclose(log_negative_binomial(X, log_mean, log_r).detach(), exact, rtol=1e-12)
    single = log_negative_binomial(X.float(), log_mean.float(), log_r.float()).detach()
    np.testing.assert_allclose(single, exact, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("shape", [(4,), (2, 4), (2, 1), ()])
def test_derivatives_are_those_of_finite_differences(shape: tuple[int, ...]) -> None:
    assert torch.autograd.gradcheck(
        lambda m, r: log_negative_binomial(X, m, r), _parameters(shape), rtol=1e-6, atol=1e-6
    )


def test_samples_in_front_have_gradients_of_their_own() -> None:
    log_mean, log_r = _parameters()
    several = log_mean.detach().expand(3, 2, 4).clone().requires_grad_()
    together = torch.autograd.grad(log_negative_binomial(X, several, log_r).sum(), [several, log_r])
    alone = torch.autograd.grad(log_negative_binomial(X, log_mean, log_r).sum(), [log_mean, log_r])
    torch.testing.assert_close(together[0], alone[0].expand(3, 2, 4))
    torch.testing.assert_close(together[1], 3 * alone[1])


def test_digamma_is_that_of_scipy() -> None:
    a = torch.logspace(-8, 6, 400, dtype=torch.float64)
    np.testing.assert_allclose(digamma(a), scipy.special.digamma(a.numpy()), rtol=3e-9, atol=3e-9)
    single = torch.logspace(-4, 5, 300)
    np.testing.assert_allclose(digamma(single), scipy.special.digamma(single.double().numpy()), rtol=3e-6, atol=3e-6)


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
def test_it_is_the_same_under_transforms() -> None:
    log_mean, log_r = _parameters()
    expected = log_negative_binomial(X, log_mean, log_r)
    compiled = torch.compile(log_negative_binomial, backend="eager")(X, log_mean, log_r)
    torch.testing.assert_close(compiled, expected)

    def of_row(x: torch.Tensor, m: torch.Tensor, r: torch.Tensor) -> torch.Tensor:
        return log_negative_binomial(x, m, r).sum()

    each = torch.func.vmap(torch.func.grad(of_row, argnums=(1, 2)), in_dims=(0, 0, None))(X, log_mean, log_r)
    whole = torch.autograd.grad(expected.sum(), [log_mean, log_r])
    torch.testing.assert_close(each[0], whole[0])
    torch.testing.assert_close(each[1].sum(0), whole[1])
