"""Shapes of what goes into a net and of what comes out of it."""

from __future__ import annotations

import math
from typing import TypeAlias

from torch import nn

__all__ = ["Shape", "as_shape", "numel", "out_shape_of", "vector_length"]

Shape: TypeAlias = int | tuple[int, ...]


def as_shape(shape: Shape) -> tuple[int, ...]:
    """An int is a vector of that length."""
    return (shape,) if isinstance(shape, int) else tuple(shape)


def numel(shape: Shape) -> int:
    """The number of elements of one event."""
    return math.prod(as_shape(shape))


def out_shape_of(net: nn.Module, given: Shape | None, *, owner: str, argument: str) -> tuple[int, ...]:
    """The shape that `net` produces per datum: as given, or as the net itself states it in `out_shape`.

    Raises:
        ValueError: neither is known.
    """
    if given is not None:
        return as_shape(given)
    stated = getattr(net, "out_shape", None)
    if stated is None:
        raise ValueError(
            f"{owner} cannot tell the output shape of {type(net).__name__}, which has no `out_shape`; pass {argument}=."
        )
    return as_shape(stated)


def vector_length(latent_shape: Shape, *, owner: str) -> int:
    """The length of z where it must be a vector.

    Raises:
        ValueError: a shape of several axes.
    """
    shape = as_shape(latent_shape)
    if len(shape) != 1:
        raise ValueError(
            f"{owner} is over vectors and got latent_shape={shape}; give one length (flatten z in the nets), or choose "
            "a factorised one, such as DiagonalNormal with StandardNormal."
        )
    return shape[0]
