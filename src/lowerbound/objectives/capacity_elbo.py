"""The ELBO with a controlled rate: Burgess et al. (2018, arXiv:1804.03599, eq. 8).

    E_q[log p(x | z)] − γ |KL(q(z | x) ‖ p(z)) − C_t|,      C_t = C min(t / T, 1) at step t

The rate is held near C_t nats. While C_t rises slowly, the latents come into use one after another. The absolute value
is taken of the KL of each datum, which must be known in closed form: |·| of a sampled rate has another expectation.

In eval mode C_t is C, so that values of different steps can be compared. The value is no bound: at KL = C_t the rate
costs nothing.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lowerbound.objectives.require import closed_form_rate
from lowerbound.protocols import Bound
from lowerbound.weights import LogWeights, RateForm

__all__ = ["CapacityELBO"]


class CapacityELBO(nn.Module):
    """log p(x | z) minus γ times the distance of the rate from C_t, nats. The defaults are those of Burgess et al.

    Arguments:
        gamma: γ, at least 0; large, so that the rate follows C_t.
        capacity: C, the final value of C_t, nats per datum.
        steps: T, the steps in which C_t rises linearly from 0 to C; 0 takes C from the start.

    Raises:
        ValueError: a negative argument.
    """

    cites: ClassVar[tuple[str, ...]] = ("burgess2018understanding",)

    bound: Bound = "none"
    linear: bool = True
    rate: RateForm = "kl"
    allowed: Tensor

    def __init__(self, gamma: float = 1000.0, capacity: float = 25.0, steps: int = 100_000):
        super().__init__()
        for name, value in {"gamma": gamma, "capacity": capacity, "steps": steps}.items():
            if not value >= 0:
                raise ValueError(f"CapacityELBO got {name}={value} and needs 0 or more.")
        self.gamma, self.capacity, self.steps = gamma, capacity, steps
        self.register_buffer("allowed", torch.tensor(self._allowed(0)), persistent=False)

    def at_step(self, step: int) -> None:
        """Set C_t for this step."""
        self.allowed.fill_(self._allowed(step))

    def signal(self, w: LogWeights) -> Float[Tensor, "sample batch"]:
        """log p(x | z) − γ |KL − C_t|.

        Raises:
            ValueError: the rate is not in closed form.
        """
        allowed = self.allowed if self.training else self.capacity
        return w.log_likelihood - self.gamma * (closed_form_rate(w, "CapacityELBO") - allowed).abs()

    def reduce(self, signal: Float[Tensor, "sample batch"]) -> Float[Tensor, "batch"]:
        """The mean over samples."""
        return signal.mean(0)

    def extra_repr(self) -> str:
        """What it was made with."""
        return f"gamma={self.gamma}, capacity={self.capacity}, steps={self.steps}"

    def _allowed(self, step: int) -> float:
        return self.capacity * min(step / self.steps, 1.0) if self.steps else float(self.capacity)
