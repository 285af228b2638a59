"""Nets that were not made for latents with a sample axis: fold the leading axes, call the net, unfold.

A likelihood is evaluated at latents (S, B, d), samples first. A net of this library takes any axes in front and says so
by `takes_leading_axes`. Any other net is called with one such axis, as torch's own modules expect, and its output gets
the axes back:

    (S, B, *event)  →  (S·B, *event)  →  net  →  (S·B, *out_shape)  →  (S, B, *out_shape)

so that convolutions work unchanged and attention attends within one z. Several inputs are broadcast to the same axes in
front first.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from lowerbound.nets.precision import call_net
from lowerbound.nets.shapes import Shape, as_shape

__all__ = ["PerDatum", "TakesLeadingAxes", "call_per_datum", "takes_leading_axes"]


@runtime_checkable
class TakesLeadingAxes(Protocol):
    """A net that maps (..., *event) to (..., *out_shape) for any number of axes in front, if `takes_leading_axes` is
    True.
    """

    takes_leading_axes: bool


class PerDatum(nn.Module):
    """A net that is called with one axis in front of its inputs, for any leading axes of these.

    A likelihood does this automatically for a net that reads a vector z. Wrap a net yourself if its inputs are no
    vectors: feature maps as latents, or an image as context besides z.

    Arguments:
        net: from inputs (N, *in_shape) to (N, *out_shape).
        in_shape: event shape of the input; a list of shapes for a net of several inputs.
        out_shape: what the net gives per datum.

    Raises:
        ValueError: (when called) an input or an output of another shape.

    >>> decoder = nn.Sequential(nn.Unflatten(1, (2, 1, 1)), nn.Upsample(scale_factor=4), nn.Conv2d(2, 1, 3, padding=1))
    >>> PerDatum(decoder, 2, (1, 4, 4))(torch.zeros(5, 7, 2)).shape
    torch.Size([5, 7, 1, 4, 4])
    """

    takes_leading_axes: bool = True

    def __init__(self, net: nn.Module, in_shape: Shape | list[Shape], out_shape: Shape):
        super().__init__()
        self.net = net
        self.in_shapes = [as_shape(s) for s in (in_shape if isinstance(in_shape, list) else [in_shape])]
        self.out_shape = as_shape(out_shape)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Map inputs (..., *in_shape) to (..., *out_shape)."""
        name = type(self.net).__name__
        if len(inputs) != len(self.in_shapes):
            raise ValueError(
                f"PerDatum of {name} got {len(inputs)} inputs and was made for {len(self.in_shapes)}, of shapes "
                f"{self.in_shapes}; give one shape for each."
            )
        for x, shape in zip(inputs, self.in_shapes, strict=True):
            if x.shape[x.ndim - len(shape) :] != shape:
                raise ValueError(
                    f"PerDatum of {name} got an input of shape {tuple(x.shape)} and expected (..., "
                    f"{', '.join(map(str, shape))})."
                )
        return call_per_datum(self.net, inputs, [len(shape) for shape in self.in_shapes], self.out_shape)


def takes_leading_axes(net: nn.Module) -> bool:
    """Whether a net may be called with any axes in front of its inputs."""
    return isinstance(net, nn.Identity) or getattr(net, "takes_leading_axes", False)


def call_per_datum(
    net: nn.Module, inputs: tuple[Tensor, ...], event_ranks: list[int], out_shape: tuple[int, ...]
) -> Tensor:
    """The output (..., *out_shape) of a net that is called with inputs (N, *event).

    Arguments:
        net: the net.
        inputs: each with its own axes in front, which broadcast.
        event_ranks: how many axes at the end of each input are its event.
        out_shape: what the net must give per datum.

    Raises:
        ValueError: axes in front that do not broadcast to those of the first input, or another output.
    """
    leads = [x.shape[: x.ndim - rank] for x, rank in zip(inputs, event_ranks, strict=True)]
    lead = _common(leads, net, inputs)
    flat = [
        x.expand(*lead, *x.shape[x.ndim - rank :]).reshape(-1, *x.shape[x.ndim - rank :])
        for x, rank in zip(inputs, event_ranks, strict=True)
    ]
    out = call_net(net, tuple(flat))
    expected = (len(flat[0]), *out_shape)
    if out.shape != expected:
        raise ValueError(
            f"{type(net).__name__} gave {tuple(out.shape)} for inputs of shape "
            f"{', '.join(str(tuple(x.shape)) for x in flat)} and was expected to give {expected}; let it end in that "
            "shape per datum, or change the event shape."
        )
    return out.reshape(*lead, *out_shape)


def _common(leads: list[torch.Size], net: nn.Module, inputs: tuple[Tensor, ...]) -> torch.Size:
    """The axes in front of all inputs: those of the first, or more axes."""
    try:
        lead = torch.broadcast_shapes(*leads)
    except RuntimeError:
        lead = None
    if lead is None or (len(lead) == len(leads[0]) and lead != leads[0]):
        shapes = ", ".join(str(tuple(x.shape)) for x in inputs)
        raise ValueError(
            f"{type(net).__name__} got inputs of shapes {shapes}, of which the last axis was taken for the event; wrap "
            "it in nets.PerDatum(net, in_shapes, out_shape), which says what the events are."
        )
    return lead
