"""−log₂ p(x | z) on steps of finite width, as x is coded: Σ −log₂ (F_k − F_{k−1}).

It is what a density times the width of a step stands for, and differs from it where a step is not short beside the
spread of p(x | z): columns of a few values under a normal distribution.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from lowerbound.coding.bits_back import Codec
from lowerbound.coding.turns import Batch, NumberingOf, visited
from lowerbound.weights import latents_of, weigh

__all__ = ["bits_on_steps", "negative_elbo_bits"]

_LEAST = 2.0**-50  # F is known to this


def bits_on_steps(p: Distribution, numbering_of: NumberingOf, k: np.ndarray, batch: Batch) -> np.ndarray:
    """−log₂ of the probability of the events numbered k (size, event) under p: (size,)."""
    found = np.zeros(batch.size)
    for elements, places, send in visited(p, numbering_of, batch):
        numbers = np.ascontiguousarray(k[:, places].T)
        family, numbering = elements.family, elements.numbering
        upper = np.where(
            numbers < numbering.size[:, None] - 1, family.function(numbering.end(numbers), *family.parameters), 1.0
        )
        below = family.function(numbering.end(np.maximum(numbers - 1, 0)), *family.parameters)
        bits = -np.log2(np.maximum(upper - np.where(numbers > 0, below, 0.0), _LEAST))
        found += bits.sum(0) if elements.seen is None else np.where(elements.seen, bits, 0.0).sum(0)
        send(numbers)
    return found


def negative_elbo_bits(
    codec: Codec, k: np.ndarray, draws: int, *, seen: np.ndarray | None = None, context: Tensor | None = None
) -> np.ndarray:
    """log₂ q(z | x) − log₂ p(x, z) of rows numbered k (rows, elements) at draws of z: (draws, rows).

    Call it within `exactly`.
    """
    model, rows = codec.model, len(k)
    values = codec.steps.value(np.ascontiguousarray(k.T)).T
    x = codec.events(np.ascontiguousarray(values if seen is None else np.where(seen, values, np.nan)))
    given = None if context is None else context.double()
    q, joint = model.infer(x, given), model.joint(x, given)
    w = weigh(q, joint, q.sample(torch.Size((draws,))))
    if not codec.steps.half.any():
        return -w.log_w.numpy() / math.log(2)
    batch = Batch(rows=rows, size=rows, part="likelihood", floored=True, seen=seen)
    z = latents_of(q, w.z)
    of_x = [
        bits_on_steps(model.decode(one, given), lambda _, places: codec.steps.at(places), k, batch)
        for one in (tuple(layer[i] for layer in z) if isinstance(z, tuple) else z[i] for i in range(draws))
    ]
    return w.rate.numpy() / math.log(2) + np.stack(of_x)
