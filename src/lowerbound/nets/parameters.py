"""How a conditional calls its net."""

from __future__ import annotations

from torch import Tensor, nn

from lowerbound.protocols import Context

__all__ = ["parameters_of"]


def parameters_of(net: nn.Module, context: Context) -> Tensor:
    """The output of the net; several tensors of context are its several arguments."""
    return net(*context) if isinstance(context, tuple) else net(context)
