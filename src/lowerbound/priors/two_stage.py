"""A prior fitted after training: p(z) ← argmax E_data E_q(z|x)[log p(z)].

The best prior for any q is its aggregate posterior q(z) = E_data[q(z | x)]. A model whose prior is N(0, I) decodes
samples from regions to which no datum is encoded (holes). A richer prior that is fitted to the latents afterwards
avoids them, without a change of p(x | z) or q(z | x) (Dai & Wipf 2019, arXiv:1903.05789). The ELBO rises by as much as
the density of the latents: E_q[log p(x | z) − log q(z | x)] stays as it is.

The learning rate falls from its start to a hundredth of it by half a cosine over all epochs: losses that are estimated
from few draws, such as that of flow matching, leave a fit at a constant rate tenths of a nat behind. A fit by such a
loss is on −log p(z) itself in the second half of its steps (`closing.Course`), in which alone patience counts.

Rows are split in three: one part to fit on, with fresh latents in every epoch; one to stop early on;
one that neither uses, for the numbers that are reported.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.distributions import Distribution

from lowerbound.priors.closing import Course
from lowerbound.protocols import Conditional, Context, InitializedFromData
from lowerbound.weights import latents_of

__all__ = [
    "EncodesData",
    "HasFittingLoss",
    "HasFittingRate",
    "InitializedFromLatents",
    "LatentFit",
    "fit_prior_to_latents",
    "fitting_loss",
]

_CHUNK = 4096
_RATE = 1e-3  # of the first step, unless a prior has its own


@runtime_checkable
class EncodesData(Protocol):
    """What this module needs of a model: its prior, and q(z | x)."""

    prior: Conditional

    def infer(self, x: Tensor, context: Context | None = None) -> Distribution:
        """q(z | x) for a batch x."""
        ...


@runtime_checkable
class InitializedFromLatents(Protocol):
    """A prior that starts better from latents, such as `MixtureNormal`."""

    def initialize_from_latents(self, z: Tensor) -> None:
        """Start from latents z (row, *event)."""
        ...


@runtime_checkable
class HasFittingRate(Protocol):
    """A prior that says at which rate it is fitted to latents, such as an affine `FlowPrior`.

    Attributes:
        fitting_rate: the learning rate at the first step, unless another is given.
    """

    fitting_rate: float


@runtime_checkable
class HasFittingLoss(HasFittingRate, Protocol):
    """A prior that is fitted to latents by another loss than −log p(z), such as `FlowMatching`, and then by that."""

    def fitting_loss(self, z: Tensor, context: Context | None = None) -> Tensor:
        """From latents z (*batch, *event) to the loss of each (*batch), in the first half of the steps."""
        ...

    def closing_loss(self, z: Tensor, context: Context | None = None) -> Tensor:
        """From latents z (*batch, *event) to −log p(z) (*batch), as exact as the second half of the steps needs it."""
        ...


def fitting_loss(
    prior: Conditional, z: Tensor, context: Context | None = None, *, closes: bool = False
) -> Float[Tensor, "*batch"]:
    """What a prior minimises when it is fitted to latents z (*batch, *event): −log p(z), unless it has its own loss and
    the fit does not close.
    """
    if isinstance(prior, HasFittingLoss):
        return prior.closing_loss(z, context) if closes else prior.fitting_loss(z, context)
    return -prior(context).log_prob(z)


@dataclass(frozen=True, kw_only=True)
class LatentFit:
    """Mean log density of held-out latents, nats per datum, with standard errors over data.

    Attributes:
        before: under the prior of the model.
        after: under the fitted prior, on the same latents.
        gain: after − before; its error is that of the paired difference.
        before_error: standard error of before.
        after_error: standard error of after.
        gain_error: standard error of gain.
        num_epochs: epochs until it stopped.
        last_learning_rate: of the last step; it fell to the end of its course if no patience ran out.
    """

    before: float
    before_error: float
    after: float
    after_error: float
    gain: float
    gain_error: float
    num_epochs: int
    last_learning_rate: float


def fit_prior_to_latents(
    prior: nn.Module,
    model: EncodesData,
    x: Shaped[Tensor, "row *event"],
    *,
    context: Context | None = None,
    initialize: bool = True,
    max_epochs: int = 200,
    patience: int = 10,
    batch_size: int = 256,
    learning_rate: float | None = None,
    seed: int = 0,
) -> LatentFit:
    """Fit a prior to samples of the aggregate posterior of a trained model, in place.

    The model is not changed; put the prior in with `model.prior = prior`. The prior is left in the state that scored
    best on the rows for early stopping; its initial state counts too.

    Arguments:
        prior: any prior with trainable parameters; the model's own is allowed.
        model: a trained model.
        x: data to encode; a tenth is held out for stopping and another for the reported numbers.
        context: of each row, if the model has one.
        initialize: whether to call the prior's own `initialize` and `initialize_from_latents`; False continues from its
            present state.
        max_epochs: at most so many passes over the latents, over which the learning rate falls.
        patience: stop after so many epochs without a better state, of those on −log p(z).
        batch_size: rows per step.
        learning_rate: of Adam, at the first step; it falls to a hundredth by half a cosine. None takes the
            `fitting_rate` of a prior that has one, and 1e-3 else.
        seed: of the split, the latents and the order; the random state of the caller is left alone.

    Returns:
        Held-out log density of the latents before and after, nats per datum.

    Raises:
        ValueError: fewer than 20 rows, a prior without trainable parameters, a patience below 1, or latents that are a
            tuple.
    """
    if len(x) < 20:
        raise ValueError(f"fit_prior_to_latents got {len(x)} rows and needs at least 20 to split in three.")
    if patience < 1:
        raise ValueError(f"fit_prior_to_latents got patience={patience}; give 1 or more, or max_epochs for fewer.")
    parameters = [p for p in prior.parameters() if p.requires_grad]
    if not parameters:
        raise ValueError(
            f"fit_prior_to_latents got a {type(prior).__name__} without trainable parameters; use a prior that learns."
        )
    with torch.random.fork_rng([x.device] if x.device.type == "cuda" else []), _in_mode(model, training=False):
        torch.manual_seed(seed)
        latents = _Latents(model, x, context, parameters[0].dtype)
        before = _score(model.prior, latents.test, latents.context_of(latents.test_rows))
        if initialize:
            _initialize(prior, latents, x)
        steps = max_epochs * math.ceil(len(latents.fit_rows) / batch_size)
        own = prior.fitting_rate if isinstance(prior, HasFittingRate) else _RATE
        course = Course(own if learning_rate is None else learning_rate, steps, isinstance(prior, HasFittingLoss))
        epochs, rate = _fit(prior, parameters, latents, max_epochs, patience, batch_size, course)
        after = _score(prior, latents.test, latents.context_of(latents.test_rows))
    return _report(before, after, epochs, rate)


class _Latents:
    """Latents of the three parts: fixed ones to stop on and to report, fresh ones to fit on."""

    def __init__(self, model: EncodesData, x: Tensor, context: Context | None, dtype: torch.dtype):
        self.model, self.x, self.context, self.dtype = model, x, context, dtype
        tenth = len(x) // 10
        rows = torch.randperm(len(x), device=x.device)
        self.test_rows, self.stop_rows, self.fit_rows = rows.split([tenth, tenth, len(x) - 2 * tenth])
        self.test, self.stop = self.draw(self.test_rows), self.draw(self.stop_rows)

    @torch.no_grad()
    def draw(self, rows: Tensor) -> Tensor:
        """One z ~ q(z | x) per row."""
        posteriors = [self.model.infer(self.x[part], self.context_of(part)) for part in rows.split(_CHUNK)]
        parts = [part for part in (latents_of(q, q.sample()) for q in posteriors) if isinstance(part, Tensor)]
        if len(parts) < len(posteriors):
            raise ValueError(
                "fit_prior_to_latents got latents that are a tuple and expected one tensor; "
                "fit a hierarchy group by group."
            )
        return torch.cat(parts).to(self.dtype)

    def context_of(self, rows: Tensor) -> Context | None:
        """The context of those rows."""
        if isinstance(self.context, tuple):
            return tuple(part[rows] for part in self.context)
        return None if self.context is None else self.context[rows]


def _initialize(prior: nn.Module, latents: _Latents, x: Tensor) -> None:
    if isinstance(prior, InitializedFromData):
        prior.initialize(x[latents.fit_rows])
    if isinstance(prior, InitializedFromLatents):
        prior.initialize_from_latents(latents.draw(latents.fit_rows))


def _fit(
    prior: nn.Module,
    parameters: list[nn.Parameter],
    latents: _Latents,
    max_epochs: int,
    patience: int,
    batch_size: int,
    course: Course,
) -> tuple[int, float]:
    """Train with Adam, leave the best state in the prior; the epochs until patience ran out or all, the last rate."""
    optimizer = torch.optim.Adam(parameters, lr=course(0))
    stop_context = latents.context_of(latents.stop_rows)
    best, best_epoch = _score(prior, latents.stop, stop_context).mean(), 0
    begin = course.begin // math.ceil(len(latents.fit_rows) / batch_size)  # patience counts from this epoch on
    state = copy.deepcopy(prior.state_dict())
    epoch = 0
    while epoch < max_epochs and epoch - max(best_epoch, begin) < patience:
        epoch += 1
        _epoch(prior, parameters, optimizer, latents, batch_size, epoch, course)
        value = _score(prior, latents.stop, stop_context).mean()
        if value > best:
            best, best_epoch, state = value, epoch, copy.deepcopy(prior.state_dict())
    prior.load_state_dict(state)
    return epoch, optimizer.param_groups[0]["lr"]


def _epoch(
    prior: nn.Module,
    parameters: list[nn.Parameter],
    optimizer: torch.optim.Optimizer,
    latents: _Latents,
    batch_size: int,
    epoch: int,
    course: Course,
) -> None:
    """A pass over fresh latents, the epoch counted from 1."""
    z = latents.draw(latents.fit_rows)
    with _in_mode(prior, training=True):
        parts = torch.randperm(len(z), device=z.device).split(batch_size)
        for step, part in enumerate(parts, start=(epoch - 1) * len(parts)):
            context = latents.context_of(latents.fit_rows[part])
            loss = fitting_loss(prior, z[part], context, closes=course.closes(step)).mean()
            # Not `backward`: a VampPrior also depends on the posterior, which is to gather none.
            for p, gradient in zip(parameters, torch.autograd.grad(loss, parameters, allow_unused=True), strict=True):
                p.grad = gradient
            optimizer.param_groups[0]["lr"] = course(step)
            optimizer.step()
    optimizer.zero_grad()


@torch.no_grad()
def _score(prior: Conditional, z: Tensor, context: Context | None) -> Float[Tensor, "row"]:
    """log p(z) per row, nats, in float64 for the means."""
    with _in_mode(prior, training=False):
        return prior(context).log_prob(z).double()


def _report(before: Tensor, after: Tensor, num_epochs: int, last_rate: float) -> LatentFit:
    def error(values: Tensor) -> float:
        return float(values.std() / len(values) ** 0.5)

    gain = after - before
    return LatentFit(
        before=float(before.mean()),
        before_error=error(before),
        after=float(after.mean()),
        after_error=error(after),
        gain=float(gain.mean()),
        gain_error=error(gain),
        num_epochs=num_epochs,
        last_learning_rate=last_rate,
    )


@contextmanager
def _in_mode(module: object, *, training: bool) -> Iterator[None]:
    """Put every part of a module in training or evaluation mode, and restore their modes afterwards."""
    parts = list(module.modules()) if isinstance(module, nn.Module) else []
    modes = [part.training for part in parts]
    try:
        for part in parts:
            part.training = training
        yield
    finally:
        for part, mode in zip(parts, modes, strict=True):
            part.training = mode
