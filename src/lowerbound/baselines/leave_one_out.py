"""The leave-one-out baseline: Kool et al. (2019), Richter et al. (2020, arXiv:2010.10436), Mnih & Rezende (2016).

    geometric     f̂_s = (1/(S−1)) Σ_{j≠s} f_j
    arithmetic    f̂_s = log (1/(S−1)) Σ_{j≠s} exp f_j

the logarithms of the two means of exp f over the other samples (Mnih & Rezende 2016, arXiv:1602.06725, §2.5).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound.baselines.baseline import require_samples

__all__ = ["LeaveOneOut"]


@dataclass(frozen=True)
class LeaveOneOut:
    """Predicts the signal of sample s by the mean of the others.

    On the ELBO, the geometric mean gives V − b_s = (f_s − mean of the others)/S: the leave-one-out REINFORCE of Kool
    et al. (2019), whose gradient is VarGrad's (Richter et al. 2020, arXiv:2010.10436, eq. 9). On IWAE it is VIMCO, with
    either mean (Mnih & Rezende 2016, arXiv:1602.06725, eqs. 9–10).

    Arguments:
        mean: "geometric" mean of exp f, which is the arithmetic mean of f; or "arithmetic" mean of exp f, which is
            larger and dominated by the best of the other samples.
    """

    cites: ClassVar[tuple[str, ...]] = ("kool2019buy", "richter2020vargrad", "mnih2016variational")

    mean: Literal["geometric", "arithmetic"] = "geometric"
    fewest_samples: int = field(default=2, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.mean not in ("geometric", "arithmetic"):
            raise ValueError(f"LeaveOneOut got mean={self.mean!r}; choose 'geometric' or 'arithmetic'.")

    def __call__(self, signal: Float[Tensor, "sample batch"], x: Tensor) -> Float[Tensor, "sample batch"]:
        """See `Baseline`."""
        size = signal.shape[0]
        require_samples(self, size)
        if self.mean == "geometric":
            return (signal.sum(0) - signal) / (size - 1)
        own = torch.eye(size, dtype=torch.bool, device=signal.device)[:, :, None]
        others = signal[:, None].masked_fill(own, float("-inf"))  # (j, s, batch)
        return torch.logsumexp(others, 0) - math.log(size - 1)
