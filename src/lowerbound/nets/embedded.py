"""A net that reads codes as the vectors they stand for."""

from __future__ import annotations

from typing import cast

from jaxtyping import Float
from torch import Tensor, nn

from lowerbound.hooks import Embeds
from lowerbound.nets.parameters import parameters_of

__all__ = ["Embedded"]


class Embedded(nn.Module):
    """z ↦ net(embedding of z), for the likelihood of a model with codes.

    Arguments:
        embedding: the posterior, which has the codes and trains them; it is referred to and is no part of this net.
        net: from vectors (..., features, *positions) to parameters (..., *out_shape); it takes leading axes.
    """

    takes_leading_axes: bool = True

    def __init__(self, embedding: Embeds, net: nn.Module):
        super().__init__()
        self.__dict__["_embedding"] = embedding  # not a submodule: its parameters are the posterior's
        self.net = net
        self.out_shape = cast(tuple[int, ...], net.out_shape)

    @property
    def output_bias(self) -> Tensor:
        """That of the net, which a likelihood starts at the data."""
        return cast(Tensor, self.net.output_bias)

    def forward(self, z: Float[Tensor, "..."]) -> Tensor:
        """The parameters for codes (..., *event)."""
        return parameters_of(self.net, self.__dict__["_embedding"].embed(z), self.out_shape)
