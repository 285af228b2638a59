"""What a likelihood needs from its net: an output of shape (*parameter axes, *event axes) per datum.

Parameter axes come first, so that a net that ends in an image gives each parameter as an image. These functions read
the event shape from a net, call it, and find its output bias, with the same messages for every likelihood.
"""

from __future__ import annotations

from torch import Tensor, nn

from lowerbound.nets.shapes import Shape, as_shape, out_shape_of

__all__ = ["event_shape_of", "output_bias_of"]


def event_shape_of(
    net: nn.Module, event_shape: Shape | None, leading: tuple[int, ...], *, owner: str
) -> tuple[int, ...]:
    """The event shape: the output shape of `net` without its leading parameter axes.

    Arguments:
        net: states its output shape per datum in `out_shape`, unless `event_shape` is given.
        event_shape: shape of one datum, or None to read it from the net.
        leading: lengths of the parameter axes.
        owner: the likelihood, for the message.

    Raises:
        ValueError: the shape is unknown, or the output of the net is not (*leading, *event_shape).
    """
    given = None if event_shape is None else (*leading, *as_shape(event_shape))
    stated = getattr(net, "out_shape", given)
    shape = out_shape_of(net, stated, owner=owner, argument="event_shape")
    if shape[: len(leading)] != leading or (given is not None and shape != given):
        event = "*event_shape" if event_shape is None else ", ".join(map(str, as_shape(event_shape)))
        expected = ", ".join([*map(str, leading), event])
        raise ValueError(
            f"{owner} got a net of output shape {shape} and expected ({expected}); "
            f"build the net with {owner}.parameter_shape(event_shape, ...)."
        )
    return shape[len(leading) :]


def output_bias_of(net: nn.Module) -> Tensor | None:
    """The bias of the last layer, shaped like the output, if the net states it in `output_bias`."""
    return getattr(net, "output_bias", None)
