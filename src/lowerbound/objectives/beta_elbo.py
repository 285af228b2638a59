"""The ELBO with a weight on the rate: β-VAE (Higgins et al. 2017, eq. 4), and the annealing of that weight.

    E_q[log p(x | z)] − β a_t KL(q(z | x) ‖ p(z)),      0 ≤ a_t ≤ 1 at step t

β > 1 gives more independent latents and a worse distortion, β < 1 the reverse. a_t rises once (Bowman et al. 2016,
arXiv:1511.06349, §3.1) or in cycles (Fu et al. 2019, arXiv:1903.10145), so that the model learns to use its latents
before it pays for them.

a_t applies in training only. In eval mode the weight is β at every step: values with a small weight are large, so that
otherwise the first steps of an annealed run would look best.

The rate is at least 0 in expectation, so that with β ≥ 1 the value is at most the ELBO. With a smaller weight, such as
during annealing, it is no bound.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lowerbound.protocols import Bound, Schedule
from lowerbound.weights import LogWeights, RateForm

__all__ = ["BetaELBO"]


class BetaELBO(nn.Module):
    """The ELBO with β times the rate, annealed while training if wanted, nats.

    Arguments:
        beta: β, at least 0.
        warmup: steps in which the weight rises linearly from 0 to β; 0 for none.
        anneal: "linear" rises once; "cyclical" rises, stays at β for as many steps, and starts again.
        rate: "sampled", "entropy" or "kl", as in `ELBO`.
        schedule: a_t itself, in place of `warmup` (`schedules.Linear`, `Sigmoid`, `Cyclical`, or your own).

    Raises:
        ValueError: a negative β or number of steps, an unknown `anneal`, or both a schedule and a warm-up.
    """

    cites: ClassVar[tuple[str, ...]] = ("higgins2017beta", "bowman2016generating", "fu2019cyclical")

    linear: bool = True
    annealing: Tensor

    def __init__(
        self,
        beta: float = 4.0,
        warmup: int = 0,
        anneal: Literal["linear", "cyclical"] = "linear",
        rate: RateForm = "sampled",
        schedule: Schedule | None = None,
    ):
        super().__init__()
        for name, value in {"beta": beta, "warmup": warmup}.items():
            if not value >= 0:
                raise ValueError(f"BetaELBO got {name}={value} and needs 0 or more.")
        if anneal not in ("linear", "cyclical"):
            raise ValueError(f"BetaELBO got anneal={anneal!r}; choose 'linear' or 'cyclical', or give a schedule.")
        if schedule is not None and warmup:
            raise ValueError(f"BetaELBO got warmup={warmup} and a schedule; give one of them.")
        self.beta, self.warmup, self.anneal, self.rate, self.schedule = beta, warmup, anneal, rate, schedule
        self.register_buffer("annealing", torch.tensor(self._annealing(0)), persistent=False)

    @property
    def works(self) -> tuple[str, ...]:
        """β-VAE unless β is 1, and the annealing in use."""
        own = ("higgins2017beta",) if self.beta != 1 or not self.warmup else ()
        annealed = {"linear": "bowman2016generating", "cyclical": "fu2019cyclical"}[self.anneal]
        return (*own, annealed) if self.warmup else own

    @property
    def bound(self) -> Bound:
        """A lower bound where the weight is never below 1."""
        annealed = self.warmup > 0 or self.schedule is not None
        return "lower" if self.beta >= 1 and not annealed else "none"

    @property
    def weight(self) -> Tensor | float:
        """β a_t while training, β in eval mode."""
        return self.beta * self.annealing if self.training else self.beta

    def at_step(self, step: int) -> None:
        """Set a_t for this step."""
        self.annealing.fill_(self._annealing(step))

    def signal(self, w: LogWeights) -> Float[Tensor, "sample batch"]:
        """log p(x | z) minus the weighted rate."""
        return w.log_likelihood - self.weight * w.rate

    def reduce(self, signal: Float[Tensor, "sample batch"]) -> Float[Tensor, "batch"]:
        """The mean over samples."""
        return signal.mean(0)

    def extra_repr(self) -> str:
        """What it was made with."""
        names = ("beta", "warmup", "anneal", "rate", "schedule")
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in names)

    def _annealing(self, step: int) -> float:
        if self.schedule is not None:
            return float(self.schedule(step))
        if not self.warmup:
            return 1.0
        return min((step if self.anneal == "linear" else step % (2 * self.warmup)) / self.warmup, 1.0)
