"""Reweighted wake-sleep with the wake phase for φ: Bornschein & Bengio (2015, arXiv:1406.2751, §2); Le et al. (2020,
arXiv:1805.10469, §3).

    θ:  ∇_θ log (1/S) Σ_s w_s = Σ_s w̃_s ∇_θ log p(x, z_s),      w̃ = w / Σ w,      z_s ~ q_φ held fixed
    φ:  Σ_s w̃_s ∇_φ log q_φ(z_s | x)  →  E_{p(z | x)}[∇_φ log q_φ(z | x)] = −∇_φ KL(p(z | x) ‖ q_φ)      as S → ∞

θ and φ have different objectives. φ does not ascend the bound but descends the divergence KL(p(z | x) ‖ q), so that its
gradient does not vanish as the bound gets tighter. The self-normalised estimate of this gradient has a bias of O(1/S).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution

from lowerbound.gradients.path_only import detach
from lowerbound.hooks import Lends
from lowerbound.objectives import IWAE
from lowerbound.protocols import Estimate, JointDensity, Kind, Objective
from lowerbound.weights import weigh

__all__ = ["ReweightedWakeSleep", "weighted_score"]


@dataclass(frozen=True)
class ReweightedWakeSleep:
    """θ ascends IWAE at samples held fixed; φ ascends the weighted mean of log q of the samples.

    It needs only samples and a density, so that latents may be discrete.

    Gradient: for θ that of IWAE, unbiased. For φ that of another objective, −KL(p(z | x) ‖ q), biased by O(1/S).
    """

    cites: ClassVar[tuple[str, ...]] = ("bornschein2015reweighted", "le2020revisiting")

    kind: Kind = field(default="biased", init=False, repr=False)
    fewest_samples: int = field(default=2, init=False, repr=False)

    def estimate(
        self, objective: Objective, posterior: Distribution, joint: JointDensity, num_samples: int
    ) -> Estimate:
        """See `protocols.Gradient`.

        Raises:
            ValueError: one sample, whose weight is always 1: φ would follow the score, whose mean is zero.
        """
        _require_two(num_samples)
        z = detach(posterior.sample(torch.Size((num_samples,))))
        log_q = posterior.log_prob(cast(Tensor, z))
        w = weigh(posterior, joint, z, log_q=log_q.detach())
        value = objective.reduce(objective.signal(w))
        return Estimate(surrogate=value + weighted_score(w.log_w, log_q), weights=w)

    def check(self, objective: Objective, posterior: Distribution, num_samples: int) -> None:
        """Refuse other objectives than IWAE, a q without samples or density, and a q that shares parameters with p."""
        if not isinstance(objective, IWAE):
            raise ValueError(
                f"ReweightedWakeSleep weighs its samples as IWAE does and got {type(objective).__name__}; use IWAE(), "
                "or losses.WakeSleep for the ELBO."
            )
        if isinstance(posterior, Lends):
            raise ValueError(
                "ReweightedWakeSleep trains p and q separately and a top-down posterior shares the path of p; use "
                "Pathwise(), or a BottomUp posterior."
            )
        _require_two(num_samples)


def weighted_score(
    log_w: Float[Tensor, "sample batch"], log_q: Float[Tensor, "sample batch"]
) -> Float[Tensor, "batch"]:
    """Zero, with the gradient Σ_s w̃_s ∇ log q(z_s | x); the weights are constants.

    Arguments:
        log_w: the weights, nats.
        log_q: log q(z_s | x) at samples held fixed, nats.

    >>> log_q = torch.zeros(2, 1, requires_grad=True)
    >>> zero = weighted_score(torch.tensor([[0.0], [1.0986123]]), log_q)
    >>> zero.item(), torch.autograd.grad(zero.sum(), log_q)[0].flatten().tolist()
    (0.0, [0.25, 0.75])
    """
    normalised = torch.softmax(log_w.detach(), 0)
    return (normalised * (log_q - log_q.detach())).sum(0)


def _require_two(num_samples: int) -> None:
    if num_samples < 2:
        raise ValueError(
            f"ReweightedWakeSleep got num_samples={num_samples} and needs at least 2: a single sample "
            "always has weight 1; draw more, or use losses.WakeSleep, whose φ learns from dreams."
        )
