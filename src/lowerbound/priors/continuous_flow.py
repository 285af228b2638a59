"""p(z) of a flow that is the solution of an ODE (Chen et al. 2018, arXiv:1806.07366, eq. 8).

    dz/dt = v(z, t),   z(0) ~ N(0, I),   z = z(1)        log p(z) = log N(z(0)) − ∫₀¹ tr ∂v/∂z dt

Both are solved by Runge and Kutta's method of order four in steps of one length, so that the density is that of the ODE
up to an error that falls with the fourth power of the number of steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution, constraints
from torch.types import _size

__all__ = ["ContinuousFlow", "Field"]

Field: TypeAlias = Callable[[Tensor, float], tuple[Tensor, Tensor]]
"""From z (..., d) and t to the velocity (..., d) and its divergence tr ∂v/∂z (...)."""


class ContinuousFlow(Distribution):
    """The distribution at t = 1 of a standard normal that follows a field.

    Arguments:
        field: v and its divergence.
        loc: of z, (d,); the field moves (z − loc) / scale.
        scale: of z, (d,), positive.
        steps: of the solver.

    Batch shape (), event shape (d,).
    """

    cites: ClassVar[tuple[str, ...]] = ("chen2018neural",)

    has_rsample = True

    @property
    def arg_constraints(self) -> dict[str, constraints.Constraint]:
        """None: the parameters are checked where they are made."""
        return {}

    @property
    def support(self) -> constraints.Constraint:
        """Real vectors."""
        return constraints.independent(constraints.real, 1)

    def __init__(self, field: Field, loc: Tensor, scale: Tensor, steps: int):
        self.field, self.loc, self.scale, self.steps = field, loc, scale, steps
        super().__init__(torch.Size(), loc.shape, validate_args=False)

    def log_prob(self, value: Float[Tensor, "... d"]) -> Float[Tensor, "..."]:
        """log p(z), nats, for any leading axes; differentiable in z and in the field."""
        u, change = self._follow((value - self.loc) / self.scale, start=1.0)
        of_base = -0.5 * u.square().sum(-1) - 0.5 * u.shape[-1] * math.log(2 * math.pi)
        return of_base + change - self.scale.log().sum()

    def rsample(self, sample_shape: _size = ()) -> Tensor:
        """(*sample_shape, d), differentiable in the field."""
        start = torch.randn(*sample_shape, *self.loc.shape, dtype=self.loc.dtype, device=self.loc.device)
        return self.loc + self.scale * self._follow(start, start=0.0)[0]

    def sample(self, sample_shape: _size = ()) -> Tensor:
        """As `rsample`, without a derivative."""
        with torch.no_grad():
            return self.rsample(sample_shape)

    def of_noise(self, noise: Tensor) -> Tensor:
        """See `hooks.MapsNoise`."""
        return self.loc + self.scale * self._follow(noise, start=0.0)[0]

    def to_noise(self, value: Tensor) -> Tensor:
        """See `hooks.MapsNoise`; the inverse up to the error of the solver, which costs bits and loses none."""
        return self._follow((value - self.loc) / self.scale, start=1.0)[0]

    def _follow(self, u: Tensor, *, start: float) -> tuple[Tensor, Tensor]:
        """From one end of time to the other: the point, and the integral of the divergence on the way."""
        h = (1 - 2 * start) / self.steps
        total = u.new_zeros(u.shape[:-1])
        for i in range(self.steps):
            t = start + i * h
            v1, d1 = self.field(u, t)
            v2, d2 = self.field(u + h / 2 * v1, t + h / 2)
            v3, d3 = self.field(u + h / 2 * v2, t + h / 2)
            v4, d4 = self.field(u + h * v3, t + h)
            u = u + h / 6 * (v1 + 2 * v2 + 2 * v3 + v4)
            total = total + h / 6 * (d1 + 2 * d2 + 2 * d3 + d4)
        return u, total
