"""Weights of separately fitted densities: the mixture that is best for rows that none of them has seen.

    w = argmax Σ_n log Σ_m w_m p_m(x_n),      p_m fitted without row n

(Smyth & Wolpert 1999, "Linearly combining density estimators via stacking"). The sum is concave in w and climbed by
EM, w ← mean over rows of p(m | x_n). On these rows the mixture is never below the best of the densities. A few weights
fitted to hundreds of rows overfit little, unlike a choice of the best of many densities.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["stacking_weights"]


def stacking_weights(
    log_p: Float[Tensor, "row density"], *, max_iterations: int = 1000, tolerance: float = 1e-7
) -> Float[Tensor, "density"]:
    """w, from log p_m(x_n) of rows that p_m was not fitted to, nats.

    Arguments:
        log_p: log-densities of each row.
        max_iterations: of EM.
        tolerance: stop when the mean rises by less, nats per row.

    Raises:
        ValueError: no rows, or a row to which no density gives a finite number.

    >>> stacking_weights(torch.tensor([[0.0, -9.0], [0.0, -9.0], [-9.0, 0.0]])).round(decimals=2)
    tensor([0.6700, 0.3300])
    """
    if not len(log_p) or not bool(log_p.isfinite().any(1).all()):
        raise ValueError(f"stacking_weights got {len(log_p)} rows and needs rows with a finite log-density of each.")
    log_w = log_p.new_zeros(log_p.shape[1]).log_softmax(0)
    previous = -float("inf")
    for _ in range(max_iterations):
        log_joint = log_p + log_w
        value = float(log_joint.logsumexp(1).mean())
        if value - previous <= tolerance:
            break
        previous = value
        log_w = log_joint.softmax(1).mean(0).clamp_min(torch.finfo(log_p.dtype).tiny).log()
    return log_w.exp()
