"""f̂ = the exponential moving average of the signal over past steps (Mnih & Gregor 2014, arXiv:1402.0030, §3.2).

With m_t the mean signal of step t, the prediction at step t is

    c_t = Σ_{i<t} α^(t−1−i) m_i / Σ_{i<t} α^(t−1−i),

which does not depend on the samples of step t. The estimator is therefore unbiased; with m_t included it would not be.
The first step has no past and predicts the mean over all *other* samples and data of its batch, which do not depend on
z_s either. A prediction of 0 would be wrong by hundreds of nats, and Adam would remember it for a thousand steps.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["MovingAverage"]


class MovingAverage(nn.Module):
    """One number for all data, which follows the objective as training proceeds; for one sample or more.

    It is updated in training mode only. Each process of a distributed run keeps the average of its own rows.

    Arguments:
        decay: α in [0, 1); the average remembers about 1/(1 − α) steps.
    """

    cites: ClassVar[tuple[str, ...]] = ("mnih2014neural",)

    total: Tensor
    weight: Tensor

    def __init__(self, decay: float = 0.99):
        super().__init__()
        if not 0 <= decay < 1:
            raise ValueError(f"MovingAverage got decay={decay} and expected a number in [0, 1); use 0.99.")
        self.decay = decay
        self.register_buffer("total", torch.zeros(()))
        self.register_buffer("weight", torch.zeros(()))

    def forward(self, signal: Float[Tensor, "sample batch"], x: Tensor) -> Float[Tensor, "sample batch"]:
        """See `Baseline`."""
        others = (signal.sum() - signal) / max(signal.numel() - 1, 1)
        guess = torch.where(self.weight > 0, self.level.to(signal.dtype), others)
        if self.training:
            self._update(signal.detach())
        return guess

    @property
    def level(self) -> Float[Tensor, ""]:
        """c, the average over past steps; 0 before the first."""
        return self.total / self.weight.clamp(min=1e-12)

    @torch.no_grad()
    def _update(self, signal: Tensor) -> None:
        self.total.copy_(self.decay * self.total + signal.mean())
        self.weight.copy_(self.decay * self.weight + 1)
