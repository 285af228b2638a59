"""q(z | x) = Π_d Π_k π_dk(x)^z_dk, with D one-hot latents of K categories each.

Source: Jang et al. (2017, arXiv:1611.01144, §2), before their relaxation. It is not reparameterised: use the score
function or enumeration.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import nn
from torch.distributions import Independent

from lowerbound.distributions.one_hot import LinearOneHotCategorical
from lowerbound.nets.parameters import parameters_of
from lowerbound.nets.shapes import Shape, as_shape
from lowerbound.posteriors.parameters import latent_shape_of, require_at_least
from lowerbound.protocols import Context

__all__ = ["Categorical"]


class Categorical(nn.Module):
    """Independent categorical latents, one-hot, whose logits are computed by a net.

    Arguments:
        net: from a context (..., *event) to logits (..., *latent_shape, categories).
        categories: K.
        latent_shape: D, the number of latents, or a shape of them; read from `net.out_shape` if the net states it.

    Returns (when called with a context of B rows):
        A distribution over one-hot float tensors (log-probabilities are linear in z, so that a layer of a hierarchy has
        a derivative along relaxed latents) with batch shape (B,), event shape (*latent_shape, categories) and a
        closed-form entropy; `has_rsample` is False.

    Raises:
        ValueError: categories < 2, or the output shape of the net is not (*latent_shape, categories).
    """

    cites: ClassVar[tuple[str, ...]] = ("jang2017categorical",)
    goes_with: ClassVar[dict[str, Any]] = {
        "prior": "categorical",
        "objective": "elbo",
        "gradient": "score-function",
        "num_samples": 4,
    }

    def __init__(self, net: nn.Module, categories: int = 10, latent_shape: Shape | None = None):
        super().__init__()
        require_at_least(2, owner="Categorical", categories=categories)
        self.net, self.categories = net, categories
        self.latent_shape = latent_shape_of(net, latent_shape, owner="Categorical", after=(categories,))
        self.event_shape = (*self.latent_shape, categories)

    @staticmethod
    def parameter_shape(latent_shape: Shape, categories: int = 10) -> tuple[int, ...]:
        """What its net must output per datum."""
        return (*as_shape(latent_shape), categories)

    def forward(self, context: Context) -> Independent:
        """q(z | context)."""
        distribution = LinearOneHotCategorical(logits=parameters_of(self.net, context), validate_args=False)
        return Independent(distribution, len(self.latent_shape), validate_args=False)
