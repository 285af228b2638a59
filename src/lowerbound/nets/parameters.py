"""How a conditional calls its net.

Under autocast a net computes in bfloat16 or half precision, where log p of an image would be rounded to 0.5 nats and
more. Its output is the last such number: here it becomes float32, and the arithmetic of the distribution stays there.
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
        context: a batch of rows; or, for a likelihood, latents (..., latent_dim) and what else it is given.
        out_shape: given by a likelihood: what its net gives per datum. A net that does not say that it
            `takes_leading_axes` is then called with one axis in front of vectors.

    Raises:
        ValueError: another output than `out_shape`, of such a net.
    """
    inputs = context if isinstance(context, tuple) else (context,)
    if out_shape is None or takes_leading_axes(net):
        return call_net(net, inputs)
    return call_per_datum(net, inputs, [1] * len(inputs), out_shape)
