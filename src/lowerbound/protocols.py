"""The seams of the library: read this file first.

Seven choices make a variational latent variable model, and each is one small object behind one of these protocols:

=====================  =======================================================================================
prior, likelihood,     a `Conditional`: a module that returns a distribution. A zuko flow already is one.
posterior
objective              an `Objective`: from log w, shaped (sample, batch), to one bound per datum.
gradient estimator     a `Gradient`: draws latents and makes the objective differentiable.
schedule               a `Schedule`: from the step to a number.
inference scheme       an `inference.InferenceScheme`: how q(z | x) is reached; by the encoder alone if none is chosen.
=====================  =======================================================================================

Shapes. The sample axis S comes first and is always there, also for one sample; then the batch axis B; then the event.
A conditional evaluated at a batch of contexts has `batch_shape` (B,) (or () where it does not depend on its context),
so that `rsample((S,))` is (S, B, *event) and `log_prob` of that is (S, B). Everything named `log_*` is in nats.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution

from lowerbound.weights import JointDensity, Latents, LogWeights, RateForm

__all__ = [
    "Bound",
    "Conditional",
    "Context",
    "Estimate",
    "EstimatesRate",
    "FollowsSteps",
    "Gradient",
    "HasOwnMomentum",
    "HasOwnRate",
    "InitializedFromData",
    "JointDensity",
    "Kind",
    "Latents",
    "LogWeights",
    "Objective",
    "Penalty",
    "RateForm",
    "Schedule",
]

Context: TypeAlias = Tensor | tuple[Tensor, ...]
"""What a conditional is conditioned on. Several tensors form a tuple; the net receives them as its arguments.
"""

Kind: TypeAlias = Literal["exact", "unbiased", "biased"]
"""The bias of a gradient: none and no noise either; none on average; or some, in the gradient of φ."""

Bound: TypeAlias = Literal["lower", "upper", "none"]


@runtime_checkable
class Conditional(Protocol):
    """A prior, likelihood or posterior: called with a context, returns a distribution."""

    def __call__(self, context: Context | None = None) -> Distribution:
        """The distribution given its context."""
        ...


@runtime_checkable
class InitializedFromData(Protocol):
    """A conditional that starts better from data (an output bias, pseudo-inputs). Called once, before training."""

    def initialize(self, x: Tensor) -> None:
        """Start from some training rows (N, *event), as the likelihood sees them."""
        ...


@runtime_checkable
class Objective(Protocol):
    """One bound (or score) per datum, in nats, larger is better.

    Only objectives that are linear in log w may ask for a rate in closed form.
    """

    @property
    def bound(self) -> Bound:
        """Whether its expectation lies below log p(x), above it, or neither."""
        ...

    @property
    def linear(self) -> bool:
        """Whether it is linear in log w, with the mean as `reduce`: its expectation then does not depend on S."""
        ...

    @property
    def rate(self) -> RateForm:
        """How log p(z) − log q(z | x) enters the weights."""
        ...

    def signal(self, w: LogWeights) -> Float[Tensor, "sample batch"]:
        """What a gradient estimator learns from: log w, or a tempered form of it."""
        ...

    def reduce(self, signal: Float[Tensor, "sample batch"]) -> Float[Tensor, "batch"]:
        """From the signal of S samples to the value of the objective, per datum."""
        ...


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A value to report and to differentiate.

    Attributes:
        surrogate: (batch,) nats. Its VALUE is the objective; its GRADIENT is the estimator's.
        weights: the terms it was computed from.
        terms: (batch,) of what the estimator learns by itself, by name, for the record of training.
    """

    surrogate: Float[Tensor, "batch"]
    weights: LogWeights
    terms: Mapping[str, Float[Tensor, "batch"]] = field(default_factory=dict)


@runtime_checkable
class Gradient(Protocol):
    """A gradient estimator for θ (prior and likelihood) and φ (posterior).

    An estimator with parameters of its own (a learned baseline, a temperature) is a module. These parameters have an
    objective of their own, whose gradient `gradients.surrogate` puts into the surrogate.
    """

    @property
    def kind(self) -> Kind:
        """What its gradient is for the pairs that `check` accepts."""
        ...

    def estimate(
        self, objective: Objective, posterior: Distribution, joint: JointDensity, num_samples: int
    ) -> Estimate:
        """Draw what it needs from q(z | x), evaluate log p(x, z) there and return the surrogate."""
        ...

    def check(self, objective: Objective, posterior: Distribution, num_samples: int) -> None:
        """Raise a `ValueError` that names an alternative if this pair is invalid, if it is biased without `kind` saying
        so, or if num_samples is too small.
        """
        ...


@runtime_checkable
class EstimatesRate(Protocol):
    """A gradient estimator whose weights have an estimated rate, so that the value of the objective is no bound."""

    estimates_rate: bool


@runtime_checkable
class Penalty(Protocol):
    """What is subtracted from the mean bound, from the latents of a whole batch.

    A penalty sees q(z | x_1), …, q(z | x_B) at once, while an objective sees one datum at a time. It draws the latents
    that it needs itself.
    """

    def __call__(self, posterior: Distribution, prior: Distribution) -> Float[Tensor, ""]:
        """The penalty of a batch, nats per datum, differentiable for φ."""
        ...

    def check(self, posterior: Distribution, prior: Distribution) -> None:
        """Raise a `ValueError` that names the alternative if it is not defined for this pair."""
        ...


@runtime_checkable
class FollowsSteps(Protocol):
    """A part of a loss that changes with the step: an annealed weight, a temperature. The loop tells it every step."""

    def at_step(self, step: int) -> None:
        """Write the value for this step, counted from 0, to a buffer (`fill_` does not wait for the device)."""
        ...


@runtime_checkable
class HasOwnRate(Protocol):
    """A module whose parameters learn at a multiple of the learning rate: a discriminator, a baseline, an RBM."""

    lr_factor: float


@runtime_checkable
class HasOwnMomentum(Protocol):
    """A module whose parameters have their own decay of the first moment under Adam and its kin."""

    optimizer_beta1: float | None


@runtime_checkable
class Schedule(Protocol):
    """A number that changes with the step (never with the epoch)."""

    def __call__(self, step: int) -> float:
        """The value at a step, counted from 0."""
        ...
