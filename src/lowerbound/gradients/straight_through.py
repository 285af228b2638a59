"""The straight-through estimator: Bengio, Léonard & Courville (2013, arXiv:1308.3432, §4).

The objective is evaluated at b ~ q and differentiated as if b were a smooth function of the logits a:

    ∂b/∂a := ∂π/∂a, with π = E[b] (sigmoid or softmax of a)             no temperature
    ∂b/∂a := ∂y/∂a, with y the Concrete that b is the rounding of       straight-through Gumbel-softmax at τ

The second is of Jang, Gu & Poole (2017, arXiv:1611.01144, §2.2). For bits the first is exact where the objective is
linear in each bit; the second only in the limit τ → 0, where its variance is infinite. Both ignore the curvature of the
objective between the values of b: on the small models of the tests the bias of the ELBO's gradient is 9 and 16 % of its
norm for bits, and 82 % for three categories behind a saturated net, for every τ.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor
from torch.distributions import Distribution

from lowerbound.chain import StateChain
from lowerbound.gradients.discrete import Discrete, discrete_of, q_without_score
from lowerbound.gradients.layerwise import check_sampled, log_q_without_score, values_from_noise
from lowerbound.protocols import Estimate, JointDensity, Kind, Objective
from lowerbound.weights import weigh

__all__ = ["StraightThrough"]


@dataclass(frozen=True)
class StraightThrough:
    """Differentiates the objective at discrete samples, and applies this derivative to the logits.

    Arguments:
        temperature: τ of the Concrete whose derivative is used; None takes that of the probabilities.

    Gradient: unbiased for θ, biased for φ. The likelihood must be differentiable along z.

    Raises:
        ValueError: a temperature that is not positive.
    """

    cites: ClassVar[tuple[str, ...]] = ("bengio2013estimating", "jang2017categorical")

    temperature: float | None = None
    kind: Kind = field(default="biased", init=False, repr=False)

    def __post_init__(self) -> None:
        if self.temperature is not None and not 0 < self.temperature < float("inf"):
            raise ValueError(f"StraightThrough got temperature={self.temperature} and needs a positive number or None.")

    @property
    def works(self) -> tuple[str, ...]:
        """The relaxed step only with a temperature."""
        return self.cites[:1] if self.temperature is None else self.cites

    def estimate(
        self, objective: Objective, posterior: Distribution, joint: JointDensity, num_samples: int
    ) -> Estimate:
        """See `protocols.Gradient`."""
        if isinstance(posterior, StateChain):
            return self._of_chain(objective, posterior, joint, num_samples)
        family, a = discrete_of(posterior, "StraightThrough")
        z = family.draw(a, num_samples)
        b = self._straight_through(family, a, z)
        w = weigh(q_without_score(objective, family, a), joint, b, rate=objective.rate)
        return Estimate(surrogate=objective.reduce(objective.signal(w)), weights=w)

    def _straight_through(self, family: Discrete, a: Tensor, z: Tensor) -> Tensor:
        """The rounding of z, with the derivative of a smooth function of the logits a."""
        smooth: Tensor = family.mean(a) if self.temperature is None else family.soften(z, self.temperature)
        return family.harden(z) + (smooth - smooth.detach())

    def _of_chain(self, objective: Objective, chain: StateChain, joint: JointDensity, num_samples: int) -> Estimate:
        """The same in every layer: the logits of later layers read the straight-through values of earlier ones."""
        walk = chain.walk_by(values_from_noise(num_samples, self._straight_through, "StraightThrough"))
        chain.remember(walk, drawn=True)
        log_q = log_q_without_score(objective, walk, "StraightThrough")
        w = weigh(chain, joint, walk.z, rate=objective.rate, log_q=log_q)
        return Estimate(surrogate=objective.reduce(objective.signal(w)), weights=w)

    def check(self, objective: Objective, posterior: Distribution, num_samples: int) -> None:
        """Refuse posteriors that are not discrete, and closed forms of the rate of a chain of them."""
        if isinstance(posterior, StateChain):
            check_sampled(objective, posterior, "StraightThrough")
        else:
            discrete_of(posterior, "StraightThrough")
