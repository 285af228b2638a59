"""What Gaussian, Laplace and Student-t likelihoods share: a location from the net and four choices for the scale.

=====================  =========================================================
a number               fixed, known noise
"shared"               one learned scale for every dimension
"per-dimension"        one learned scale for each dimension
"heteroscedastic"      a scale computed by the net
=====================  =========================================================

A learned scale has a floor, s = ε + softplus(r + c), because the density of a datum that is fitted exactly grows like
1/s.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent

from lowerbound.likelihoods.outputs import event_shape_of, output_bias_of
from lowerbound.nets.parameters import parameters_of
from lowerbound.nets.shapes import Shape, as_shape
from lowerbound.nets.softplus import positive
from lowerbound.protocols import Context
from lowerbound.support import Support, reals

__all__ = ["LocationScale", "Scale"]

Scale: TypeAlias = float | Literal["shared", "per-dimension", "heteroscedastic"]
_LEARNED = ("shared", "per-dimension", "heteroscedastic")


class LocationScale(nn.Module):
    """The base of likelihoods with a location and a scale per element; a subclass gives the distribution.

    Arguments:
        net: from a context (..., latent_dim) to locations (..., *event_shape); heteroscedastic: to
            (..., 2, *event_shape), the second being the scale before `positive`.
        scale: a positive number, "shared", "per-dimension" or "heteroscedastic".
        event_shape: shape of one datum; read from `net.out_shape` if the net states it.
        min_scale: the floor ε of a learned scale, in the units of x.

    Raises:
        ValueError: a fixed scale that is not positive, an unknown choice, or a net of the wrong output shape.
    """

    raw_scale: Tensor

    def __init__(self, net: nn.Module, scale: Scale, event_shape: Shape | None, min_scale: float):
        super().__init__()
        owner = type(self).__name__
        _check_scale(scale, owner)
        leading = (2,) if scale == "heteroscedastic" else ()
        self.net, self.min_scale = net, min_scale
        self.scale: Scale = scale
        self.event_shape = event_shape_of(net, event_shape, leading, owner=owner)
        if scale in ("shared", "per-dimension"):
            self.raw_scale = nn.Parameter(torch.zeros(() if scale == "shared" else self.event_shape))

    @abstractmethod
    def distribution(self, loc: Tensor, scale: Tensor) -> Distribution:
        """The distribution per element, batch shape that of loc and scale."""

    @property
    def support(self) -> Support:
        """The real numbers."""
        return reals

    def forward(self, context: Context) -> Independent:
        """p(x | context)."""
        loc, scale = self._split(parameters_of(self.net, context, self.parameter_shape(self.event_shape, self.scale)))
        return Independent(self.distribution(loc, scale), len(self.event_shape), validate_args=False)

    @torch.no_grad()
    def initialize(self, x: Tensor) -> None:
        """Set the output bias of the location to the median of the data, the start of a robust fit."""
        self.start_at(x.median(0).values)

    def start_at(self, loc: Tensor) -> None:
        """Give the output bias of the location a value (*event_shape), if the net has one."""
        bias = output_bias_of(self.net)
        if bias is not None:
            (bias[0] if self.scale == "heteroscedastic" else bias).copy_(loc)

    def _split(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        if self.scale == "heteroscedastic":
            loc, raw = parameters.unbind(-1 - len(self.event_shape))
            return loc, positive(raw, self.min_scale)
        if isinstance(self.scale, str):
            return parameters, positive(self.raw_scale, self.min_scale).expand_as(parameters)
        return parameters, parameters.new_full((), self.scale).expand_as(parameters)

    @staticmethod
    def parameter_shape(event_shape: Shape, scale: Scale = "shared") -> tuple[int, ...]:
        """What its net must output per datum."""
        return (2, *as_shape(event_shape)) if scale == "heteroscedastic" else as_shape(event_shape)


def _check_scale(scale: Scale, owner: str) -> None:
    fixed = isinstance(scale, int | float) and not isinstance(scale, bool)
    if scale not in _LEARNED and not (fixed and 0 < scale < float("inf")):
        raise ValueError(f"{owner} got scale={scale!r} and expected a positive number or one of {', '.join(_LEARNED)}.")
