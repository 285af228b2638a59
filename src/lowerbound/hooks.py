"""What a distribution may do beyond drawing and scoring: the protocols that `isinstance` asks for.

Most distributions do none of this. Each hook is one protocol, declared here once, and whoever uses it asks
`isinstance(d, Protocol)`:

======================  ===============================================================================================
`Layered`               a hierarchy over a tuple of latents, which can be taken apart into its layers
`Lends`                 a posterior that evaluates p(z) on its way, and lends what it has to the prior that scores z
`Augmented`             a posterior that draws auxiliary variables λ beside z, with the r(λ | z, x) that belongs to them
`EndsInState`           a prior whose likelihood reads a state that z leads to, and not z itself
`StatesEventShape`      a module that says over what shape the distributions are that it returns
`StatesOutShape`        a net that says what it produces per datum
`AssignsClusters`       a posterior that knows the probability of each cluster given x
`HasConditionalMeans`   a distribution without a mean in closed form, of which one can show means along a draw
======================  ===============================================================================================

Those of distributions have methods only, so that a compiled graph can decide them. `JointDensity` stands here too,
because `Augmented` extends one.
"""

from __future__ import annotations

from typing import Protocol, TypeAlias, runtime_checkable

from torch import Tensor
from torch.distributions import Distribution

__all__ = [
    "AssignsClusters",
    "Augmented",
    "EndsInState",
    "HasConditionalMeans",
    "JointDensity",
    "Latents",
    "Layered",
    "Lends",
    "StatesEventShape",
    "StatesOutShape",
]

Latents: TypeAlias = Tensor | tuple[Tensor, ...]
"""One latent variable (S, B, *event), or one tensor per layer of a hierarchy."""


@runtime_checkable
class JointDensity(Protocol):
    """z ↦ log p(x, z) for one batch x, in its two terms."""

    @property
    def prior(self) -> Distribution:
        """p(z), as a distribution: closed forms of the rate need it."""
        ...

    @property
    def x(self) -> Tensor:
        """The batch (B, *event): learned baselines read it."""
        ...

    def __call__(self, z: Latents) -> tuple[Tensor, Tensor]:
        """Return log p(x | z) and log p(z), each (S, B) in nats."""
        ...


@runtime_checkable
class Layered(Protocol):
    """A distribution over (z_1, …, z_L), drawn layer by layer (`chain.StateChain`)."""

    def layers_at(self, z: Latents) -> tuple[Distribution, ...]:
        """The distribution of each z_l given the layers of z that are drawn before it, z_1 first."""
        ...

    def is_downward(self) -> bool:
        """Whether z_L is drawn first and z_1 last; the reverse if not."""
        ...


@runtime_checkable
class Lends(Protocol):
    """A posterior that shares the generative path: it has evaluated p(z) at its draws."""

    def lend(self, prior: Distribution) -> None:
        """Let this prior use what was evaluated, if it is another evaluation of the same; do nothing if it is not."""
        ...


@runtime_checkable
class Augmented(Protocol):
    """A posterior q(z, λ | x) = q(z | λ, x) q(λ | x) whose marginal q(z | x) has no density in closed form."""

    def augment(self, joint: JointDensity) -> JointDensity:
        """(z, λ) ↦ log p(x, z) + log r(λ | z, x)."""
        ...

    def split(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """z and λ of a draw."""
        ...

    def log_reverse(self, value: Tensor) -> Tensor:
        """log r(λ | z, x) (S, B) of a draw, nats."""
        ...


@runtime_checkable
class EndsInState(Protocol):
    """A prior p(z) that walks through states, of which the likelihood reads the last: p(x | z) = p(x | h(z)).

    The distribution has this method, and so has the module that gives it (there with an optional context), by which a
    model knows without calling it.
    """

    def end_state(self, z: Latents) -> Latents:
        """h(z): what the likelihood is called with in the place of z, for latents (..., *event)."""
        ...


@runtime_checkable
class StatesEventShape(Protocol):
    """A module whose distributions are all over one shape."""

    event_shape: tuple[int, ...]


@runtime_checkable
class StatesOutShape(Protocol):
    """A net that says what it produces per datum."""

    out_shape: int | tuple[int, ...]


@runtime_checkable
class HasConditionalMeans(Protocol):
    """An autoregressive distribution p(x) = Π_d p(x_d | x_<d)."""

    def conditional_means(self) -> Tensor:
        """E[x_d | x_<d] of every d along one draw of x (*batch, *event)."""
        ...


@runtime_checkable
class AssignsClusters(Protocol):
    """A posterior module of a model with clusters."""

    def cluster_probabilities(self, x: Tensor) -> Tensor:
        """p(cluster | x) of rows x (B, *event): (B, clusters)."""
        ...
