"""Augment-REINFORCE-merge: Yin & Zhou (2019, arXiv:1807.11143, eq. 7).

    ∇_a E_q[f(b)] = E_u[(f(1[u > σ(−a)]) − f(1[u < σ(a)])) (u − ½)],      u ~ U(0, 1)^D

for bits with logits a: two evaluations of f, no baseline and no derivative along b.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor
from torch.distributions import Distribution

from lowerbound.gradients.antithetic import antithetic_estimate, check_antithetic
from lowerbound.protocols import Estimate, JointDensity, Kind, Objective

__all__ = ["ARM"]


@dataclass(frozen=True)
class ARM:
    """Weighs the uniform noise of an antithetic pair by the difference of f between its members.

    `num_samples` counts evaluations of the joint, two per pair, and must be even. `DisARM` never has a larger variance.

    Gradient: unbiased for θ and φ, for every linear objective with a Bernoulli posterior, and for the ELBO of a chain
    of Bernoulli layers, level by level (`layerwise`); refused elsewhere.
    Where the rate is sampled, the gradient for φ omits the score of −log q at fixed b, whose expectation is zero.
    """

    cites: ClassVar[tuple[str, ...]] = ("yin2019arm",)

    kind: Kind = field(default="unbiased", init=False, repr=False)
    fewest_samples: int = field(default=2, init=False, repr=False)

    def estimate(
        self, objective: Objective, posterior: Distribution, joint: JointDensity, num_samples: int
    ) -> Estimate:
        """See `protocols.Gradient`."""
        return antithetic_estimate(objective, posterior, joint, num_samples, _coefficient, owner="ARM")

    def check(self, objective: Objective, posterior: Distribution, num_samples: int) -> None:
        """Refuse posteriors that are not Bernoulli, and objectives that are not a mean over samples."""
        check_antithetic(objective, posterior, num_samples, "ARM")


def _coefficient(logits: Tensor, u: Tensor, b: Tensor, opposite: Tensor) -> Tensor:
    return u - 0.5
