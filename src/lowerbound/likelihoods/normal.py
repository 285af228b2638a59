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

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Normal as NormalDistribution

from lowerbound.likelihoods.location_scale import LocationScale, Scale
from lowerbound.nets.shapes import Shape
from lowerbound.support import LikelihoodFacts

__all__ = ["Normal"]


class Normal(LocationScale):
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

    cites: ClassVar[tuple[str, ...]] = ("kingma2014auto", "rybkin2021simple")

    facts: ClassVar[LikelihoodFacts] = LikelihoodFacts(
        domain="reals",
        discrete=False,
        standardized=True,
        baselines=("gaussian", "gaussian_mixture"),
        richer=("normal:scale=heteroscedastic", "student-t"),
    )

    def __init__(
        self, net: nn.Module, scale: Scale = "shared", event_shape: Shape | None = None, min_scale: float = 1e-3
    ):
        super().__init__(net, scale, event_shape, min_scale)

    def distribution(self, loc: Tensor, scale: Tensor) -> NormalDistribution:
        """A Gaussian per element."""
        return NormalDistribution(loc, scale, validate_args=False)

    @property
    def works(self) -> tuple[str, ...]:
        """The learned scale only where one is shared."""
        return self.cites if self.scale == "shared" else self.cites[:1]

    @torch.no_grad()
    def initialize(self, x: Tensor) -> None:
        """Put the output bias of the mean, if the net has an `output_bias`, at the mean of the data."""
        self.start_at(x.float().mean(0))
