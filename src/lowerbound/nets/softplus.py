"""A scale that can neither vanish nor overflow: σ = ε + softplus(s + c), c = softplus⁻¹(1)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import softplus

__all__ = ["positive", "raw_of"]

_UNIT = math.log(math.expm1(1.0))


def positive(raw: Tensor, floor: float) -> Tensor:
    """Map any real to (floor, ∞); 0 goes to 1 + floor, so that an untrained net gives scales near one.

    Raises:
        ValueError: a floor below 0, from which scales would be negative.
    """
    if not 0 <= floor < math.inf:
        raise ValueError(f"The smallest scale is {floor} and must be a finite number, 0 or more.")
    return floor + softplus(raw + _UNIT)


def raw_of(value: Tensor, floor: float) -> Tensor:
    """The inverse of `positive`: the real number that `positive` maps to `value` > `floor`.

    >>> positive(raw_of(torch.tensor(2.5), 0.5), 0.5)
    tensor(2.5000)
    """
    above = (value - floor).clamp(min=torch.finfo(value.dtype).eps)
    return above + torch.log(-torch.expm1(-above)) - _UNIT
