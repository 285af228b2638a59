"""p(x | z) = Π_d t(x_d; ν_d, μ_d, s_d): a Gaussian whose variance is random, so that outliers have little influence
(Lange, Little & Taylor 1989).

With t = (x − μ)/s,

    log p(x) = log Γ((ν+1)/2) − log Γ(ν/2) − ½ log νπ − log s − (ν+1)/2 · log(1 + t²/ν).

The tail exponent ν (degrees of freedom) is learned by default, one per dimension, above a floor of 2 so that mean and
variance exist: Var[x] = s² ν/(ν − 2). As ν → ∞ it becomes a Gaussian. The difference of log-gammas is computed by
Stirling's formula with a = ν/2, a log(1 + 1/2a) + ½ log a − ½ + ρ(a + ½) − ρ(a), which is accurate there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.distributions import Gamma
from torch.types import _size

from lowerbound.distributions import distribution_functions
from lowerbound.likelihoods.elementwise import ElementwiseDistribution
from lowerbound.likelihoods.location_scale import LocationScale, Scale
from lowerbound.likelihoods.stirling import stirling_remainder
from lowerbound.nets.shapes import Shape
from lowerbound.nets.softplus import positive
from lowerbound.support import LikelihoodFacts

__all__ = ["DegreesOfFreedom", "StudentT", "StudentTDistribution"]

DegreesOfFreedom: TypeAlias = float | Literal["shared", "per-dimension"]
_LEARNED = ("shared", "per-dimension")


class StudentT(LocationScale):
    """Independent Student-t variables whose locations (and scales, if heteroscedastic) are computed by a net.

    Arguments:
        net: from a context (..., latent_dim) to locations (..., *event_shape); heteroscedastic: to
            (..., 2, *event_shape), the second being the scale before `positive`.
        scale: s: a positive number, "shared", "per-dimension" or "heteroscedastic".
        dof: ν: a positive number, "shared" or "per-dimension" (learned, starting at min_dof + 1).
        event_shape: shape of one datum; read from `net.out_shape` if the net states it.
        min_scale: the floor of a learned scale, in the units of x.
        min_dof: the floor of a learned ν.

    Returns (when called):
        A reparameterised distribution over x; log-densities are nats per datum, summed over `event_shape`.

    Raises:
        ValueError: a fixed scale or dof that is not positive, an unknown choice, or a net of the wrong output shape.
    """

    cites: ClassVar[tuple[str, ...]] = ("lange1989robust",)

    facts: ClassVar[LikelihoodFacts] = LikelihoodFacts(
        domain="reals",
        discrete=False,
        standardized=True,
        baselines=("gaussian", "gaussian_mixture"),
        richer=("student-t:scale=heteroscedastic",),
    )

    raw_dof: Tensor

    def __init__(
        self,
        net: nn.Module,
        scale: Scale = "shared",
        dof: DegreesOfFreedom = "per-dimension",
        event_shape: Shape | None = None,
        min_scale: float = 1e-3,
        min_dof: float = 2.0,
    ):
        super().__init__(net, scale, event_shape, min_scale)
        fixed = isinstance(dof, int | float) and not isinstance(dof, bool)
        if dof not in _LEARNED and not (fixed and 0 < dof < float("inf")):
            raise ValueError(
                f"StudentT got dof={dof!r} and expected a positive number or one of {', '.join(_LEARNED)}."
            )
        self.dof, self.min_dof = dof, min_dof
        if isinstance(dof, str):
            self.raw_dof = nn.Parameter(torch.zeros(() if dof == "shared" else self.event_shape))

    def distribution(self, loc: Tensor, scale: Tensor) -> StudentTDistribution:
        """t(ν, loc, scale), elementwise."""
        if isinstance(self.dof, str):
            return StudentTDistribution(positive(self.raw_dof, self.min_dof), loc, scale)
        return StudentTDistribution(loc.new_full((), self.dof), loc, scale)


class StudentTDistribution(ElementwiseDistribution):
    """The Student-t density, elementwise.

    Arguments:
        dof: ν > 0.
        loc: μ.
        scale: s > 0.
    """

    has_rsample = True

    def __init__(self, dof: Tensor, loc: Tensor, scale: Tensor):
        super().__init__(dof, loc, scale)
        self.dof, self.loc, self.scale = self.parameters

    @property
    def mean(self) -> Tensor:
        """μ; NaN where ν ≤ 1."""
        return torch.where(self.dof > 1, self.loc, math.nan)

    @property
    def variance(self) -> Tensor:
        """s² ν/(ν − 2); infinite where 1 < ν ≤ 2, NaN where ν ≤ 1."""
        excess = torch.where(self.dof > 2, self.dof - 2, 1.0)
        finite = self.scale**2 * (self.dof / excess)
        heavy = torch.where(self.dof > 1, math.inf, math.nan)
        return torch.where(self.dof > 2, finite, heavy)

    def log_prob(self, value: Tensor) -> Tensor:
        """log p(value) per element, nats."""
        a, t = 0.5 * self.dof, (value - self.loc) / self.scale
        gammas = a * torch.log1p(0.5 / a) - 0.5 + stirling_remainder(a + 0.5) - stirling_remainder(a)
        kernel = (a + 0.5) * torch.log1p(t**2 / self.dof)
        return gammas - 0.5 * math.log(2 * math.pi) - torch.log(self.scale) - kernel

    def cumulative(self) -> tuple[Callable[..., Any], tuple[Tensor, ...]]:
        """See `hooks.HasCumulative`."""
        return distribution_functions.student_t, (self.loc, self.scale, self.dof)

    def entropy(self) -> Tensor:
        """(ν+1)/2 [ψ((ν+1)/2) − ψ(ν/2)] + ½ log ν + log B(ν/2, ½) + log s, nats."""
        a = 0.5 * self.dof
        gammas = a * torch.log1p(0.5 / a) - 0.5 + stirling_remainder(a + 0.5) - stirling_remainder(a)
        slope = torch.digamma(a + 0.5) - torch.digamma(a)
        return (a + 0.5) * slope - gammas + 0.5 * math.log(2 * math.pi) + torch.log(self.scale)

    def rsample(self, sample_shape: _size = ()) -> Tensor:
        """μ + s ε √(ν/χ²_ν), ε ~ N(0, 1), differentiable in all three: (*sample_shape, *batch_shape)."""
        shape = self._extended_shape(sample_shape)
        half = 0.5 * self.dof.expand(shape)
        gamma = Gamma(half, torch.ones_like(half), validate_args=False).rsample()
        return self.loc + self.scale * torch.randn_like(gamma) * torch.rsqrt(gamma / half)
