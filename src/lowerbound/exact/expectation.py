"""The expectation of an objective over K independent latents that can take finitely many values.

E[R(f_1, …, f_K)] = Σ_{i_1, …, i_K} P_{i_1} ⋯ P_{i_K} R(f_{i_1}, …, f_{i_K}),      f =
objective.signal, R = objective.reduce
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound.protocols import Objective
from lowerbound.weights import LogWeights

__all__ = ["MAX_TERMS", "expectation"]

MAX_TERMS = 2**18


def expectation(
    objective: Objective,
    w: LogWeights,
    log_probability: Float[Tensor, "state batch"],
    num_samples: int,
) -> Float[Tensor, "batch"]:
    """The exact expectation of an objective of num_samples draws, nats.

    Arguments:
        objective: what is averaged.
        w: the weights at every state, (state, batch).
        log_probability: of every state.
        num_samples: K.

    Raises:
        ValueError: the sum would have more than 2^18 terms per datum.
    """
    size, batch = log_probability.shape
    if num_samples < 1 or size**num_samples > MAX_TERMS:
        raise ValueError(
            f"An exact expectation over {num_samples} draws of {size} states has "
            f"{size}^{num_samples} terms per datum and may have {size} to {MAX_TERMS}; "
            "use another num_samples or fewer latents."
        )
    states = torch.arange(size, device=log_probability.device)
    index = torch.cartesian_prod(*[states] * num_samples).reshape(-1, num_samples).mT  # (K, term)
    signal = objective.signal(w)[index].flatten(1)
    value = objective.reduce(signal).reshape(-1, batch)
    return (log_probability[index].sum(0).exp() * value).sum(0)
