"""How a conditional calls its net.

Under autocast a net computes in bfloat16 or half precision, where log p of an image would be rounded to 0.5 nats and
more. Its output is the last such number: here it becomes float32, and the arithmetic of the distribution stays there.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lowerbound.protocols import Context

__all__ = ["parameters_of"]

_LOW = (torch.bfloat16, torch.float16)


def parameters_of(net: nn.Module, context: Context) -> Tensor:
    """The output of the net, in float32 or better; several tensors of context are its several arguments."""
    parameters = net(*context) if isinstance(context, tuple) else net(context)
    return parameters.float() if parameters.dtype in _LOW else parameters
