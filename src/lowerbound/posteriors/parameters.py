"""What every posterior does with its net: find out the length of z, run the net, cut its output into parameters.

A net gives one tensor per datum; `parameter_shape(latent_dim)` of a posterior says which. Read backwards, the
output shape of a net tells latent_dim, because the number of parameters grows with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn

from lowerbound.nets.shapes import as_shape, numel, out_shape_of

__all__ = ["SampleShape", "latent_dim_of", "require_at_least", "split"]

SampleShape: TypeAlias = torch.Size | list[int] | tuple[int, ...]
"""What `rsample` and `sample` of torch take: the axes in front of the batch."""


def latent_dim_of(
    net: nn.Module,
    latent_dim: int | None,
    shape_of: Callable[[int], tuple[int, ...]],
    *,
    owner: str,
) -> int:
    """The length of z: as given, or the one whose parameters the net says it produces.

    Arguments:
        net: any module; a net that states `out_shape` is checked against it.
        latent_dim: the length of z, or None to read it from the net.
        shape_of: from latent_dim to the shape of the parameters of one datum.
        owner: the class to name in an error.

    Raises:
        ValueError: neither is known, no length fits the net, or the two disagree.
    """
    given = None if latent_dim is None else shape_of(latent_dim)
    stated = getattr(net, "out_shape", None)
    shape = out_shape_of(net, given, owner=owner, argument="latent_dim") if stated is None else as_shape(stated)
    found = _length_that_fits(shape, shape_of)
    if found is None or latent_dim not in (None, found):
        wanted = 2 if latent_dim is None else latent_dim
        raise ValueError(
            f"{owner} got a net of output shape {shape}, but latent_dim={wanted} needs {shape_of(wanted)}; "
            f"build the net with {owner}.parameter_shape(latent_dim)."
        )
    return found


def split(parameters: Tensor, shapes: Sequence[tuple[int, ...]]) -> list[Tensor]:
    """Cut the last axis into tensors (..., *shape), one for each shape."""
    parts = parameters.split([numel(shape) for shape in shapes], dim=-1)
    return [part.unflatten(-1, shape) for part, shape in zip(parts, shapes, strict=True)]


def require_at_least(minimum: int, *, owner: str, **options: int) -> None:
    """Raise a `ValueError` that names the first option below the minimum."""
    for name, value in options.items():
        if value < minimum:
            raise ValueError(f"{owner} got {name}={value} and needs at least {minimum}.")


def _length_that_fits(shape: tuple[int, ...], shape_of: Callable[[int], tuple[int, ...]]) -> int | None:
    length = 1
    while numel(shape_of(length)) <= numel(shape):
        if shape_of(length) == shape:
            return length
        length += 1
    return None
