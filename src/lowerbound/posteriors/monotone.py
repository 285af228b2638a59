"""The inverse of A ↦ A + c tanh(A) for c > −1, and derivatives of a root without unrolling its search.

Planar and Sylvester flows have no inverse in closed form, but every one of their steps reduces to this scalar
equation.

Search. With t ≥ 0 (the map is odd) the root lies in A ≥ 0. There the map is concave for c ≥ 0 and convex for c ≤ 0,
so Newton's method started on the right side of the root (from below for c ≥ 0, from above for c ≤ 0) moves towards it
monotonically and cannot overshoot. It takes a fixed number of steps and needs neither a stopping test nor a bracket.
These starts bound the root, by tanh A ≤ min(1, A) and, on [0, 1], tanh A ≤ A − A³/5:

    c ≥ 0:  A ≥ max(t − c, t / (1 + c))        c < 0:  A ≤ min(t − c, t / (1 + c), (5 t / −c)^⅓ if that is ≤ 1)

Derivatives. Let s be a root of F(s, φ) = t, however it was found. Steps s ← s − (∂F/∂s)⁻¹ (r − sg(r)), with r = F(s, φ)
− t and sg stopping the gradient, do not change the value of s and give it the implicit derivative: one step gives the
first derivative, two steps also the second.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["attach_root", "sech_squared", "solve_scalar"]

_STEPS = 40
_TINY = 1e-30


def solve_scalar(t: Tensor, c: Tensor) -> Tensor:
    """The root A of A + c tanh(A) = t, elementwise, to round-off and without a gradient.

    Arguments:
        t: any real numbers (...).
        c: numbers (...) above −1.

    >>> solve_scalar(torch.tensor([1.0 + torch.tensor(1.0).tanh()]), torch.tensor([1.0]))
    tensor([1.])
    """
    with torch.no_grad():
        size = t.abs()
        a = torch.where(c >= 0, torch.maximum(size - c, size / (1 + c)), _upper_bound(size, c))
        for _ in range(_STEPS):
            a = a - (a + c * a.tanh() - size) / (1 + c * sech_squared(a))
        return a * t.sign()


def attach_root(
    root: Tensor, residual: Callable[[Tensor], Tensor], solve: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """A root with the derivatives of the equation it solves.

    Arguments:
        root: s with F(s, φ) = t; its own gradient is dropped.
        residual: s ↦ F(s, φ) − t, differentiable in s, φ and t.
        solve: (s, r) ↦ (∂F/∂s)⁻¹ r.

    Returns:
        s, of the same value, whose first and second derivatives along φ and t are those of the root.
    """
    s = root.detach()
    for _ in range(2):
        r = residual(s)
        s = s - solve(s, r - r.detach())
    return s


def sech_squared(a: Tensor) -> Tensor:
    """The derivative of tanh."""
    h = a.tanh()
    return (1 - h) * (1 + h)


def _upper_bound(size: Tensor, c: Tensor) -> Tensor:
    cubic = (5 * size / (-c).clamp_min(_TINY)) ** (1 / 3)
    linear = torch.minimum(size - c, size / (1 + c))
    return torch.where(cubic <= 1, torch.minimum(linear, cubic), linear)
