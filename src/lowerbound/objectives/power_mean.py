"""The logarithm of the power mean of the weights: several objectives have this form.

    M_p = (1/p) log (1/S) Σ_s w_s^p,      M_0 = (1/S) Σ_s log w_s

M_p rises with p (Hardy, Littlewood & Pólya 1934, theorem 16), for every set of weights and not only in expectation.
M_0 is the ELBO and M_1 the importance-weighted bound; for p ≤ 1 the expectation is therefore at most log p(x).
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["log_power_mean"]


def log_power_mean(log_w: Float[Tensor, "sample batch"], p: float) -> Float[Tensor, "batch"]:
    """M_p over the samples, nats; p = 0 is taken as the limit, the mean of log w."""
    if p == 0:
        return log_w.mean(0)
    return (torch.logsumexp(p * log_w, 0) - math.log(log_w.shape[0])) / p
