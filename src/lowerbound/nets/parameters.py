"""How a conditional calls its net.

Under autocast a net computes in bfloat16 or half precision, where log p of an image would be rounded to 0.5 nats and
more. The output is converted to float32 here, and the arithmetic of the distribution remains in float32.
"""

from __future__ import annotations

from torch import Tensor, nn

from lowerbound.nets.per_datum import call_per_datum, takes_leading_axes
from lowerbound.nets.precision import call_net
from lowerbound.protocols import Context

__all__ = ["parameters_of"]


def parameters_of(net: nn.Module, context: Context, out_shape: tuple[int, ...] | None = None) -> Tensor:
    """The output of the net, in float32 or better; several tensors of context are its several arguments.

    Arguments:
        net: any module.
        context: a batch of rows; or, for a likelihood, latents (..., latent_dim) and a context.
        out_shape: for a likelihood: the output shape of its net per datum. A net without `takes_leading_axes` is then
            called with one axis in front of vectors.

    Raises:
        ValueError: the output of such a net does not have this shape.
    """
    inputs = context if isinstance(context, tuple) else (context,)
    if out_shape is None or takes_leading_axes(net):
        return call_net(net, inputs)
    return call_per_datum(net, inputs, [1] * len(inputs), out_shape)
