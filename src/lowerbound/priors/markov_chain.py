"""p(z_1, …, z_T) = p(z_1) Π_{t=2}^T p(z_t | z_{t−1}): a Markov chain, as one prior over sequences.

Krishnan, Shalit & Sontag (2017, arXiv:1609.09869, eq. 1), where both conditionals are Gaussian; here they may be any
distributions. The density needs no recursion: z is given, and the transition is evaluated at z_1 … z_{T−1} at once.
Only sampling is sequential.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution, constraints

from lowerbound.distributions.in_turn import num_elements
from lowerbound.hooks import Turn
from lowerbound.protocols import Conditional, Context

__all__ = ["MarkovChain", "MarkovChainDistribution"]


class MarkovChain(nn.Module):
    """A chain of states, each given the one before it by the same transition.

    Arguments:
        initial: p(z_1), called without a context.
        transition: p(z_t | z_{t−1}), called with states (..., *event), the same event as that of `initial`.
        length: T.

    Returns (when called):
        A distribution with batch shape () and event shape (length, *event). A context is ignored.

    Raises:
        ValueError: a length below 1, or an initial distribution with a batch of its own.

    >>> from lowerbound import likelihoods, nets, priors
    >>> walk = MarkovChain(priors.StandardNormal(2), likelihoods.Normal(nets.MLP(2, [], 2)), length=5)
    >>> walk().sample((3,)).shape
    torch.Size([3, 5, 2])
    """

    cites: ClassVar[tuple[str, ...]] = ("krishnan2017structured",)

    by_name: ClassVar[bool] = False  # made of other parts, in Python

    def __init__(self, initial: Conditional, transition: Conditional, length: int):
        super().__init__()
        if length < 1:
            raise ValueError(f"MarkovChain got length={length} and needs at least 1.")
        self.initial, self.transition, self.length = initial, transition, length

    def forward(self, context: Context | None = None) -> MarkovChainDistribution:
        """p(z); the context is ignored."""
        return MarkovChainDistribution(self.initial(None), self.transition, self.length)


class MarkovChainDistribution(Distribution):
    """p(z_1) Π p(z_t | z_{t−1}), batch shape (), event shape (T, *event).

    Arguments:
        initial: p(z_1), of batch shape ().
        transition: p(z_t | z_{t−1}).
        length: T.
    """

    arg_constraints = {}  # noqa: RUF012  # pyright: ignore[reportAssignmentType]

    def __init__(self, initial: Distribution, transition: Conditional, length: int):
        if initial.batch_shape:
            raise ValueError(
                f"MarkovChain got an initial distribution of batch shape {tuple(initial.batch_shape)} and expected (); "
                "wrap the axes of one state in Independent."
            )
        self.initial, self.transition, self.length = initial, transition, length
        self.has_rsample = initial.has_rsample
        super().__init__(torch.Size(), torch.Size((length, *initial.event_shape)), validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        """The support of every state."""
        return constraints.independent(self.initial.support, 1)  # type: ignore[arg-type]

    def log_prob(self, value: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """log p(z) of z (..., T, *event): (...), nats.

        Raises:
            ValueError: z is a sequence of another length or of states of another shape.
        """
        time = -len(self.event_shape)
        if value.shape[time:] != self.event_shape:
            raise ValueError(
                f"A Markov chain of event shape {tuple(self.event_shape)} got z of shape {tuple(value.shape)}; give "
                "sequences of that shape."
            )
        first = self.initial.log_prob(value.select(time, 0))
        if self.length == 1:
            return first
        before, after = value.narrow(time, 0, self.length - 1), value.narrow(time, 1, self.length - 1)
        return first + self.transition(before).log_prob(after).sum(-1)

    def in_turn(self, rows: int) -> Generator[Turn, Tensor, None]:
        """See `hooks.ComesInTurn`."""
        p, n = self.initial, num_elements(self.initial)
        for t in range(self.length):
            z = yield p, torch.arange(t * n, (t + 1) * n)
            p = self.transition(z.reshape(rows, *self.initial.event_shape))

    def sample(self, sample_shape: torch.Size | tuple[int, ...] = ()) -> Tensor:
        """Draw z (*sample_shape, T, *event), one state after another."""
        with torch.no_grad():
            return self._draw(sample_shape, reparameterised=False)

    def rsample(self, sample_shape: torch.Size | tuple[int, ...] = ()) -> Tensor:
        """As `sample`, differentiable through every earlier state."""
        if not self.has_rsample:
            raise NotImplementedError("A Markov chain over discrete states has no rsample; use sample.")
        return self._draw(sample_shape, reparameterised=True)

    def _draw(self, sample_shape: torch.Size | tuple[int, ...], *, reparameterised: bool) -> Tensor:
        shape = torch.Size(sample_shape)
        z = [self.initial.rsample(shape) if reparameterised else self.initial.sample(shape)]
        for _ in range(1, self.length):
            p = self.transition(z[-1])
            z.append(p.rsample() if reparameterised else p.sample())
        return torch.stack(z, -len(self.event_shape))
