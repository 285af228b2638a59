"""Local optimisation: λ_i* = argmax ELBO(x_i; λ_i), for all data of a batch at once.

    λ ← Adam(λ, ∇_λ Σ_i ELBO(x_i; λ_i)),      lr falling linearly to 0

Each λ_i has its own gradient in the sum over data, and Adam treats every number separately, so that one tensor λ (B, …)
is optimised like B separate problems, without a loop. Fresh latents are drawn at every step; with fixed draws λ would
be fitted to them.

With `gradient=Pathwise()` this is the inner loop of stochastic variational inference by reparameterisation; with
`gradient=ScoreFunction()` it is black-box variational inference (Ranganath, Gerrish & Blei 2014, arXiv:1401.0118,
Algorithm 1), for latents of every kind. In a `VariationalLoss` its result is a constant for the outer step, which then
trains θ alone (variational EM).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution

from lowerbound.gradients import Pathwise
from lowerbound.inference.draws import warn_of_optima
from lowerbound.inference.families import Family, Head, InitialPosterior, check_support, free_parameters
from lowerbound.inference.path import keep
from lowerbound.inference.scheme import gradients_enabled, recordable
from lowerbound.limits import MOST_ITERATIONS, require_at_most
from lowerbound.model import Joint, LatentVariableModel
from lowerbound.objectives import ELBO
from lowerbound.protocols import Context, Gradient, Objective
from lowerbound.weights import weigh

__all__ = ["Local", "require_steps"]

_DRAWS = 128
_LARGEST_RATE = 1e30  # a step beyond float32 would be no number


@dataclass(frozen=True)
class Local:
    """q(z; λ_i*) with parameters of its own for each datum.

    Arguments:
        num_steps: of Adam.
        lr: the learning rate at the start, in the units of λ.
        num_samples: latents drawn per datum and step.
        family: "own" (that of the model's posterior), "diagonal" or "full" Gaussian: see `families`.
        start: "encoder" (from q(z | x)) or "prior" (from scratch).
        objective: what is maximised for each datum.
        gradient: how it differentiates for λ; `ScoreFunction` is black-box variational inference.
        num_restarts: how often each datum is optimised: from `start`, and from points scattered about it by standard
            normal noise in λ. The best by its objective at fresh draws is taken.

    Gradient: none for φ, on which the result does not depend; θ is trained at a constant q.

    Warns:
        InferenceWarning: several starts, and rows whose optima differ by more than half a nat.

    Raises:
        ValueError: no steps, samples or starts, or a gradient that cannot differentiate the family.
    """

    cites: ClassVar[tuple[str, ...]] = ("ranganath2014black",)

    num_steps: int = 100
    lr: float = 0.05
    num_samples: int = 1
    family: Family = "own"
    start: InitialPosterior = "encoder"
    objective: Objective = ELBO()  # noqa: RUF009  (frozen, shared safely)
    gradient: Gradient = Pathwise()  # noqa: RUF009
    num_restarts: int = 1

    def __post_init__(self) -> None:
        """Refuse numbers that are too small."""
        require_steps("Local", self.num_steps, self.num_samples, self.lr)
        if self.num_restarts < 1:
            raise ValueError(f"Local got num_restarts={self.num_restarts} and needs at least 1.")
        require_at_most("Local", MOST_ITERATIONS, num_restarts=self.num_restarts)

    def __call__(self, model: LatentVariableModel, x: Tensor, context: Context | None = None) -> Distribution:
        """See `InferenceScheme`."""
        with gradients_enabled():
            x, context = recordable(x, context)
            with torch.no_grad():
                start, head = free_parameters(model, x, context, self.family, self.start)
                joint = model.joint(x, context)
                check_support(head(start), joint.prior)
                self.gradient.check(self.objective, head(start), self.num_samples)
            starts = [start, *(start + torch.randn_like(start) for _ in range(1, self.num_restarts))]
            found = [self._optimised(one, head, joint) for one in starts]
            return head(found[0] if len(found) == 1 else self._best(torch.stack(found), head, joint))

    def _optimised(self, start: Tensor, head: Head, joint: Joint) -> Tensor:
        """λ* (B, …) of each datum."""
        free = start.clone().requires_grad_()
        optimizer = torch.optim.Adam([free], lr=self.lr)
        for step in range(self.num_steps):
            optimizer.param_groups[0]["lr"] = self.lr * (1 - step / self.num_steps)
            keep(free, head)
            estimate = self.gradient.estimate(self.objective, head(free), joint, self.num_samples)
            (free.grad,) = torch.autograd.grad(-estimate.surrogate.sum(), free)
            optimizer.step()
        keep(free, head)
        return free.detach()

    @torch.no_grad()
    def _best(self, found: Tensor, head: Head, joint: Joint) -> Tensor:
        """Of several λ* (restart, B, …) the best of each datum; a warning where they differ."""
        repeats = torch.stack([self._values(head(one), joint) for one in found])
        values = repeats.mean(1)
        warn_of_optima(values, repeats.std(1) / math.sqrt(repeats.shape[1]))
        return found[values.argmax(0), torch.arange(found.shape[1], device=found.device)]

    def _values(self, q: Distribution, joint: Joint) -> Float[Tensor, "repeat batch"]:
        """The objective at fresh draws, repeated."""
        size = 1 if self.objective.linear else self.num_samples
        repeats = [q.sample(torch.Size((size,))) for _ in range(max(8, _DRAWS // size))]
        signals = [self.objective.signal(weigh(q, joint, z, rate=self.objective.rate)) for z in repeats]
        return torch.stack([self.objective.reduce(signal) for signal in signals])


def require_steps(owner: str, num_steps: int, num_samples: int, lr: float = 1.0) -> None:
    """Raise a `ValueError` that names what is too small, or so large that it would not end."""
    require_at_most(owner, MOST_ITERATIONS, num_steps=num_steps)
    for name, value in {"num_steps": num_steps, "num_samples": num_samples}.items():
        if value < 1:
            raise ValueError(f"{owner} got {name}={value} and needs at least 1.")
    if not 0 < lr <= _LARGEST_RATE:
        raise ValueError(f"{owner} got lr={lr:g} and needs one above 0, and at most {_LARGEST_RATE:g}.")
