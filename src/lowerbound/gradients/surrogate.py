"""Gradients added to a surrogate by hand, by which a part of an estimator trains on its own objective in the same step.

    a(η) = Σ_i ⟨η_i, sg(g_i)⟩ − sg(Σ_i ⟨η_i, g_i⟩)

has the value 0, the gradient g_i for η_i and no gradient for other parameters. A learned baseline, a control variate
that lowers the variance or a multiplier that enforces a constraint thus does not affect the gradients for θ and φ, and
conversely. The loop minimises minus the surrogate, so that η moves in the direction of g.
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
