"""log₂ q(z | x) − log₂ p(x, z) at given z, the bits that a row takes there; its mean under q is −ELBO.

Of a density p(x | z) it is that of steps of finite width, as x is coded: Σ −log₂ (F_k − F_{k−1}). It is what a density
times the width of a step stands for, and differs from it where a step is not short beside the spread of p(x | z):
columns of a few values under a normal distribution.
"""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor
from torch.distributions import Distribution

from lowerbound.coding.numbering import Steps
from lowerbound.coding.turns import Batch, NumberingOf, visited
from lowerbound.hooks import Latents
from lowerbound.model import LatentVariableModel
from lowerbound.weights import latents_of, weigh

__all__ = ["bits_at", "bits_on_steps"]

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


def bits_at(
    model: LatentVariableModel,
    steps: Steps,
    q: Distribution,
    x: Tensor,
    k: np.ndarray,
    z: Latents,
    *,
    seen: np.ndarray | None = None,
    context: Tensor | None = None,
) -> np.ndarray:
    """log₂ q(z | x) − log₂ p(x, z) of rows at latents z: (draws, rows).

    Arguments:
        model: p(x, z).
        steps: the values that x can have.
        q: q(z | x) of the rows.
        x: as the likelihood scores it (rows, *event).
        k: its numbers (rows, elements).
        z: latents (draws, rows, *event), or a tuple of them.
        seen: where there is a value (rows, elements); None for everywhere.
        context: of each row.
    """
    w = weigh(q, model.joint(x, context), z)
    if not steps.half.any():
        return -w.log_w.numpy() / math.log(2)
    batch = Batch(rows=len(k), size=len(k), part="likelihood", floored=True, seen=seen)
    of_x = [
        bits_on_steps(model.decode(one, context), lambda _, places: steps.at(places), k, batch)
        for one in _each(latents_of(q, w.z))
    ]
    return w.rate.numpy() / math.log(2) + np.stack(of_x)


def _each(z: Latents) -> list[Latents]:
    """The draws, one after another."""
    return list(zip(*z, strict=True)) if isinstance(z, tuple) else list(z)
