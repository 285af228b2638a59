"""Where rows lie in latent space: mean and standard deviation of q(z | x), one way for everyone who asks.

Both are exact where q has them in closed form. Elsewhere (flows) they are those of `NUM_DRAWS` draws, whose standard
error is 1/√NUM_DRAWS of the standard deviation of q. The layers of a hierarchy stand one after another.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound.model import LatentVariableModel, flat_latents
from lowerbound.protocols import Context
from lowerbound.randomness import forked
from lowerbound.weights import latents_of

__all__ = ["NUM_DRAWS", "latent_moments"]

NUM_DRAWS = 1000
_BLOCK = 1024


@torch.no_grad()
def latent_moments(
    model: LatentVariableModel,
    x: Float[Tensor, "row *event"],
    context: Context | None = None,
    *,
    num_draws: int = NUM_DRAWS,
    seed: int = 0,
) -> tuple[Float[Tensor, "row latent"], Float[Tensor, "row latent"]]:
    """E_q[z | x] and the standard deviation of q(z | x) of each row, on the CPU.

    Arguments:
        model: p and q.
        x: rows as the likelihood scores them.
        context: of the model, one row for each of x.
        num_draws: where q has no moments in closed form.
        seed: of the draws.
    """
    parts = []
    with forked(x.device, seed):
        for start in range(0, len(x), _BLOCK):
            rows = slice(start, start + _BLOCK)
            parts.append(_moments(model, x[rows], _part(context, rows), num_draws))
    mean, scale = (torch.cat(column) for column in zip(*parts, strict=True))
    return mean, scale


def _moments(model: LatentVariableModel, x: Tensor, context: Context | None, num_draws: int) -> tuple[Tensor, Tensor]:
    q = model.infer(x, context)
    try:
        return q.mean.flatten(1).cpu(), q.stddev.flatten(1).cpu()
    except NotImplementedError:
        draws = flat_latents(latents_of(q, q.sample(torch.Size((num_draws,)))))
        scale, mean = torch.std_mean(draws, dim=0)
        return mean.cpu(), scale.cpu()


def _part(context: Context | None, rows: slice) -> Context | None:
    if context is None:
        return None
    return tuple(part[rows] for part in context) if isinstance(context, tuple) else context[rows]
