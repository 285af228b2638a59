"""Likelihoods of sequences x (T, D) made from the conditional of one step.

    EachStep     p(x | z) = Π_t p(x_t | z_t)                 the emissions of a state-space model
    ChainRule    p(x | z) = Π_t p(x_t | x_<t, z)             z is left out where the model has no latents

For a given x all steps are evaluated at once. In the chain rule a causal net reads x_<t once for all samples of z,
and z is added to its features at every step.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution, Independent

from lowerbound.hooks import Turn
from lowerbound.nets.recurrent import CausalGRU
from lowerbound.nets.steps_of_sequences import CausalSteps
from lowerbound.protocols import Conditional, Context, InitializedFromData
from lowerbound.support import LikelihoodFacts, StatesFacts, Support

__all__ = ["ChainRule", "ChainRuleDistribution", "EachStep"]


class EachStep(nn.Module):
    """The same conditional at every step.

    Arguments:
        step: p(x_t | z_t), called with z (..., T, latent_dim), of event shape (D,) or that of a frame.
        event_shape: (T, D) or (T, *frame).

    Returns (when called with z (..., T, latent_dim)):
        A distribution over x of that shape with batch shape (...).
    """

    def __init__(self, step: Conditional, event_shape: tuple[int, ...]):
        super().__init__()
        self.step, self.event_shape = step, event_shape

    @property
    def facts(self) -> LikelihoodFacts:
        """Those of one step."""
        return cast(StatesFacts, self.step).facts

    @property
    def support(self) -> Support:
        """That of one step."""
        return cast(StatesFacts, self.step).support

    def forward(self, context: Context) -> Independent:
        """p(x | context)."""
        return Independent(self.step(context), 1, validate_args=False)

    @torch.no_grad()
    def initialize(self, x: Float[Tensor, "batch time *data"]) -> None:
        """Let the conditional of one step see all steps."""
        if isinstance(self.step, InitializedFromData):
            self.step.initialize(x.flatten(0, 1))


class ChainRule(nn.Module):
    """Every step given all steps before it, and given z if there is one.

    Arguments:
        history: h_t, a function of x_<t.
        step: p(x_t | h_t) or p(x_t | h_t, z), called with h (..., T, features), or that and z (..., 1, latent_dim); of
            event shape (D,).
        length: T.

    Returns (when called with None, or with z (..., latent_dim)):
        A distribution over x (T, D) with batch shape (...).
    """

    def __init__(self, history: CausalGRU | CausalSteps, step: Conditional, length: int):
        super().__init__()
        self.history, self.step, self.event_shape = history, step, (length, history.data_dim)

    @property
    def facts(self) -> LikelihoodFacts:
        """Those of one step, but for the mean."""
        return replace(cast(StatesFacts, self.step).facts, has_mean=False)

    @property
    def support(self) -> Support:
        """That of one step."""
        return cast(StatesFacts, self.step).support

    def forward(self, context: Context | None = None) -> ChainRuleDistribution:
        """p(x | context)."""
        assert context is None or isinstance(context, Tensor)
        return ChainRuleDistribution(self, context)

    @torch.no_grad()
    def initialize(self, x: Float[Tensor, "batch time data"]) -> None:
        """Let the conditional of one step see all steps."""
        if isinstance(self.step, InitializedFromData):
            self.step.initialize(x.flatten(0, 1))


class ChainRuleDistribution(Distribution):
    """Π_t p(x_t | x_<t, z); made by `ChainRule`.

    Arguments:
        module: the nets.
        z: (..., latent_dim), or None.
        batch_shape: of a distribution without z.
    """

    arg_constraints = {}  # noqa: RUF012  # pyright: ignore[reportAssignmentType]

    def __init__(self, module: ChainRule, z: Tensor | None, batch_shape: torch.Size | tuple[int, ...] = ()):
        self._module, self._z = module, z
        batch = torch.Size(batch_shape) if z is None else z.shape[:-1]
        super().__init__(batch, torch.Size(module.event_shape), validate_args=False)

    def expand(
        self, batch_shape: torch.Size | tuple[int, ...], _instance: Distribution | None = None
    ) -> ChainRuleDistribution:
        """The same distribution with a larger batch shape."""
        z = None if self._z is None else self._z.expand(*batch_shape, self._z.shape[-1])
        return ChainRuleDistribution(self._module, z, batch_shape)

    def log_prob(self, value: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """log p(x) of x (..., T, D), whose batch axes broadcast against those of z: (...), nats.

        Raises:
            ValueError: a sequence of another length or width.
        """
        if value.shape[-2:] != self.event_shape:
            raise ValueError(
                f"The chain rule over sequences of shape {tuple(self.event_shape)} got x of shape "
                f"{tuple(value.shape)}; give sequences of that shape."
            )
        h = self._module.history(value if value.ndim > 2 else value[None])
        terms = self._step(h if value.ndim > 2 else h[0], time=True).log_prob(value).sum(-1)
        return terms.expand(torch.broadcast_shapes(terms.shape, self.batch_shape))

    @torch.no_grad()
    def sample(self, sample_shape: torch.Size | tuple[int, ...] = ()) -> Tensor:
        """Draw x (*sample_shape, ..., T, D), one step after another."""
        return self._draw(sample_shape)[0]

    @property
    def mean(self) -> Tensor:
        """None in closed form."""
        raise NotImplementedError("The chain rule has no mean in closed form; see `conditional_means`.")

    @torch.no_grad()
    def conditional_means(self) -> Tensor:
        """E[x_t | x_<t, z] of every step along one draw: this draw without the noise of single steps."""
        return self._draw(())[1]

    def in_turn(self, rows: int) -> Generator[Turn, Tensor, None]:
        """See `hooks.ComesInTurn`."""
        history, width = self._module.history, self._module.event_shape[1]
        x, state = next(history.parameters()).new_zeros(rows, width), None
        for t in range(self._module.event_shape[0]):
            h, state = history.step(x, state)
            x = yield self._step(h, time=False), torch.arange(t * width, (t + 1) * width)
            x = x.reshape(rows, width).to(h)

    def _draw(self, sample_shape: torch.Size | tuple[int, ...]) -> tuple[Tensor, Tensor]:
        history, shape = self._module.history, torch.Size(sample_shape) + self.batch_shape
        x, state = next(history.parameters()).new_zeros(*shape, history.data_dim), None
        drawn, means = [], []
        for _ in range(self._module.event_shape[0]):
            h, state = history.step(x, state)
            p = self._step(h, time=False)
            x = p.sample()
            drawn.append(x)
            means.append(p.mean)
        return torch.stack(drawn, -2), torch.stack(means, -2)

    def _step(self, h: Tensor, *, time: bool) -> Distribution:
        if self._z is None:
            return self._module.step(h)
        return self._module.step((h, self._z[..., None, :] if time else self._z))
