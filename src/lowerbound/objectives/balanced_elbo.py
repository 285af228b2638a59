"""KL balancing: the layers of a hierarchy share the cost of the rate by what each says while the rate is turned on.

    log p(x | z) − a_t Σ_l γ_l KL_l,      γ_l ∝ (mean KL_l over the batch + 0.01) / size_l,  mean_l γ_l = 1
    a_t = min(t / warmup, 1);  γ_l = 1 from a_t = 1 on, and in eval mode

Vahdat & Kautz (2020, arXiv:2007.03898, appendix A, and their code). A layer that is silent early costs little and may
begin to speak; one that says much already pays for it. size_l is the number of latents of a layer: large maps may say
more than small ones. (Their code divides by the places of a map over the groups of its resolution.) γ is a constant for
gradients. While the rate is turned on, the value of a datum depends on its batch through γ, and is no bound; afterwards
it is the ELBO.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lowerbound.objectives.beta_elbo import BetaELBO
from lowerbound.objectives.require import closed_form
from lowerbound.protocols import Bound
from lowerbound.weights import LogWeights, RateForm

__all__ = ["BalancedELBO"]

_LEAST = 0.01


class BalancedELBO(nn.Module):
    """The ELBO whose layers are charged unevenly while the rate is turned on, nats.

    Arguments:
        warmup: steps in which the weight of the rate rises linearly from 0 to 1, 1 or more.

    Raises:
        ValueError: fewer steps.
    """

    cites: ClassVar[tuple[str, ...]] = ("vahdat2020nvae",)

    linear: bool = True
    rate: RateForm = "kl"
    bound: Bound = "none"

    def __init__(self, warmup: int = 1000):
        super().__init__()
        if warmup < 1:
            raise ValueError(
                f"BalancedELBO got warmup={warmup} and balances while the rate is turned on; give 1 or more."
            )
        self.warmup = warmup
        self.weighted = BetaELBO(1.0, warmup, rate="kl")

    def __repr__(self) -> str:
        """In one line, as the sentences that name an objective are."""
        return f"BalancedELBO(warmup={self.warmup})"

    def signal(self, w: LogWeights) -> Float[Tensor, "sample batch"]:
        """log p(x | z) minus the weighted rates of the layers; one latent is one layer.

        Raises:
            ValueError: the rate is not in closed form.
        """
        rate, groups = closed_form(w, "BalancedELBO").rate, w.rate_per_group
        if groups is not None:
            balanced = (self._shares(groups, w) * groups).sum(-1)
            rising = torch.as_tensor(self.weighted.weight, device=rate.device) < 1
            rate = torch.where(rising, balanced, rate)
        return w.log_likelihood - self.weighted.weight * rate

    def reduce(self, signal: Float[Tensor, "sample batch"]) -> Float[Tensor, "batch"]:
        """The mean over samples."""
        return signal.mean(0)

    @staticmethod
    @torch.no_grad()
    def _shares(groups: Tensor, w: LogWeights) -> Float[Tensor, "group"]:
        """γ, of mean 1."""
        layers = w.z if isinstance(w.z, tuple) else (w.z,)
        sizes = groups.new_tensor([math.prod(layer.shape[2:]) for layer in layers])
        shares = (groups.flatten(0, 1).mean(0) + _LEAST) / sizes
        return shares / shares.mean()

    def extra_repr(self) -> str:
        """What it was made with."""
        return f"warmup={self.warmup}"
