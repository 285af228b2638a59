"""The end of every check: an `AssertionError` with a sentence."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["require", "require_close"]


def require(condition: bool, message: str) -> None:
    """Raise an `AssertionError` with the message unless the condition holds."""
    if not condition:
        raise AssertionError(message)


def require_close(got: Tensor, expected: Tensor, message: str) -> None:
    """Require equality to rounding: 1e-9 (float64) or 1e-4 (float32) of the largest entry."""
    if expected.numel() == 0:
        return
    tolerance = 1e-9 if expected.dtype == torch.float64 else 1e-4
    scale = 1 + expected.detach().abs().max()
    worst = float(((got - expected).detach().abs() / scale).max())
    require(worst <= tolerance, f"{message} (by {worst:.3g} of the largest entry).")
