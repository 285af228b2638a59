"""Mean and standard deviation of q(z | x) of rows, computed in one way for the whole library.

They are those of `posterior_mean`, which also gives their errors and the shapes of the latents.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from lowerbound.evaluate.posterior_moments import NUM_DRAWS, posterior_mean
from lowerbound.model import LatentVariableModel
from lowerbound.protocols import Context

__all__ = ["latent_moments"]


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
    found = posterior_mean(model, x, context, num_draws=num_draws, seed=seed)
    return found.values.cpu(), found.standard_deviation.cpu()
