"""Means of a fitted model for many rows, a block at a time, so that hidden layers never hold all of them.

What is random draws from torch's global generators, which the caller forks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound.model import LatentVariableModel
from lowerbound.shown import shown
from lowerbound.weights import latents_of

__all__ = ["data_means", "latent_means"]

_BLOCK, _DRAWS = 1024, 1000


def latent_means(model: LatentVariableModel, x: Float[Tensor, "row *event"]) -> Float[Tensor, "row *latent"]:
    """E_q[z | x]; the average of 1,000 draws where q has no mean in closed form."""
    return _in_blocks(lambda block: _mean(model.infer(block)), x)


def data_means(model: LatentVariableModel, z: Float[Tensor, "row *latent"]) -> Float[Tensor, "row *event"]:
    """E[x | z], or what is shown in its place."""
    return _in_blocks(lambda block: shown(model.decode(block)).values, z)


@torch.no_grad()
def _in_blocks(answer: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
    return torch.cat([answer(part) for part in rows.split(_BLOCK)])


def _mean(q: torch.distributions.Distribution) -> Tensor:
    try:
        return q.mean
    except NotImplementedError:
        return cast(Tensor, latents_of(q, q.sample(torch.Size((_DRAWS,))))).mean(0)
