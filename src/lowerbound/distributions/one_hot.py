"""One-hot categorical latents whose log-probability is linear in z."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor
from torch.distributions import OneHotCategorical

__all__ = ["LinearOneHotCategorical"]


class LinearOneHotCategorical(OneHotCategorical):
    """A one-hot categorical with log p(z) = z · log π.

    torch finds the class by argmax, whose derivative along z is zero. This form agrees with it on one-hot z, and has
    the derivative that relaxed and straight-through latents need. Its closed-form KL is that of `OneHotCategorical`.
    """

    def log_prob(self, value: Float[Tensor, "*lead category"]) -> Tensor:
        """Nats, for any leading axes that broadcast with the batch shape."""
        return (value * self.logits).sum(-1)  # torch has normalised them
