"""A scale that can neither vanish nor overflow: σ = ε + softplus(s + c), c = softplus⁻¹(1)."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn.functional import softplus

__all__ = ["positive"]

_UNIT = math.log(math.expm1(1.0))


def positive(raw: Tensor, floor: float) -> Tensor:
    """Map any real to (floor, ∞); 0 goes to 1 + floor, so that an untrained net gives scales near one."""
    return floor + softplus(raw + _UNIT)
