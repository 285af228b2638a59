"""log Γ and its derivative against scipy."""

import numpy as np
import pytest
import scipy.special
import torch

from lowerbound.likelihoods.log_gamma import digamma, log_gamma


def test_value_and_derivative_are_those_of_scipy() -> None:
    a = torch.logspace(-8, 6, 400, dtype=torch.float64, requires_grad=True)
    value = log_gamma(a)
    (slope,) = torch.autograd.grad(value.sum(), a)
    points = a.detach().numpy()
    np.testing.assert_allclose(value.detach(), scipy.special.gammaln(points), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(slope, scipy.special.digamma(points), rtol=3e-9, atol=3e-9)


def test_it_is_exact_in_single_precision_and_can_be_derived_twice() -> None:
    a = torch.logspace(-4, 5, 300)
    np.testing.assert_allclose(digamma(a), scipy.special.digamma(a.double().numpy()), rtol=3e-6, atol=3e-6)
    assert torch.autograd.gradgradcheck(log_gamma, torch.rand(5, dtype=torch.float64, requires_grad=True) + 0.5)


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
@pytest.mark.parametrize("function", [torch.vmap, torch.compile])
def test_it_is_the_same_under_transforms(function) -> None:
    a = torch.rand(3, 4) + 0.1
    graph = {"backend": "eager"} if function is torch.compile else {}
    torch.testing.assert_close(function(log_gamma, **graph)(a), torch.lgamma(a))
