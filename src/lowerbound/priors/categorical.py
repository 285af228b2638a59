"""p(z) = Π_d Π_k π_dk^z_dk: independent categorical latents as one-hot rows z (D, K) (Jang et al. 2017,
arXiv:1611.01144).
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Independent

from lowerbound.distributions.one_hot import LinearOneHotCategorical
from lowerbound.nets.shapes import Shape, as_shape
from lowerbound.protocols import Context

__all__ = ["Categorical"]


class Categorical(nn.Module):
    """Independent categorical latents.

    Arguments:
        latent_shape: D, how many, or a shape of them.
        categories: K, how many values each takes.
        learned: whether the logits are trained; they start at 0 (uniform) and stay there if not.

    Returns (when called):
        A distribution with batch shape () and event shape (*latent_shape, categories). A context is
        ignored.

    >>> Categorical(3, categories=4, learned=False)().log_prob(torch.eye(4)[:3])
    tensor(-4.1589)
    """

    cites: ClassVar[tuple[str, ...]] = ("jang2017categorical",)
    goes_with: ClassVar[dict[str, Any]] = {"posterior": "categorical"}

    logits: Tensor

    def __init__(self, latent_shape: Shape, categories: int = 10, learned: bool = True):
        super().__init__()
        if categories < 2:
            raise ValueError(f"Categorical got categories={categories} and needs at least 2.")
        self.latent_shape = as_shape(latent_shape)
        self.event_shape = (*self.latent_shape, categories)
        self.logits = nn.Parameter(torch.zeros(self.event_shape), requires_grad=learned)

    def forward(self, context: Context | None = None) -> Independent:
        """p(z); the context is ignored."""
        distribution = LinearOneHotCategorical(logits=self.logits, validate_args=False)
        return Independent(distribution, len(self.latent_shape), validate_args=False)
