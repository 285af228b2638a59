"""DisARM: Dong, Mnih & Tucker (2020, arXiv:2006.10680, eqs. 5–9); found independently as U2G by Yin et al. (2020,
arXiv:2006.06448).

    g = ½ (f(b) − f(b̃)) (−1)^b̃ 1[b ≠ b̃] σ(|a|),      b = 1[u > σ(−a)],  b̃ = 1[u < σ(a)]

is the expectation of ARM's gradient given the pair, by E[u − ½ | b, b̃]. Conditioning cannot add variance, and a
coordinate in which the pair agrees contributes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor
from torch.distributions import Distribution

from lowerbound.gradients.antithetic import antithetic_estimate, check_antithetic
from lowerbound.protocols import Estimate, JointDensity, Kind, Objective

__all__ = ["DisARM"]


@dataclass(frozen=True)
class DisARM:
    """`ARM` with the uniform noise integrated out given the pair of bits.

    `num_samples` counts evaluations of the joint, two per pair, and must be even.

    Gradient: unbiased for θ and φ, for every linear objective with a Bernoulli posterior, and for the ELBO of a chain
    of Bernoulli layers, level by level (`layerwise`); refused elsewhere.
    Where the rate is sampled, the gradient for φ omits the score of −log q at fixed b, whose expectation is zero.
    """

    cites: ClassVar[tuple[str, ...]] = ("dong2020disarm", "yin2020probabilistic")

    kind: Kind = field(default="unbiased", init=False, repr=False)
    fewest_samples: int = field(default=2, init=False, repr=False)

    def estimate(
        self, objective: Objective, posterior: Distribution, joint: JointDensity, num_samples: int
    ) -> Estimate:
        """See `protocols.Gradient`."""
        return antithetic_estimate(objective, posterior, joint, num_samples, _coefficient, owner="DisARM")

    def check(self, objective: Objective, posterior: Distribution, num_samples: int) -> None:
        """Refuse posteriors that are not Bernoulli, and objectives that are not a mean over samples."""
        check_antithetic(objective, posterior, num_samples, "DisARM")


def _coefficient(logits: Tensor, u: Tensor, b: Tensor, opposite: Tensor) -> Tensor:
    return 0.5 * (b - opposite) * logits.abs().sigmoid()
