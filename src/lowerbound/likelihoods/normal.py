"""p(x | z) = N(x; μ(z), diag σ²), with four choices for the scale σ (Kingma & Welling 2013, arXiv:1312.6114, eq. 12).

=====================  =================================================================================
a number               fixed, known noise
"shared"               one learned σ for every dimension (the σ-VAE of Rybkin et al. 2021, arXiv:2006.13202)
"per-dimension"        one learned σ_d for each dimension
"heteroscedastic"      σ(z), computed by the net
=====================  =================================================================================

The likelihood of a Gaussian is unbounded as σ → 0 at a datum that is fitted exactly, so a learned scale has a floor:
σ = ε + softplus(s + c), with c = softplus⁻¹(1). ε is in the units of x: the default 1e-3 suits standardised data.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.distributions import Independent
from torch.distributions import Normal as NormalDistribution

from lowerbound.nets.positive import positive
from lowerbound.nets.shapes import Shape, as_shape, out_shape_of
from lowerbound.protocols import Context

__all__ = ["Normal", "Scale"]

Scale: TypeAlias = float | Literal["shared", "per-dimension", "heteroscedastic"]
_LEARNED = ("shared", "per-dimension", "heteroscedastic")


class Normal(nn.Module):
    """Independent Gaussians whose means (and scales, if heteroscedastic) are computed by a net.

    Arguments:
        net: from a context (..., latent_dim) to means (..., *event_shape); heteroscedastic: to (..., 2, *event_shape).
        scale: a positive number, "shared", "per-dimension" or "heteroscedastic".
        event_shape: shape of one datum; read from `net.out_shape` if the net states it.
        min_scale: the floor ε of a learned scale, in the units of x.

    Returns (when called):
        A distribution over x; log-densities are nats per datum, summed over `event_shape`.

    Raises:
        ValueError: a fixed scale that is not positive, an unknown choice, or a net of the wrong output shape.
    """

    raw_scale: Tensor

    def __init__(
        self, net: nn.Module, scale: Scale = "shared", event_shape: Shape | None = None, min_scale: float = 1e-3
    ):
        super().__init__()
        _check_scale(scale)
        given = None if event_shape is None else self.parameter_shape(event_shape, scale)
        shape = out_shape_of(net, given, owner="Normal", argument="event_shape")
        if scale == "heteroscedastic":
            if len(shape) < 2 or shape[0] != 2:
                raise ValueError(
                    f"A heteroscedastic Normal got a net of output shape {shape} and expected (2, *event_shape)."
                )
            shape = shape[1:]
        self.net, self.scale, self.event_shape, self.min_scale = net, scale, shape, min_scale
        if scale in ("shared", "per-dimension"):
            self.raw_scale = nn.Parameter(torch.zeros(() if scale == "shared" else shape))

    @staticmethod
    def parameter_shape(event_shape: Shape, scale: Scale = "shared") -> tuple[int, ...]:
        """What its net must output per datum."""
        return (2, *as_shape(event_shape)) if scale == "heteroscedastic" else as_shape(event_shape)

    def forward(self, context: Context) -> Independent:
        """p(x | context)."""
        parameters = self.net(*context) if isinstance(context, tuple) else self.net(context)
        loc, scale = self._split(parameters)
        distribution = NormalDistribution(loc, scale, validate_args=False)
        return Independent(distribution, len(self.event_shape), validate_args=False)

    @torch.no_grad()
    def initialize(self, x: Tensor) -> None:
        """Put the output bias of the mean, if the net has an `output_bias`, at the mean of the data."""
        bias = getattr(self.net, "output_bias", None)
        if bias is not None:
            loc = bias[0] if self.scale == "heteroscedastic" else bias
            loc.copy_(x.float().mean(0))

    def _split(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        if self.scale == "heteroscedastic":
            loc, raw = parameters.unbind(-1 - len(self.event_shape))
            return loc, positive(raw, self.min_scale)
        if isinstance(self.scale, str):
            return parameters, positive(self.raw_scale, self.min_scale).expand_as(parameters)
        return parameters, parameters.new_full((), self.scale).expand_as(parameters)


def _check_scale(scale: Scale) -> None:
    fixed = isinstance(scale, int | float) and not isinstance(scale, bool) and 0 < scale < float("inf")
    if not fixed and scale not in _LEARNED:
        raise ValueError(f"Normal got scale={scale!r} and expected a positive number or one of {', '.join(_LEARNED)}.")
