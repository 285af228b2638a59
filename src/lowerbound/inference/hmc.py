"""Hamiltonian Monte Carlo on p(z | x), started from q(z | x), for many data at once (Neal 2011, arXiv:1206.1901).

Several chains for each datum start at draws from q, or from the prior. During warm-up a step size for each datum and a
scale for every coordinate are adapted (`adaptation`). Afterwards both are fixed, so that p(z | x) is invariant. Each
transition (`hamiltonian`) multiplies its step size by a random factor in [0.8, 1.2], which avoids trajectories that
return to their start. The adaptation is dual averaging (Hoffman & Gelman 2014, arXiv:1111.4246, §3.2). All chains of
all data move in one batch of likelihoods.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution

from lowerbound.called import name_of
from lowerbound.inference.adaptation import DualAveraging, RunningScale, window_ends
from lowerbound.inference.draws import Draws
from lowerbound.inference.families import InitialPosterior, expanded, is_real, moments
from lowerbound.inference.hamiltonian import LogDensity, Point, hamiltonian_transition, point_at
from lowerbound.inference.scheme import gradients_enabled, recordable
from lowerbound.limits import MOST_ITERATIONS, require_at_most
from lowerbound.model import Joint, LatentVariableModel
from lowerbound.protocols import Context
from lowerbound.weights import latents_of

__all__ = ["HMC"]

_JITTER = 0.2
_FIRST_STEP_SIZE = 0.1


@dataclass(frozen=True)
class HMC:
    """Draws from p(z | x) that are exact in the limit, for any q.

    Arguments:
        num_chains: for each datum.
        num_warmup: transitions for adaptation, which are discarded.
        num_samples: transitions kept, of each chain.
        num_leapfrog: gradients of log p(x, z) per transition.
        target_acceptance: to which the step size is adapted.
        start: "encoder" (at draws from q(z | x)) or "prior".

    Returns (when called with a model and a batch):
        `Draws`, with R̂, effective sample sizes, divergences and the resulting `problems`; they have no density, and
        therefore no bound.

    Raises:
        ValueError: a number that is too small or above `limits.MOST_ITERATIONS`, or latents that are not real vectors.
    """

    cites: ClassVar[tuple[str, ...]] = ("neal2011mcmc", "hoffman2014no")

    num_chains: int = 4
    num_warmup: int = 300
    num_samples: int = 300
    num_leapfrog: int = 8
    target_acceptance: float = 0.8
    start: InitialPosterior = "encoder"

    def __post_init__(self) -> None:
        """Refuse invalid numbers."""
        smallest = {"num_chains": 1, "num_warmup": 0, "num_samples": 4, "num_leapfrog": 1}
        for name, least in smallest.items():
            if getattr(self, name) < least:
                raise ValueError(f"HMC got {name}={getattr(self, name)} and needs at least {least}.")
        require_at_most("HMC", MOST_ITERATIONS, **{name: getattr(self, name) for name in smallest})
        if not 0 < self.target_acceptance < 1:
            raise ValueError(f"HMC got target_acceptance={self.target_acceptance} and needs it between 0 and 1.")

    def __call__(self, model: LatentVariableModel, x: Tensor, context: Context | None = None) -> Draws:
        """See `InferenceScheme`."""
        with gradients_enabled(), torch.no_grad():
            x, context = recordable(x, context)
            joint, origin = model.joint(x, context), self._origin(model, x, context)
            z = cast(Tensor, latents_of(origin, origin.sample(torch.Size((self.num_chains,)))))
            density = _unnormalised_posterior(joint)
            here, step_size, scale = self._warm_up(density, point_at(density, z), moments(origin)[1])
            return self._run(density, here, step_size, scale)

    def _origin(self, model: LatentVariableModel, x: Tensor, context: Context | None) -> Distribution:
        q, p = model.infer(x, context), model.prior(context)
        if not is_real(p) or isinstance(q.sample(), tuple):
            raise ValueError(
                f"HMC needs latents that are one real vector and the prior is {name_of(p)}; use "
                "Local(gradient=ScoreFunction()) for discrete ones, Amortised() for several layers."
            )
        if self.start not in ("encoder", "prior"):
            raise ValueError(f"start is {self.start!r}; choose encoder or prior.")
        return q if self.start == "encoder" else expanded(p, q)

    def _warm_up(self, density: LogDensity, here: Point, scale: Tensor) -> tuple[Point, Tensor, Tensor]:
        """The states of the chains after warm-up, their step sizes, and the scale of each coordinate."""
        search = DualAveraging(torch.full_like(here.log_density[:1], _FIRST_STEP_SIZE), self.target_acceptance)
        window, ends = RunningScale(scale), window_ends(self.num_warmup)
        for i in range(1, self.num_warmup + 1):
            step = hamiltonian_transition(density, here, search.current, self.num_leapfrog, scale[None])
            here = step.point
            search.update(step.acceptance.mean(0, keepdim=True))
            window.update(here.z)
            if i in ends:
                scale = window.scale
                search, window = DualAveraging(search.final, self.target_acceptance), RunningScale(scale)
        return here, search.final, scale

    def _run(self, density: LogDensity, here: Point, step_size: Tensor, scale: Tensor) -> Draws:
        values: Float[Tensor, "draw chain batch *event"] = here.z.new_empty(self.num_samples, *here.z.shape)
        acceptance = torch.zeros_like(here.log_density)
        divergences = torch.zeros(here.z.shape[1], dtype=torch.int64, device=here.z.device)
        for i in range(self.num_samples):
            jitter = 1 + _JITTER * (2 * torch.rand_like(acceptance) - 1)
            step = hamiltonian_transition(density, here, step_size * jitter, self.num_leapfrog, scale[None])
            here = step.point
            values[i] = here.z
            acceptance += step.acceptance / self.num_samples
            divergences += step.diverged.sum(0)
        return Draws(values, acceptance.mean(0), divergences)


def _unnormalised_posterior(joint: Joint) -> LogDensity:
    """z ↦ log p(x, z)."""

    def log_density(z: Tensor) -> Tensor:
        log_likelihood, log_prior = joint(z)
        return log_likelihood + log_prior

    return log_density
