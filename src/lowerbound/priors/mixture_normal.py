"""p(z) = Σ_k π_k N(z; μ_k, diag σ_k²), every π, μ and σ learned (Jiang et al. 2017, arXiv:1611.05148).

It is trained with the bound, by the gradient of log p(z) at posterior samples. This gradient moves component k in
proportion to its responsibility π_k N_k(z) / p(z): a component that explains no latent gets no gradient and stays where
it started (see `unused_components`). The start therefore matters: without data the means are drawn from N(0, spread²),
so that they cover the region of an untrained q(z | x); from given latents they are the centres of k-means++.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lowerbound.k_means import k_means
from lowerbound.nets.shapes import Shape, vector_length
from lowerbound.nets.softplus import positive, raw_of
from lowerbound.priors.mixture_distribution import NormalMixture
from lowerbound.protocols import Context

__all__ = ["MixtureNormal"]


class MixtureNormal(nn.Module):
    """A trainable mixture of diagonal Gaussians.

    Arguments:
        latent_shape: length of z.
        components: K.
        spread: standard deviation of the component means before training.
        min_scale: the floor of every σ, in the units of z: without it one latent alone drives its
            density to infinity.

    Returns (when called):
        A `NormalMixture` with batch shape () and event shape (latent_shape,). A context is ignored.

    Raises:
        ValueError: fewer than one component, or a shape of several axes.

    >>> MixtureNormal(latent_shape=2, components=5)().log_prob(torch.zeros(7, 3, 2)).shape
    torch.Size([7, 3])
    """

    cites: ClassVar[tuple[str, ...]] = ("jiang2017variational",)

    def __init__(self, latent_shape: Shape, components: int = 50, spread: float = 1.0, min_scale: float = 1e-2):
        super().__init__()
        if components < 1:
            raise ValueError(f"MixtureNormal got components={components} and needs at least 1.")
        latent_dim = vector_length(latent_shape, owner="MixtureNormal")
        self.min_scale, self.event_shape = min_scale, (latent_dim,)
        self.logits = nn.Parameter(torch.zeros(components))
        self.loc = nn.Parameter(spread * torch.randn(components, latent_dim))
        self.raw_scale = nn.Parameter(torch.zeros(components, latent_dim))

    def forward(self, context: Context | None = None) -> NormalMixture:
        """p(z); the context is ignored."""
        return NormalMixture(self.logits, self.loc, positive(self.raw_scale, self.min_scale))

    @torch.no_grad()
    def initialize_from_latents(self, z: Float[Tensor, "row latent"]) -> None:
        """Start at the clusters of k-means++: their shares, means and spreads.

        The variance of a cluster is averaged with the pooled variance, which counts as one more point, so that a
        cluster of a single latent does not start at the floor.

        Arguments:
            z: latents, at least as many as components (thousands are plenty).

        Raises:
            ValueError: fewer latents than components.
        """
        z = z.to(self.loc)
        centres, label = k_means(z, len(self.logits))
        member = torch.nn.functional.one_hot(label, len(centres)).to(z)
        count = member.sum(0).clamp(min=1.0)[:, None]
        residual = (z - centres[label]) ** 2
        variance = (member.T @ residual + residual.mean(0)) / (count + 1)
        self.loc.copy_(centres)
        self.logits.copy_(count[:, 0].log())
        self.raw_scale.copy_(raw_of(variance.sqrt(), self.min_scale))
