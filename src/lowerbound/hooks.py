"""What a distribution may do besides sampling and scoring: protocols that are tested by `isinstance`.

Most distributions do none of this. Each hook is one protocol, declared here once, and its users test
`isinstance(d, Protocol)`, or in every step `has_hook.has(d, Protocol)`, which is the same and faster:

======================  ===============================================================================================
`Layered`               a hierarchy over a tuple of latents, with the distributions of its layers
`Lends`                 a posterior that evaluates p(z) while drawing, and lends the results to the prior that scores z
`Augmented`             a posterior that draws auxiliary variables λ besides z, with their r(λ | z, x)
`EndsInState`           a prior whose likelihood reads the state to which z leads, instead of z
`StatesEventShape`      a module that states the event shape of the distributions that it returns
`StatesOutShape`        a net that states its output shape per datum
`Classifies`            a model that knows the probability of each class given x and its context
`AssignsClusters`       a posterior that knows the probability of each cluster given x
`HasConditionalMeans`   a distribution without a mean in closed form that has means along a draw
`PointMass`             a posterior of probability one at a single value of z
`GivenContext`          the joint density of a model that may have a context
`WithoutDensity`        a posterior that can be drawn from and whose density is not known
`Quantizes`             a point mass at codes of encoded vectors, whose gradient reaches the vectors by copying
`Jumps`                 a reparameterised posterior with a part whose value jumps along its parameters
`Embeds`                a posterior module that turns codes into the vectors they stand for
`KnowsEachState`        a posterior module that knows p(state of each step | series) exactly
`KnowsWhyMissing`       a distribution of rows with gaps that knows what gaps say of the values that they hide
`FindsStates`           a posterior module that knows the most probable path of states behind a series
`ScoresData`            a joint density that knows log p(x | z) without log p(z)
`KnowsSlope`            a distribution p(x) whose log p(x) has a gradient that costs less than log p(x) itself
`IsExact`               a posterior module that may be p(z | x) itself
`NamesLatents`          a likelihood, or its net, that reads several named latents side by side in one vector
`HasTopics`             a net of a likelihood whose parameters are distributions over words
`HasCumulative`         a distribution of single numbers that states P(x ≤ value)
`MapsNoise`             a distribution that is a flow z = f(ε) from a standard normal
`OverWholeNumbers`      a distribution of independent whole numbers that states P(z ≤ k)
`ChosenInTurn`          a distribution whose latents can be chosen one after another
`ComesInTurn`           a distribution whose elements are single numbers given those before them
`CompletesRows`         a posterior module that sums p(class | row) out, and decodes its own draws, for rows with gaps
`CompletesContext`      a model whose context has a part that is computed from x unless it is stated
======================  ===============================================================================================

Hooks of distributions have methods only, so that they can be tested in a compiled graph. Those of joint densities are
declared in `joint_densities`, because `Augmented` extends one.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Protocol, TypeAlias, runtime_checkable

from torch import Tensor
from torch.distributions import Distribution

from lowerbound.joint_densities import GivenContext, JointDensity, Latents, ScoresData

__all__ = [
    "AssignsClusters",
    "Augmented",
    "ChosenInTurn",
    "Classifies",
    "ComesInTurn",
    "CompletesContext",
    "CompletesRows",
    "Embeds",
    "EndsInState",
    "FindsStates",
    "GivenContext",
    "HasConditionalMeans",
    "HasCumulative",
    "HasTopics",
    "IsExact",
    "JointDensity",
    "Jumps",
    "KnowsEachState",
    "KnowsSlope",
    "KnowsWhyMissing",
    "Latents",
    "Layered",
    "Lends",
    "MapsNoise",
    "NamesLatents",
    "OverWholeNumbers",
    "PointMass",
    "Quantizes",
    "ScoresData",
    "StatesEventShape",
    "StatesOutShape",
    "Turn",
    "WithoutDensity",
]

Turn: TypeAlias = tuple[Distribution, Tensor] | tuple[Distribution, Tensor, Tensor]
"""What `ComesInTurn` yields."""


@runtime_checkable
class Layered(Protocol):
    """A distribution over (z_1, …, z_L), drawn layer by layer (`chain.StateChain`)."""

    def layers_at(self, z: Latents) -> tuple[Distribution, ...]:
        """The distribution of each z_l given the layers of z that are drawn before it, z_1 first."""
        ...

    def drawing_order(self) -> tuple[int, ...]:
        """The places of its layers in the tuple, as they are drawn: (L − 1, …, 0) if z_L is drawn first, z_1 last."""
        ...


@runtime_checkable
class Lends(Protocol):
    """A posterior along the generative path, which has evaluated p(z) at its draws."""

    def lend(self, prior: Distribution) -> None:
        """Let this prior use the results, if it is another evaluation of the same prior; do nothing otherwise."""
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
    """A prior p(z) that walks through states. The likelihood reads the last state: p(x | z) = p(x | h(z)).

    Both the distribution and its module have this method (the module with an optional context), so that a model knows
    of it without a call of the module.
    """

    def end_state(self, z: Latents) -> Latents:
        """h(z), with which the likelihood is called in place of z, for latents (..., *event)."""
        ...


@runtime_checkable
class StatesEventShape(Protocol):
    """A module whose distributions all have the same event shape."""

    event_shape: tuple[int, ...]


@runtime_checkable
class StatesOutShape(Protocol):
    """A net that states its output shape per datum."""

    out_shape: int | tuple[int, ...]


@runtime_checkable
class HasConditionalMeans(Protocol):
    """An autoregressive distribution p(x) = Π_d p(x_d | x_<d)."""

    def conditional_means(self) -> Tensor:
        """E[x_d | x_<d] of every d along one draw of x (*batch, *event)."""
        ...


@runtime_checkable
class PointMass(Protocol):
    """A posterior of probability one at a single z for each x: every draw is the same, and one draw is enough."""

    def point(self) -> Tensor:
        """That z (B, *event), a constant."""
        ...


@runtime_checkable
class Quantizes(PointMass, Protocol):
    """A point mass at the codes k* of encoded vectors f(x)."""

    def straight_through(self) -> Tensor:
        """The point, with a derivative by which a gradient for the embedded codes reaches f(x) unchanged."""
        ...

    def pull(self, commitment: float) -> Tensor:
        """The distance of codes and vectors (B,): each code is drawn to its vectors and, times commitment, each vector
        to its code.
        """
        ...

    def observe(self) -> None:
        """Show the encoded vectors to a codebook that learns from them without a gradient."""
        ...


@runtime_checkable
class Jumps(Protocol):
    """A reparameterised posterior with discrete parts in its draws: log p(z) and log q(z | x) read them."""

    def jumps(self) -> None:
        """Nothing: that there is this method says it."""
        ...


@runtime_checkable
class WithoutDensity(Protocol):
    """A posterior by a sampler alone. Its `log_prob` refuses in a sentence."""

    def is_constant(self) -> bool:
        """Whether all draws for an x are the same."""
        ...


@runtime_checkable
class Embeds(Protocol):
    """A posterior module over one-hot codes that stand for vectors."""

    @property
    def num_codes(self) -> int:
        """How many values the code of a position has, in each stage."""
        ...

    def numbers(self, z: Tensor) -> Tensor:
        """From codes (..., *event) to their numbers (..., stage, position), from 0."""
        ...

    def embed(self, z: Tensor) -> Tensor:
        """From codes (..., *event) to vectors (..., features, *positions); linear in z."""
        ...


@runtime_checkable
class HasCumulative(Protocol):
    """An elementwise distribution that can be coded."""

    def cumulative(self) -> tuple[Callable[..., Any], tuple[Tensor, ...]]:
        """A function F of `distribution_functions` and its parameters θ, with P(x ≤ value) = F(value, *θ).

        Each parameter has the batch shape, and further axes where F says so.
        """
        ...


@runtime_checkable
class OverWholeNumbers(Protocol):
    """A distribution whose elements are independent whole numbers."""

    def log_mass(self, z: Tensor) -> Tensor:
        """log P(z_i) of each number of z (..., *batch, *event), nats."""
        ...

    def cumulative_at(self, low: int, high: int) -> Any:
        """P(z ≤ k) of k = low, …, high: an array (…, K) of float64 that broadcasts to (*batch, *event, K)."""
        ...


@runtime_checkable
class ChosenInTurn(Protocol):
    """A distribution over several latents, each given those before it."""

    def parts_of(self, z: Latents) -> tuple[Tensor, ...]:
        """What is chosen at a time, each (S, B, *event)."""
        ...

    def chosen_in_turn(self, choose: Callable[[int, Any], Tensor]) -> Latents:
        """The latents whose parts `choose` gives, called with the place of each in `parts_of` and its distribution
        given the parts chosen before, in the order of drawing.
        """
        ...


@runtime_checkable
class ComesInTurn(Protocol):
    """A distribution over elements that are not independent, p(x) = Π_t p(x_t | x_<t) with parts x_t of elements."""

    def in_turn(self, rows: int) -> Generator[Turn, Tensor, None]:
        """Yield each p(x_t | x_<t), elementwise (rows, n), and the places (n,) of its elements in the flattened event,
        and receive x_t (rows, n, *value). The batch shape is (rows,), or () for the same distribution in each row.

        A third item (rows,) says in which rows the turn is; elsewhere its elements are certain to have the first of
        their values, as in a text that has ended. So are elements that are in no turn.
        """
        ...


@runtime_checkable
class KnowsWhyMissing(Protocol):
    """A distribution of rows with gaps, p(x_obs, s), where s is which entries are missing."""

    def of_missing(self) -> Distribution:
        """The distribution of entries given that they are missing: as many columns, all of them drawn so."""
        ...


@runtime_checkable
class KnowsSlope(Protocol):
    """A distribution of data with one parameter for each number of x, along which the derivative is known."""

    def slope(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """The parameters (..., *event), and the derivative of log p(value) along each, a new constant."""
        ...


@runtime_checkable
class MapsNoise(Protocol):
    """A flow from ε ~ N(0, I) to z that is known in both directions."""

    def of_noise(self, noise: Tensor) -> Tensor:
        """z (B, D) of ε (B, D)."""
        ...

    def to_noise(self, value: Tensor) -> Tensor:
        """ε of z (B, D), differentiable."""
        ...


@runtime_checkable
class CompletesRows(Protocol):
    """A posterior module of tables with gaps, of a mixture that can be summed over."""

    def class_probabilities(self, x: Tensor) -> Tensor | None:
        """p(x_j = v | x_obs) of rows x (B, D): (B, D, K), 0 in columns that hold no classes; None without such."""
        ...

    def decoded(self, x: Tensor, num_samples: int) -> Distribution:
        """p(x | z_s) of S draws z_s ~ q(z | x_obs), batch shape (S, B)."""
        ...


@runtime_checkable
class CompletesContext(Protocol):
    """A model whose context has a part that is computed from x unless it is stated, such as the size of a library."""

    def completed(self, x: Tensor, context: Tensor | None) -> Tensor | None:
        """The context of rows x (B, *event) with that part."""
        ...


@runtime_checkable
class Classifies(Protocol):
    """A model with classes, some of which it was told."""

    def class_probabilities(self, x: Tensor, context: Tensor | None, *, seed: int) -> Tensor:
        """q(class | x, context) of rows x (B, *event), 0 for a class that stands for no label: (B, classes)."""
        ...


@runtime_checkable
class AssignsClusters(Protocol):
    """A posterior module of a model with clusters."""

    def cluster_probabilities(self, x: Tensor) -> Tensor:
        """p(cluster | x) of rows x (B, *event): (B, clusters)."""
        ...


@runtime_checkable
class FindsStates(Protocol):
    """A posterior module of a model with a chain of states."""

    def most_probable_states(self, x: Tensor) -> Tensor:
        """The path of states of largest p(path | x) of rows x (B, *event): numbers from 0, (B, T)."""
        ...


@runtime_checkable
class KnowsEachState(Protocol):
    """A posterior module of a chain of states, one-hot, of which each emits one step of x and no other."""

    def state_probabilities(self, x: Tensor) -> Tensor:
        """p(state of step t | x) of rows x (B, *event): (B, T, K)."""
        ...


@runtime_checkable
class IsExact(Protocol):
    """A posterior module made of a prior and a likelihood, of which it is the posterior."""

    def is_exact_for(self, model: Any) -> bool:
        """Whether q(z | x) is p(z | x) of this model, so that log w is log p(x) for every z: one draw is enough."""
        ...


@runtime_checkable
class NamesLatents(Protocol):
    """A likelihood, or its net, that may read several latents side by side in one vector z."""

    def latent_parts(self) -> dict[str, int]:
        """The length of each by its name, in their order; empty for one latent."""
        ...


@runtime_checkable
class HasTopics(Protocol):
    """The net of a likelihood of counts of words."""

    def topics(self) -> Tensor:
        """The probabilities of the words in each topic (K, words); rows sum to 1."""
        ...
