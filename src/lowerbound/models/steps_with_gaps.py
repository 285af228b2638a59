"""p(x | z) = Π_{t observed} p(x_t | z_t): steps that are independent given their states, with gaps.

A step of NaN leaves its factor at 1, so that series of unequal length are series with gaps at their end. A likelihood
that marginalises single entries (`Mixed`) takes steps of which a part is missing. Others take a step as seen or not.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import ClassVar, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.distributions import Distribution, Independent

from lowerbound.hooks import ComesInTurn, StatesEventShape, Turn
from lowerbound.models.sequence_steps import EachStep
from lowerbound.observed_steps import observed_steps
from lowerbound.protocols import Conditional, Context, InitializedFromData
from lowerbound.shown import shown
from lowerbound.support import StatesFacts, Support, with_missing

__all__ = ["StepsWithGaps", "StepsWithGapsDistribution"]


class StepsWithGaps(EachStep):
    """The same conditional at every step that was observed.

    Arguments:
        step: p(x_t | z_t), called with z (..., T, state), of event shape (D,).
        event_shape: (T, D), or (T,) for steps of one number, where D is 1.

    Returns (when called with z (..., T, state)):
        A distribution over x with batch shape (...).
    """

    def __init__(self, step: Conditional, event_shape: tuple[int, ...]):
        super().__init__(step, event_shape)

    @property
    def support(self) -> Support:
        """That of one step; NaN where it was not observed."""
        of_step = cast(StatesFacts, self.step).support
        if len(self.event_shape) == 1 and of_step.columns is not None:
            of_step = of_step.columns[0]
        return with_missing(of_step)

    def forward(self, context: Context) -> StepsWithGapsDistribution:  # pyright: ignore[reportIncompatibleMethodOverride]
        """p(x | context)."""
        return StepsWithGapsDistribution(self, self.step(context))

    def series(self, x: Tensor) -> Float[Tensor, "*lead time data"]:
        """x (..., *event_shape) as (..., T, D)."""
        return x.unsqueeze(-1) if len(self.event_shape) == 1 else x

    def observed(
        self, x: Float[Tensor, "*lead time data"]
    ) -> tuple[Bool[Tensor, "*lead time"], Float[Tensor, "*lead time data"]]:
        """Which steps were observed, and the series as the likelihood of a step takes them.

        Raises:
            ValueError: a step is known in part, and its likelihood marginalises no entry.
        """
        if cast(StatesFacts, self.step).support.allows_missing:
            return ~x.isnan().all(-1), x
        return observed_steps(x)

    @torch.no_grad()
    def initialize(self, x: Tensor) -> None:
        """Let the conditional of one step see all observed steps."""
        if isinstance(self.step, InitializedFromData):
            seen, filled = self.observed(self.series(x))
            if bool(seen.any()):
                self.step.initialize(filled[seen])


class StepsWithGapsDistribution(Distribution):
    """Π_t p(x_t | z_t) over observed steps; made by `StepsWithGaps`.

    Arguments:
        module: the likelihood.
        steps: p(x_t | z_t), batch shape (..., T), event shape (D,).
    """

    arg_constraints: ClassVar[dict[str, object]] = {}  # pyright: ignore[reportIncompatibleVariableOverride]
    has_rsample = False

    def __init__(self, module: StepsWithGaps, steps: Distribution):
        self._module, self.steps = module, steps
        event = torch.Size(cast(StatesEventShape, module).event_shape)
        super().__init__(steps.batch_shape[:-1], event, validate_args=False)

    def log_prob(self, value: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """log p of the observed steps of x (..., *event), nats: (...)."""
        seen, filled = self._module.observed(self._module.series(value))
        return self.steps.log_prob(filled).masked_fill(~seen, 0).sum(-1)

    def in_turn(self, rows: int) -> Generator[Turn, Tensor, None]:
        """See `hooks.ComesInTurn`."""
        if isinstance(self.steps, ComesInTurn):
            yield from self.steps.in_turn(rows)
        else:
            yield Independent(self.steps, 1, validate_args=False), torch.arange(self.event_shape.numel())

    @torch.no_grad()
    def sample(self, sample_shape: torch.Size | tuple[int, ...] = ()) -> Tensor:
        """Draw whole series (*sample_shape, ..., *event)."""
        return self._as_event(self.steps.sample(torch.Size(sample_shape)))

    @property
    def mean(self) -> Tensor:
        """E[x | z], or what is shown in its place (`shown`)."""
        return self._as_event(shown(self.steps).values)

    def _as_event(self, x: Tensor) -> Tensor:
        return x.squeeze(-1) if len(self.event_shape) == 1 else x
