"""The value of an objective at latents z_i with unequal weights P_i.

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
    """The value of the objective at these weights, per datum, nats; `objective.reduce` if all rows have the same
    weight.

    Raises:
        ValueError: unequal weights under an objective that is neither linear nor IWAE.
    """
    signal = objective.signal(w)
    if w.log_probability is None:
        return objective.reduce(signal)
    if objective.linear:
        return w.average(signal)
    if not isinstance(objective, IWAE):
        raise ValueError(f"{type(objective).__name__} is not defined for latents with unequal weights; use Pathwise().")
    return objective.reduce(signal + w.log_probability + math.log(signal.shape[0]))
