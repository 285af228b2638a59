"""REBAR: Tucker, Mnih, Maddison, Lawson & Sohl-Dickstein (2017, arXiv:1703.07370, eq. 4 and §3).

    g = (f(b) − η f(z̃_λ)) ∇_a log q(b) + η ∇_a f(z_λ) − η ∇_a f(z̃_λ),      z_λ = soft(z, λ)

is the score function with the objective at relaxed latents as its control variate: the Concrete gradient without its
bias. The temperature λ and the scale η are learned by lowering the variance of g; g is unbiased for all λ and η. The
derivation is in `gradients.control_variate`.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from lowerbound.chain import StateChain
from lowerbound.gradients.control_variate import controlled_estimate, relaxed_signal
from lowerbound.gradients.discrete import discrete_of
from lowerbound.gradients.layerwise import LayerJoint, check_layers, layerwise_estimate
from lowerbound.protocols import Estimate, JointDensity, Kind, Objective

__all__ = ["REBAR"]


class REBAR(nn.Module):
    """The score function with a relaxation of the objective as control variate.

    Arguments:
        temperature: λ > 0 at the start.

    Gradient: unbiased for θ and φ, for every objective with a Bernoulli or categorical posterior, and for the ELBO of
    a chain of them, level by level (`layerwise`). The likelihood must
    be differentiable along z, and take values between 0 and 1 for it. Each sample takes two evaluations of the joint,
    one of them with second derivatives. Where the objective is linear and its rate sampled, the gradient for φ omits
    the score of −log q at fixed b, whose expectation is zero.

    Raises:
        ValueError: a temperature that is not positive.
    """

    cites: ClassVar[tuple[str, ...]] = ("tucker2017rebar",)

    kind: Kind = "unbiased"

    def __init__(self, temperature: float = 0.5):
        super().__init__()
        if not 0 < temperature < float("inf"):
            raise ValueError(f"REBAR got temperature={temperature} and needs a positive number.")
        self.log_temperature = nn.Parameter(torch.tensor(math.log(temperature)))
        self.scale = nn.Parameter(torch.tensor(1.0))

    def estimate(
        self, objective: Objective, posterior: Distribution, joint: JointDensity, num_samples: int
    ) -> Estimate:
        """See `protocols.Gradient`."""
        if isinstance(posterior, StateChain):

            def one_layer(q: Distribution, of_layer: LayerJoint) -> Estimate:
                return self._of_one(objective, q, of_layer, of_layer.relaxed(self.log_temperature.exp()), 1)

            own = [*self.parameters()]
            return layerwise_estimate(one_layer, objective, posterior, joint, num_samples, own, owner="REBAR")
        return self._of_one(objective, posterior, joint, joint, num_samples)

    def _of_one(
        self,
        objective: Objective,
        posterior: Distribution,
        joint: JointDensity,
        relaxed_joint: JointDensity,
        num_samples: int,
    ) -> Estimate:
        """The estimate for one layer, with the joint that its control variate reads."""

        def control(z: Tensor) -> Tensor:
            return self.scale * relaxed_signal(
                objective, posterior, relaxed_joint, z, self.log_temperature.exp(), "REBAR"
            )

        parameters = [*self.parameters()]
        return controlled_estimate(objective, posterior, joint, num_samples, control, parameters, owner="REBAR")

    def check(self, objective: Objective, posterior: Distribution, num_samples: int) -> None:
        """Refuse posteriors that are not discrete, and chains of them with another objective than the ELBO."""
        if isinstance(posterior, StateChain):
            check_layers(objective, posterior, "REBAR")
        else:
            discrete_of(posterior, "REBAR")
