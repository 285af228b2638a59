"""p(x | z) = Π_d exp(−|x_d − μ_d| / b_d) / 2 b_d: errors count by their absolute value, so that the best μ is a median.

A net of this likelihood is a median regression (Koenker & Bassett 1978). E|x − μ| = b and Var[x] = 2 b². The four
choices for b are those of `location_scale`.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn
from torch.distributions import Laplace as LaplaceDistribution

from lowerbound.likelihoods.location_scale import LocationScale, Scale
from lowerbound.nets.shapes import Shape
from lowerbound.support import LikelihoodFacts

__all__ = ["Laplace"]


class Laplace(LocationScale):
    """Independent Laplace variables whose locations (and scales, if heteroscedastic) are computed by a net.

    Arguments:
        net: from a context (..., latent_dim) to locations (..., *event_shape); heteroscedastic: to
            (..., 2, *event_shape), the second being the scale before `positive`.
        scale: b: a positive number, "shared", "per-dimension" or "heteroscedastic".
        event_shape: shape of one datum; read from `net.out_shape` if the net states it.
        min_scale: the floor of a learned scale, in the units of x.

    Returns (when called):
        A reparameterised distribution over x; log-densities are nats per datum, summed over `event_shape`.

    Raises:
        ValueError: a fixed scale that is not positive, an unknown choice, or a net of the wrong output shape.
    """

    cites: ClassVar[tuple[str, ...]] = ("koenker1978regression",)

    facts: ClassVar[LikelihoodFacts] = LikelihoodFacts(
        domain="reals",
        discrete=False,
        standardized=True,
        baselines=("gaussian", "gaussian_mixture"),
        richer=("laplace:scale=heteroscedastic", "student-t"),
    )

    def __init__(
        self,
        net: nn.Module,
        scale: Scale = "shared",
        event_shape: Shape | None = None,
        min_scale: float = 1e-3,
    ):
        super().__init__(net, scale, event_shape, min_scale)

    def distribution(self, loc: Tensor, scale: Tensor) -> LaplaceDistribution:
        """Laplace(loc, scale), elementwise."""
        return LaplaceDistribution(loc, scale, validate_args=False)
