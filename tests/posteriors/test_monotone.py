"""The scalar equation is solved to round-off everywhere, and its root has the derivatives of an implicit function."""

from __future__ import annotations

import pytest
import torch

from lowerbound.posteriors.monotone import attach_root, sech_squared, solve_scalar


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_root_solves_the_equation_over_twelve_orders_of_magnitude(dtype: torch.dtype) -> None:
    c = torch.cat([torch.logspace(-3, 6, 40), -torch.linspace(0, 0.999, 40), torch.zeros(1)]).to(dtype)
    a = torch.logspace(-6, 3, 60, dtype=dtype)
    a = torch.cat([-a, a, torch.zeros(1, dtype=dtype)])[:, None]
    t = a + c * a.tanh()
    root = solve_scalar(t, c)
    residual = (root + c * root.tanh() - t).abs()
    assert (residual <= 8 * torch.finfo(dtype).eps * (t.abs() + c.abs() + root.abs())).all()


def test_root_is_the_one_it_was_made_from() -> None:
    a = torch.linspace(-4, 4, 101, dtype=torch.float64)[:, None]
    c = torch.tensor([-0.99, -0.5, 0.0, 2.0, 50.0], dtype=torch.float64)
    torch.testing.assert_close(solve_scalar(a + c * a.tanh(), c), a.expand(-1, 5), rtol=0, atol=1e-9)


def root_of(t: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
    return attach_root(solve_scalar(t, c), lambda a: a + c * a.tanh() - t, lambda a, r: r / (1 + c * sech_squared(a)))


def test_first_and_second_derivatives_are_those_of_the_root() -> None:
    t = torch.linspace(-2, 3, 6, dtype=torch.float64).requires_grad_()
    c = torch.tensor([-0.9, -0.2, 0.0, 1.0, 5.0, -0.5], dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(root_of, (t, c))
    assert torch.autograd.gradgradcheck(root_of, (t, c))


def test_the_value_of_the_root_is_untouched() -> None:
    t, c = torch.randn(50), torch.rand(50) - 0.9
    assert torch.equal(root_of(t, c), solve_scalar(t, c))
