"""RELAX: Grathwohl, Choi, Wu, Roeder & Duvenaud (2018, arXiv:1711.00123, eqs. 8–9 and §3.3).

    g = (f(b) − c(z̃)) ∇_a log q(b) + ∇_a c(z) − ∇_a c(z̃),      c(z) = η f(z_λ) + r_ρ(z_λ, x),  z_λ = soft(z, λ)

is REBAR with a free-form term r_ρ, a net that also sees the datum because f does. λ, η and ρ are learned by lowering
the variance of g; g is unbiased for all of them. r starts at zero, so that RELAX starts as REBAR. The derivation is in
`gradients.control_variate`.

Of a chain b_1, …, b_L, in the order in which q draws them, r at level l reads (b_1, …, b_{l−1}, z_λ, 0, …, 0): one net
serves all levels, and sees what f of the level depends on.
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
from lowerbound.nets import MLP, Shape
from lowerbound.protocols import Estimate, JointDensity, Kind, Objective

__all__ = ["RELAX"]


class RELAX(nn.Module):
    """The score function with a relaxation of the objective plus a learned function as control variate.

    Arguments:
        latent_dim: how many latents, of all layers together.
        event_shape: shape of one datum x.
        categories: K of a categorical posterior; None for a Bernoulli one.
        hidden: width of the hidden layer of r.
        temperature: λ > 0 at the start.

    Gradient: unbiased for θ and φ, for every objective with a Bernoulli or categorical posterior, and for the ELBO of
    a chain of them, level by level (`layerwise`). The likelihood must be differentiable along z, and take
    values between 0 and 1 for it. Each sample takes two evaluations of the joint, one of them with second derivatives.
    Where the objective is linear and its rate sampled, the gradient for φ omits the score of −log q at fixed b, whose
    expectation is zero.

    Raises:
        ValueError: a temperature that is not positive.
    """

    cites: ClassVar[tuple[str, ...]] = ("grathwohl2018backpropagation",)

    kind: Kind = "unbiased"

    def __init__(
        self,
        latent_dim: int,
        event_shape: Shape,
        categories: int | None = None,
        hidden: int = 100,
        temperature: float = 0.5,
    ):
        super().__init__()
        if not 0 < temperature < float("inf"):
            raise ValueError(f"RELAX got temperature={temperature} and needs a positive number.")
        self.latent_shape = (latent_dim,) if categories is None else (latent_dim, categories)
        self.log_temperature = nn.Parameter(torch.tensor(math.log(temperature)))
        self.scale = nn.Parameter(torch.tensor(1.0))
        self.net = MLP([self.latent_shape, event_shape], [hidden], 1, nn.Tanh)
        nn.init.zeros_(self.net.layers[-1].weight)  # pyright: ignore[reportArgumentType]
        nn.init.zeros_(self.net.output_bias)

    def estimate(
        self, objective: Objective, posterior: Distribution, joint: JointDensity, num_samples: int
    ) -> Estimate:
        """See `protocols.Gradient`."""
        if isinstance(posterior, StateChain):

            def one_layer(q: Distribution, of_layer: LayerJoint) -> Estimate:
                return self._of_one(objective, q, of_layer, of_layer.relaxed(self.log_temperature.exp()), 1)

            own = [*self.parameters()]
            return layerwise_estimate(one_layer, objective, posterior, joint, num_samples, own, owner="RELAX")
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
        family, _ = discrete_of(posterior, "RELAX")

        def control(z: Tensor) -> Tensor:
            temperature = self.log_temperature.exp()
            relaxed = relaxed_signal(objective, posterior, relaxed_joint, z, temperature, "RELAX")
            return self.scale * relaxed + self._free(family.soften(z, temperature), joint)

        parameters = [*self.parameters()]
        return controlled_estimate(objective, posterior, joint, num_samples, control, parameters, owner="RELAX")

    def _free(self, z: Tensor, joint: JointDensity) -> Tensor:
        """r of relaxed values (S, B, *event), (S, B)."""
        if not isinstance(joint, LayerJoint):
            return self.net(z, joint.x).squeeze(-1)
        layers = [*joint.layers_before(), z[0]]
        drawn = sum(layer.shape[1] for layer in layers)
        later = z.new_zeros(z.shape[1], self.latent_shape[0] - drawn, *self.latent_shape[1:])
        return self.net(torch.cat([*layers, later], 1), joint.rows_of_x(z.shape[1])).squeeze(-1)[None]

    def check(self, objective: Objective, posterior: Distribution, num_samples: int) -> None:
        """Refuse posteriors that are not discrete, latents of another shape than that of the net, and chains of them
        with another objective than the ELBO.
        """
        if isinstance(posterior, StateChain):
            check_layers(objective, posterior, "RELAX")
            shapes = [tuple(layer.event_shape) for layer in posterior.layers_at(posterior.sample())]
        else:
            discrete_of(posterior, "RELAX")
            shapes = [tuple(posterior.event_shape)]
        same_rest = {shape[1:] for shape in shapes} == {self.latent_shape[1:]}
        if not same_rest or sum(shape[0] for shape in shapes) != self.latent_shape[0]:
            raise ValueError(
                f"RELAX was made for latents of shape {self.latent_shape} and got {' and '.join(map(str, shapes))}; "
                "give it their latent_dim, of all layers together, and their categories if they are categorical."
            )
