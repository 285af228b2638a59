"""What recipes whose prior is a path have in common: the states of its groups, and the net that reads the last one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from torch import nn

from lowerbound.nets import MLP, Enlarged, FromMap
from lowerbound.nets.pyramid import pyramid_sizes

__all__ = ["PathNetwork", "check_sizes", "path_decoder", "path_states", "resizes"]

PathNetwork: TypeAlias = Literal["mlp", "convolution"]
"""States that are vectors, or maps."""


def path_states(
    network: PathNetwork, shape: tuple[int, ...], counts: Sequence[int], width: int, halvings: int
) -> list[tuple[int, ...]]:
    """The shape of the state at each group, in the order of drawing.

    Arguments:
        network: "mlp" for vectors (width,), "convolution" for maps (width, height, width).
        shape: of one datum.
        counts: groups at each resolution, the coarsest first.
        width: channels of the state.
        halvings: of the image before the finest maps.

    Raises:
        ValueError: an unknown network, or as `nets.pyramid.pyramid_sizes`.

    >>> path_states("convolution", (28, 28), (1, 2), 8, 1)
    [(8, 7, 7), (8, 14, 14), (8, 14, 14)]
    """
    if network == "mlp":
        return [(width,)] * sum(counts)
    if network != "convolution":
        raise ValueError(f"network is {network!r}; choose mlp or convolution.")
    sizes = pyramid_sizes(shape, halvings, len(counts))
    return [(width, *size) for size, count in zip(sizes, counts, strict=True) for _ in range(count)]


def path_decoder(network: PathNetwork, width: int, hidden: int, halvings: int, outputs: tuple[int, ...]) -> nn.Module:
    """From the last state to what the likelihood takes (..., *outputs)."""
    if network == "mlp":
        return MLP(width, [width], outputs, nn.GELU)
    return FromMap(width, [hidden] * halvings, outputs, nn.GELU)


def resizes(states: Sequence[tuple[int, ...]]) -> list[Enlarged | None]:
    """How each state becomes that of the next group; None where they have one shape."""
    pairs = zip(states, [*states[1:], states[-1]], strict=True)
    return [None if following == state else Enlarged(following) for state, following in pairs]


def check_sizes(owner: str, **sizes: int) -> None:
    """Refuse a size below one.

    Raises:
        ValueError: naming it.
    """
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{owner} got {name}={size} and needs at least 1.")
