"""Codes by rounding: uniform noise while training, whole numbers afterwards (Ballé, Laparra & Simoncelli 2017,
arXiv:1611.01704, §2; Ballé et al. 2018, arXiv:1802.01436, §2).

    training       z = f(x) + u,  u ~ U(−½, ½)        q(z | x) = U(z; f(x) − ½, f(x) + ½),   log q(z | x) = 0
    eval           z = round(f(x))                    q(z | x) = 1[z = round(f(x))],         log q(z | x) = 0

With a prior that is convolved with the same noise, p̃(z) = F(z + ½) − F(z − ½), both are exact variational bounds: the
first of a model with real latents of density p̃, the second of a model whose latents are whole numbers of probability
p̃(k). The rate −log p̃(z) of the second is the length of the code of z, and needs no bits back.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution, constraints
from torch.types import _size

from lowerbound.chain import Chain
from lowerbound.nets.parameters import parameters_of
from lowerbound.nets.shapes import Shape, as_shape
from lowerbound.posteriors.bottom_up import BottomUp
from lowerbound.posteriors.parameters import SampleShape, latent_shape_of
from lowerbound.protocols import Context

__all__ = [
    "RoundedChain",
    "RoundedDistribution",
    "UniformNoise",
    "UniformNoiseBeside",
    "UniformNoiseDistribution",
    "UniformNoiseLayers",
]

_ROUNDING = 1e-4  # of z = f + u, relative to 1 and to |f|


class UniformNoise(nn.Module):
    """Uniform noise of width 1 about what a net says, or the nearest whole number in eval mode.

    Arguments:
        net: from a context (..., *event) to f (..., *latent_shape), in units of the width of the cells.
        latent_shape: shape of z; read from `net.out_shape` if the net states it.

    Returns (when called with a context of B rows):
        A distribution with batch shape (B,) and event shape `latent_shape`: reparameterised while training, a point
        mass in eval mode.

    Raises:
        ValueError: a net of another output shape.
    """

    cites: ClassVar[tuple[str, ...]] = ("balle2017end", "balle2018variational")
    by_name: ClassVar[bool] = False  # it takes a prior of whole numbers: the recipe rate-distortion has both

    def __init__(self, net: nn.Module, latent_shape: Shape | None = None):
        super().__init__()
        self.net = net
        self.latent_shape = self.event_shape = latent_shape_of(net, latent_shape, owner="UniformNoise")

    @staticmethod
    def parameter_shape(latent_shape: Shape) -> tuple[int, ...]:
        """What its net must output per datum."""
        return as_shape(latent_shape)

    def forward(self, context: Context) -> UniformNoiseDistribution | RoundedDistribution:
        """q(z | context)."""
        f, rank = parameters_of(self.net, context), len(self.latent_shape)
        return UniformNoiseDistribution(f, rank) if self.training else RoundedDistribution(f.round(), rank)


class _AboutACentre(Distribution):
    """What both have in common: a centre (*batch, *event) and log q(z | x) = 0 near it.

    Arguments:
        centre: f, or the whole numbers.
        rank: how many of its last axes are those of the event.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    _half = 0.0

    def __init__(self, centre: Tensor, rank: int):
        self.centre = centre
        lead = centre.ndim - rank
        super().__init__(centre.shape[:lead], centre.shape[lead:], validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        """The reals, of which all but a cell have no probability."""
        return constraints.independent(constraints.real, len(self.event_shape))  # type: ignore[return-value]

    @property
    def mean(self) -> Tensor:
        """The centre."""
        return self.centre

    def expand(self, batch_shape: _size, _instance: Distribution | None = None) -> Any:
        """The same for more rows."""
        return type(self)(self.centre.expand(*batch_shape, *self.event_shape), len(self.event_shape))

    def log_prob(self, value: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """0 within the cell, and −∞ elsewhere."""
        slack = _ROUNDING * (1 + self.centre.abs())
        inside = (value - self.centre).abs() <= self._half + slack
        rank = len(self.event_shape)
        inside = inside.flatten(inside.ndim - rank).all(-1) if rank else inside
        return torch.zeros_like(inside, dtype=value.dtype).masked_fill(~inside, -torch.inf)

    def entropy(self) -> Tensor:
        """Zero."""
        return self.centre.new_zeros(self.batch_shape)


class UniformNoiseDistribution(_AboutACentre):
    """f + U(−½, ½) for each number."""

    has_rsample = True
    _half = 0.5

    @property
    def variance(self) -> Tensor:
        """1/12."""
        return torch.full_like(self.centre, 1 / 12)

    def rsample(self, sample_shape: SampleShape = ()) -> Tensor:
        """Draw z (*sample_shape, *batch, *event), differentiable for f."""
        shape = torch.Size(sample_shape) + self.centre.shape
        return self.centre + torch.rand(shape, dtype=self.centre.dtype, device=self.centre.device) - 0.5


class RoundedDistribution(_AboutACentre):
    """Probability one at whole numbers; see `hooks.PointMass`."""

    has_rsample = True

    @property
    def variance(self) -> Tensor:
        """Zero."""
        return torch.zeros_like(self.centre)

    def rsample(self, sample_shape: SampleShape = ()) -> Tensor:
        """z (*sample_shape, *batch, *event), whose derivative is zero, as is that of rounding."""
        return self.centre.expand(*sample_shape, *self.centre.shape)

    def point(self) -> Tensor:
        """See `hooks.PointMass`."""
        return self.centre


class UniformNoiseLayers(BottomUp):
    """Several layers of `UniformNoise`, z_1 from x and each further one from the layer below.

    Arguments:
        conditionals: see `BottomUp`.

    Returns (when called with a context of B rows):
        A `Chain`; in eval mode a `RoundedChain`, of which one draw is enough.
    """

    by_name: ClassVar[bool] = False  # made of other parts, in Python

    def forward(self, context: Context) -> Chain:
        """q(z_1, …, z_L | context)."""
        q = super().forward(context)
        return q if self.training else RoundedChain(q)


class UniformNoiseBeside(UniformNoiseLayers):
    """Several latents of `UniformNoise`, each from x.

    Arguments:
        conditionals: q(z_1 | x), …, q(z_L | x).

    Returns (when called with a context of B rows):
        A `Chain`; in eval mode a `RoundedChain`, of which one draw is enough.
    """

    def forward(self, context: Context) -> Chain:
        """Π_l q(z_l | context)."""
        first, *others = self.conditionals
        rank = len(self.layer_shapes[0]) if self.layer_shapes else 0
        above = [lambda z, each=each: each(context).expand(z.shape[: z.ndim - rank]) for each in others]
        q = Chain(lambda: first(context), above, downward=False, layer_shapes=self.layer_shapes)
        return q if self.training else RoundedChain(q)


class RoundedChain(Chain):
    """A chain of point masses; see `hooks.PointMass`.

    Arguments:
        chain: of `RoundedDistribution`.
    """

    def __init__(self, chain: Chain):
        self.__dict__.update(chain.__dict__)

    def point(self) -> tuple[Tensor, ...]:
        """z (B, *event) of each layer."""
        return self.sample()
