"""p̃(z | c) = N(μ(c), diag σ(c)²) ∗ U(−½, ½): the mean-scale prior of codes (Minnen, Ballé & Toderici 2018,
arXiv:1809.02736, eq. 5; with μ = 0 Ballé et al. 2018, arXiv:1802.01436, eq. 8).

    log p̃(z) = log [Φ((½ − v) / σ) − Φ((−½ − v) / σ)],      v = |z − μ|

Both terms are in the lower tail, so that the difference keeps its digits far from μ. Codes are rounded to whole
numbers, whatever μ is (Minnen et al. round z − μ): q(z | x) then needs no prior.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from scipy import special
from torch import Tensor, nn

from lowerbound.nets.parameters import parameters_of
from lowerbound.nets.shapes import Shape, as_shape, out_shape_of
from lowerbound.nets.softplus import positive
from lowerbound.priors.whole_numbers import WholeNumbers
from lowerbound.protocols import Context

__all__ = ["NoisyNormal", "NoisyNormalDistribution", "log_mass_of_normal"]

_MIN_SCALE = 0.1


class NoisyNormal(nn.Module):
    """Gaussians given a context, convolved with uniform noise of width 1.

    Arguments:
        net: from a context (..., *event) to (..., 2, *latent_shape): μ, and the scale before `positive`.
        latent_shape: shape of z; read from `net.out_shape` if the net states it.
        min_scale: the floor of σ, in units of the width of a cell: at 0.1 a code that is always the same takes
            10⁻⁶ bits.

    Returns (when called with a context of B rows):
        A `NoisyNormalDistribution` with batch shape (B,) and event shape `latent_shape`.

    Raises:
        ValueError: a net of another output shape.
    """

    cites: ClassVar[tuple[str, ...]] = ("minnen2018joint", "balle2018variational")
    by_name: ClassVar[bool] = False  # made of other parts, in Python

    def __init__(self, net: nn.Module, latent_shape: Shape | None = None, min_scale: float = _MIN_SCALE):
        super().__init__()
        self.net, self.min_scale = net, min_scale
        given = None if latent_shape is None else self.parameter_shape(latent_shape)
        shape = out_shape_of(net, given, owner="NoisyNormal", argument="latent_shape")
        if shape[0] != 2 or given not in (None, shape):
            raise ValueError(f"NoisyNormal got a net of output shape {shape} and needs (2, *latent_shape), μ and σ.")
        self.latent_shape = self.event_shape = shape[1:]

    @staticmethod
    def parameter_shape(latent_shape: Shape) -> tuple[int, ...]:
        """What its net must output per datum."""
        return (2, *as_shape(latent_shape))

    def forward(self, context: Context) -> NoisyNormalDistribution:
        """p̃(z | context)."""
        rank = len(self.latent_shape)
        loc, raw = parameters_of(self.net, context).unbind(-1 - rank)
        return NoisyNormalDistribution(loc, positive(raw, self.min_scale), rank)


class NoisyNormalDistribution(WholeNumbers):
    """Made by `NoisyNormal`.

    Arguments:
        loc: μ (*batch, *event).
        scale: σ (*batch, *event).
        rank: how many of the last axes are those of the event.
    """

    def __init__(self, loc: Tensor, scale: Tensor, rank: int):
        self.loc, self.scale = loc, scale
        lead = loc.ndim - rank
        super().__init__(loc.shape[:lead], loc.shape[lead:])

    def log_mass(self, z: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """See `WholeNumbers`."""
        return log_mass_of_normal(z, self.loc, self.scale)

    def cumulative_at(self, low: int, high: int) -> Float[np.ndarray, "..."]:
        """Φ((k + ½ − μ) / σ) of every k (*batch, *event, K)."""
        loc, scale = (p.detach().double().cpu().numpy()[..., None] for p in (self.loc, self.scale))
        return special.ndtr((np.arange(low, high + 1) + 0.5 - loc) / scale)

    def _quantile_draw(self, shape: torch.Size) -> Tensor:
        return self.loc + self.scale * torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device)


def log_mass_of_normal(z: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    """log [Φ((z + ½ − μ) / σ) − Φ((z − ½ − μ) / σ)], elementwise."""
    v = (z - loc).abs()
    upper, lower = torch.special.log_ndtr((0.5 - v) / scale), torch.special.log_ndtr((-0.5 - v) / scale)
    return upper + torch.log(-torch.expm1((lower - upper).clamp_max(-torch.finfo(v.dtype).eps)))
