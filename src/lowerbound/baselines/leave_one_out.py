"""The leave-one-out baseline: Kool et al. (2019), Richter et al. (2020, arXiv:2010.10436), Mnih & Rezende (2016)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound.protocols import Objective

__all__ = ["LeaveOneOut"]


@dataclass(frozen=True)
class LeaveOneOut:
    """The objective with sample s replaced by the mean of the others.

        b_s = R(f_1, …, f_{s−1}, (1/(S−1)) Σ_{j≠s} f_j, f_{s+1}, …, f_S),      R = `objective.reduce`, f = its signal

    On the ELBO, V − b_s = (f_s − mean of the others)/S: the leave-one-out REINFORCE of Kool et al. (2019), whose
    gradient is VarGrad's (Richter et al. 2020, arXiv:2010.10436, eq. 9). On IWAE it is VIMCO with the geometric mean
    (Mnih & Rezende 2016, arXiv:1602.06725, eq. 9).
    """

    def __call__(self, objective: Objective, signal: Float[Tensor, "sample batch"]) -> Float[Tensor, "sample batch"]:
        """Return b (sample, batch)."""
        size, batch = signal.shape
        if size < 2:
            raise ValueError("LeaveOneOut needs num_samples ≥ 2 and got 1: there is no other sample; draw more.")
        others = (signal.sum(0) - signal) / (size - 1)
        own = torch.eye(size, dtype=torch.bool, device=signal.device)[:, :, None]
        replaced = torch.where(
            own, others[None], signal[:, None]
        )  # (j, s, batch): column s has its s-th entry replaced
        return objective.reduce(replaced.reshape(size, size * batch)).reshape(size, batch)
