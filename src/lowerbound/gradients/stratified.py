"""Stratified samples of a mixture q = Σ_k π_k q_k: Morningstar et al. (2021, arXiv:2003.01687, §3).

Roeder et al. (2017, arXiv:1703.09194) differentiate the ELBO of a mixture in the same way. With T samples z_kt from
every component,

    ELBO = Σ_k π_k E_{q_k}[log w(z)] ≈ Σ_k π_k (1/T) Σ_t log w(z_kt)
    SIWAE = E[log Σ_k π_k (1/T) Σ_t w(z_kt)] ≤ log p(x),      log w(z) = log p(x, z) − log q(z | x), q the whole mixture

Samples within a component are reparameterised, and the weights π_k are differentiated as ordinary factors. The
component of a sample is not drawn and therefore adds no variance.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import ClassVar, Protocol, cast, runtime_checkable

from torch import Tensor
from torch.distributions import Distribution

from lowerbound.gradients.weighted import weighted_value
from lowerbound.objectives import IWAE
from lowerbound.protocols import Estimate, JointDensity, Kind, Objective
from lowerbound.weights import weigh

__all__ = ["Stratified"]


@runtime_checkable
class _Mixture(Protocol):
    """What a posterior must have: log π (batch, component), and samples of every component."""

    log_weights: Tensor

    def rsample_by_component(self, num_samples: int) -> Tensor:
        """(component, num_samples, batch, *event)."""
        ...


@dataclass(frozen=True)
class Stratified:
    """Draws num_samples from every component of a mixture: K · num_samples evaluations of log p(x, z).

    On IWAE the value is SIWAE over all of them, which is a lower bound but not the same number as IWAE with draws from
    q.

    Gradient: unbiased for θ and φ on every objective that is linear in log w, and for SIWAE; refused elsewhere and for
    posteriors that are no mixtures.
    """

    cites: ClassVar[tuple[str, ...]] = ("morningstar2021automatic", "roeder2017sticking")

    kind: Kind = field(default="unbiased", init=False, repr=False)

    def estimate(
        self, objective: Objective, posterior: Distribution, joint: JointDensity, num_samples: int
    ) -> Estimate:
        """See `protocols.Gradient`."""
        mixture = cast(_Mixture, posterior)
        z = mixture.rsample_by_component(num_samples)
        log_share = mixture.log_weights.movedim(-1, 0).unsqueeze(1) - math.log(num_samples)
        log_share = log_share.expand(z.shape[:3]).flatten(0, 1)
        w = weigh(posterior, joint, z.flatten(0, 1), rate=objective.rate)
        w = dataclasses.replace(w, log_probability=log_share)
        return Estimate(surrogate=weighted_value(objective, w), weights=w)

    def check(self, objective: Objective, posterior: Distribution, num_samples: int) -> None:
        """Refuse everything but mixtures, and objectives that can weigh their samples."""
        if not isinstance(posterior, _Mixture):
            raise ValueError(
                f"Stratified needs a MixtureNormal posterior and got {type(posterior).__name__}; "
                "use Pathwise() where q is reparameterised and ScoreFunction() where not."
            )
        if not (objective.linear or isinstance(objective, IWAE)):
            raise ValueError(
                f"Stratified is derived for ELBO and IWAE and not for {type(objective).__name__}; use Pathwise()."
            )
