"""p(z) = Π_d (1/2b) exp(−|z_d| / b): independent sources with heavier tails than a Gaussian.

With a linear Gaussian likelihood the model is noisy independent component analysis (Olshausen & Field 1996; Lewicki &
Sejnowski 2000): a rotation of z changes its density, so that the columns of W are the directions of the sources. With b
= 1/√2, the default, the variance of each z_d is 1, as under `StandardNormal`.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Independent
from torch.distributions import Laplace as LaplaceDistribution

from lowerbound.nets.shapes import Shape, as_shape
from lowerbound.protocols import Context

__all__ = ["Laplace"]


class Laplace(nn.Module):
    """log p(z) = −Σ_d (|z_d| / b + log 2b), nats.

    Arguments:
        latent_shape: length or shape of z.
        scale: b.

    Returns (when called):
        A distribution with batch shape () and event shape `latent_shape`. A context is ignored.

    Raises:
        ValueError: a scale that is not positive.

    >>> Laplace(3, scale=0.5)().log_prob(torch.tensor([0.0, 1.0, -2.0]))
    tensor(-6.)
    """

    cites: ClassVar[tuple[str, ...]] = ("olshausen1996emergence", "lewicki2000learning")

    loc: Tensor
    scale: Tensor

    def __init__(self, latent_shape: Shape, scale: float = 0.5**0.5):
        super().__init__()
        if not 0 < scale < float("inf"):
            raise ValueError(f"Laplace got scale={scale} and needs a positive number.")
        self.latent_shape = self.event_shape = as_shape(latent_shape)
        self.register_buffer("loc", torch.zeros(self.latent_shape), persistent=False)
        self.register_buffer("scale", torch.full(self.latent_shape, float(scale)), persistent=False)

    def forward(self, context: Context | None = None) -> Independent:
        """p(z); the context is ignored."""
        return Independent(
            LaplaceDistribution(self.loc, self.scale, validate_args=False), len(self.latent_shape), validate_args=False
        )
