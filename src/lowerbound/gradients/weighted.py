"""The value of an objective at latents z_i that count with probabilities P_i instead of alike.

linear    Σ_i P_i f_i                        (every state of z with P_i = q(z_i | x); strata with their weights)
IWAE      log Σ_i P_i w_i = log (1/S) Σ_i exp(f_i + log S P_i)
"""

from __future__ import annotations

import math

from jaxtyping import Float
from torch import Tensor

from lowerbound.objectives import IWAE
from lowerbound.protocols import Objective
from lowerbound.weights import LogWeights

__all__ = ["weighted_value"]


def weighted_value(objective: Objective, w: LogWeights) -> Float[Tensor, "batch"]:
    """What the objective is at these weights, per datum, nats; `objective.reduce` where all rows count alike.

    Raises:
        ValueError: rows that do not count alike, and an objective that is neither linear nor IWAE.
    """
    signal = objective.signal(w)
    if w.log_probability is None:
        return objective.reduce(signal)
    if objective.linear:
        return w.average(signal)
    if not isinstance(objective, IWAE):
        raise ValueError(f"{type(objective).__name__} has no value at latents that do not count alike; use Pathwise().")
    return objective.reduce(signal + w.log_probability + math.log(signal.shape[0]))
