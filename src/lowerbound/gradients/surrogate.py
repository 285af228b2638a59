"""Gradients put into a surrogate by hand: how a part of an estimator trains on its own objective in the same step.

    a(η) = Σ_i ⟨η_i, sg(g_i)⟩ − sg(Σ_i ⟨η_i, g_i⟩)

has the value 0 and the gradient g_i for η_i, and touches no other parameter: a baseline that learns to predict, a
control variate that lowers the variance, a multiplier that enforces a constraint cannot leak into θ and φ, nor they
into it. The loop minimises minus the surrogate, so g is the direction in which η is to move.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["attached"]


def attached(tensors: Sequence[Tensor], gradients: Sequence[Tensor]) -> Float[Tensor, ""]:
    """Zero, with a given gradient for each tensor.

    Arguments:
        tensors: parameters, or intermediate results through which the gradient is to flow on.
        gradients: one of the same shape for each.

    >>> eta = torch.ones(2, requires_grad=True)
    >>> zero = attached([eta], [torch.tensor([3.0, 4.0])])
    >>> zero.item(), torch.autograd.grad(zero, eta)[0].tolist()
    (0.0, [3.0, 4.0])
    """
    total = torch.stack([(t * g.detach()).sum() for t, g in zip(tensors, gradients, strict=True)]).sum()
    return total - total.detach()
