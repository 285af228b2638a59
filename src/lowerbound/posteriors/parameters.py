"""What every posterior does with its net: infer the shape of z, run the net, and split its output into parameters.

A net gives one tensor per datum, of the shape `parameter_shape(latent_shape)` of the posterior. Conversely, the output
shape of a net determines latent_shape. Factorised posteriors take latents of any shape, and their parameters have
further axes around it (`latent_shape_of`). Posteriors that mix all coordinates take vectors (`latent_dim_of`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn

from lowerbound.hooks import StatesOutShape
from lowerbound.nets.shapes import Shape, as_shape, numel, out_shape_of, vector_length

__all__ = ["SampleShape", "latent_dim_of", "latent_shape_of", "require_at_least", "split"]

SampleShape: TypeAlias = torch.Size | list[int] | tuple[int, ...]
"""What `rsample` and `sample` of torch take: the axes in front of the batch."""


def latent_shape_of(
    net: nn.Module,
    latent_shape: Shape | None,
    *,
    owner: str,
    before: tuple[int, ...] = (),
    after: tuple[int, ...] = (),
) -> tuple[int, ...]:
    """The event shape of z: as given, or read from the output shape (*before, *latent_shape, *after) of the net.

    Arguments:
        net: any module; a net that states `out_shape` is checked against it.
        latent_shape: a length or a shape; None reads it from the net.
        owner: the class to name in an error.
        before: axes of the parameters in front of those of z.
        after: axes of the parameters behind those of z.

    Raises:
        ValueError: the shape is not known, has no axis or one below 1, or differs from that of the net.
    """
    given = None if latent_shape is None else (*before, *as_shape(latent_shape), *after)
    shape = out_shape_of(net, _stated(net) or given, owner=owner, argument="latent_shape")
    found = shape[len(before) : len(shape) - len(after)]
    fits = found and min(found) > 0 and (*before, *found, *after) == shape
    if not fits or given not in (None, shape):
        wanted = "latent_shape" if latent_shape is None else f"latent_shape={latent_shape}"
        axes = ", ".join(map(str, (*before, "*latent_shape", *after) if given is None else given))
        raise ValueError(
            f"{owner} got a net of output shape {shape}, but {wanted} needs ({axes}); build the net with "
            f"{owner}.parameter_shape(latent_shape)."
        )
    return found


def latent_dim_of(
    net: nn.Module,
    latent_shape: Shape | None,
    shape_of: Callable[[int], tuple[int, ...]],
    *,
    owner: str,
) -> int:
    """The length of z where it must be a vector: as given, or the length whose parameters the net produces.

    Arguments:
        net: any module; a net that states `out_shape` is checked against it.
        latent_shape: the length of z, or None to read it from the net.
        shape_of: from the length to the shape of the parameters of one datum.
        owner: the class to name in an error.

    Raises:
        ValueError: neither is known, no length fits the net, the two disagree, or a shape of several axes.
    """
    length = None if latent_shape is None else vector_length(latent_shape, owner=owner)
    given = None if length is None else shape_of(length)
    shape = out_shape_of(net, _stated(net) or given, owner=owner, argument="latent_shape")
    found = _length_that_fits(shape, shape_of)
    if found is None or length not in (None, found):
        wanted = 2 if length is None else length
        raise ValueError(
            f"{owner} got a net of output shape {shape}, but latent_shape={wanted} needs {shape_of(wanted)}; "
            f"build the net with {owner}.parameter_shape(latent_shape)."
        )
    return found


def split(parameters: Tensor, shapes: Sequence[tuple[int, ...]]) -> list[Tensor]:
    """Split the last axis into tensors (..., *shape), one for each shape."""
    parts = parameters.split([numel(shape) for shape in shapes], dim=-1)
    return [part.unflatten(-1, shape) for part, shape in zip(parts, shapes, strict=True)]


def require_at_least(minimum: int, *, owner: str, **options: int) -> None:
    """Raise a `ValueError` that names the first option below the minimum."""
    for name, value in options.items():
        if value < minimum:
            raise ValueError(f"{owner} got {name}={value} and needs at least {minimum}.")


def _stated(net: nn.Module) -> tuple[int, ...] | None:
    return as_shape(net.out_shape) if isinstance(net, StatesOutShape) else None


def _length_that_fits(shape: tuple[int, ...], shape_of: Callable[[int], tuple[int, ...]]) -> int | None:
    length = 1
    while numel(shape_of(length)) <= numel(shape):
        if shape_of(length) == shape:
            return length
        length += 1
    return None
