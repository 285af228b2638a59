"""q(z | x) = ∫ q(z | λ, x) q(λ | x) dλ, a continuous mixture made tractable by an auxiliary model r(λ | z, x).

Sources: hierarchical variational models (Ranganath, Tran & Blei 2016, arXiv:1511.02386, §3); auxiliary deep
generative models (Maaløe et al. 2016, arXiv:1602.05473, §2). The marginal q(z | x) has no density in closed
form. Any r gives

    E_q[log p(x, z) + log r(λ | z, x) − log q(z, λ | x)] = ELBO of the marginal q − E_q[KL(q(λ | z, x) ‖ r)]

which is below the ELBO and equals it where r is the exact reverse of q. It is also the plain ELBO of another model:

    latents (z, λ),      joint p(x | z) p(z) r(λ | z, x),      posterior q(z, λ | x) = q(z | λ, x) q(λ | x)

so that every objective and every gradient estimator applies unchanged. log r is a part of the joint and not of log q,
because its parameters are learned like θ: the score of q has mean zero, that of r does not. q is therefore a
distribution over the concatenation [z, λ], and `augment` extends a joint p(x, z) by r. The rate log q(z, λ) − log p(z)
− log r(λ | z) then bounds that of the marginal from above.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from lowerbound.nets.mlp import MLP
from lowerbound.nets.parameters import parameters_of
from lowerbound.nets.shapes import Shape
from lowerbound.nets.softplus import positive
from lowerbound.posteriors.parameters import SampleShape, latent_dim_of, require_at_least
from lowerbound.protocols import Context, JointDensity, Latents

__all__ = ["AugmentedJoint", "AuxiliaryNormal", "AuxiliaryNormalDistribution"]


class AuxiliaryNormal(nn.Module):
    """Gaussian q(λ | x), q(z | λ, x) and r(λ | z, x): a flexible posterior over z.

    Arguments:
        net: from a context (..., *event) to (..., 2 auxiliary_dim + 2 latent_dim + features): mean and scale of λ,
            mean and scale of z before λ is seen (scales before `positive`), and features h of x. Two small
            perceptrons, made here, add what (λ, h) says about z, and give r from (z, h).
        auxiliary_dim: length of λ.
        features: length of h.
        hidden: width of the one hidden layer of both perceptrons; 0 makes them affine.
        latent_shape: length of z; read from `net.out_shape` if the net states it.
        min_scale: the floor ε of every scale.

    Returns (when called with a context of B rows):
        A reparameterised distribution over [z, λ], batch shape (B,), event shape (latent_dim + auxiliary_dim,). `weigh`
        extends the joint p(x, z) by r.

    Raises:
        ValueError: a size that is too small, or the output shape of the net fits no latent_dim.
    """

    cites: ClassVar[tuple[str, ...]] = ("ranganath2016hierarchical", "maaloe2016auxiliary")

    def __init__(
        self,
        net: nn.Module,
        auxiliary_dim: int = 8,
        features: int = 32,
        hidden: int = 64,
        latent_shape: Shape | None = None,
        min_scale: float = 1e-4,
    ):
        super().__init__()
        require_at_least(1, owner="AuxiliaryNormal", auxiliary_dim=auxiliary_dim, features=features)
        require_at_least(0, owner="AuxiliaryNormal", hidden=hidden)
        self.net, self.auxiliary_dim, self.features = net, auxiliary_dim, features
        self.min_scale = min_scale
        self.latent_dim = latent_dim_of(
            net, latent_shape, lambda d: self.parameter_shape(d, auxiliary_dim, features), owner="AuxiliaryNormal"
        )
        self.event_shape = (self.latent_dim + auxiliary_dim,)
        widths = [hidden] if hidden else []
        self.conditional = MLP([auxiliary_dim, features], widths, (2, self.latent_dim))
        self.reverse = MLP([self.latent_dim, features], widths, (2, auxiliary_dim))

    @staticmethod
    def parameter_shape(latent_dim: int, auxiliary_dim: int = 8, features: int = 32) -> tuple[int, ...]:
        """What its net must output per datum."""
        return (2 * auxiliary_dim + 2 * latent_dim + features,)

    def forward(self, context: Context) -> AuxiliaryNormalDistribution:
        """q(z, λ | context)."""
        a, d = self.auxiliary_dim, self.latent_dim
        of_lambda, of_z, h = parameters_of(self.net, context).split([2 * a, 2 * d, self.features], dim=-1)
        return AuxiliaryNormalDistribution(self, of_lambda.unflatten(-1, (2, a)), of_z.unflatten(-1, (2, d)), h)


class AuxiliaryNormalDistribution(Distribution):
    """q(z | λ, x) q(λ | x) over the concatenation [z, λ], and the r(λ | z, x) that goes with it.

    Arguments:
        module: the perceptrons of q(z | λ, x) and r.
        of_lambda: mean and raw scale of λ (..., 2, A).
        of_z: mean and raw scale of z before λ is seen (..., 2, D).
        features: h (..., F).
    """

    arg_constraints = {}  # noqa: RUF012  # pyright: ignore[reportAssignmentType]
    has_rsample = True

    def __init__(self, module: AuxiliaryNormal, of_lambda: Tensor, of_z: Tensor, features: Tensor):
        self._module, self._of_z, self._features = module, of_z, features
        self.auxiliary = self._normal(of_lambda)
        event = of_z.shape[-1] + of_lambda.shape[-1]
        super().__init__(features.shape[:-1], torch.Size((event,)), validate_args=False)

    def conditional(self, auxiliary: Tensor) -> Independent:
        """q(z | λ, x) at λ (..., A)."""
        return self._normal(self._of_z + self._module.conditional(auxiliary, self._features))

    def reverse(self, z: Tensor) -> Independent:
        """r(λ | z, x) at z (..., D)."""
        return self._normal(self._module.reverse(z, self._features))

    def log_reverse(self, value: Tensor) -> Tensor:
        """log r(λ | z, x) of value (..., D + A): (...), nats."""
        z, auxiliary = self.split(value)
        return self.reverse(z).log_prob(auxiliary)

    def split(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """z (..., D) and λ (..., A) of value (..., D + A)."""
        d = self._of_z.shape[-1]
        return value[..., :d], value[..., d:]

    def augment(self, joint: JointDensity) -> AugmentedJoint:
        """[z, λ] ↦ log p(x, z) + log r(λ | z, x), the joint to which this posterior belongs."""
        return AugmentedJoint(joint, self)

    def rsample(self, sample_shape: SampleShape = ()) -> Tensor:
        """Draw [z, λ] (*sample_shape, ..., D + A)."""
        auxiliary = self.auxiliary.rsample(sample_shape)
        return torch.cat([self.conditional(auxiliary).rsample(), auxiliary], dim=-1)

    def log_prob(self, value: Tensor) -> Tensor:
        """log q(z | λ, x) + log q(λ | x) of value (..., D + A): (...), nats."""
        z, auxiliary = self.split(value)
        return self.conditional(auxiliary).log_prob(z) + self.auxiliary.log_prob(auxiliary)

    def _normal(self, parameters: Tensor) -> Independent:
        loc, raw = parameters.unbind(-2)
        scale = positive(raw, self._module.min_scale)
        return Independent(Normal(loc, scale, validate_args=False), 1, validate_args=False)


@dataclass(frozen=True)
class AugmentedJoint:
    """[z, λ] ↦ (log p(x | z), log p(z) + log r(λ | z, x)). See `protocols.JointDensity`.

    Attributes:
        joint: z ↦ (log p(x | z), log p(z)).
        posterior: the q(z, λ | x) whose r it takes.
    """

    joint: JointDensity
    posterior: AuxiliaryNormalDistribution

    @property
    def prior(self) -> Distribution:
        """p(z) of the joint that was extended."""
        return self.joint.prior

    @property
    def x(self) -> Tensor:
        """The batch of the joint that was extended."""
        return self.joint.x

    def __call__(self, z: Latents) -> tuple[Tensor, Tensor]:
        """The two terms at latents [z, λ] (S, B, D + A), each (S, B) in nats."""
        draw = cast(Tensor, z)
        log_likelihood, log_prior = self.joint(self.posterior.split(draw)[0])
        return log_likelihood, log_prior + self.posterior.log_reverse(draw)
