"""Is each number of a row where the model expects it, given the others of its row? The leave-one-out PIT (Gelfand, Dey
& Chang 1992; Vehtari, Gelman & Gabry 2017, arXiv:1507.04544, §2).

    u_d = P(x'_d ≤ x_d),      x'_d ~ p(x_d | x_others)

is uniform on [0, 1] over test rows where the model is right; P is the share of draws, with ties at random (`ranks`).
It sees what the ranks of p(x_d) cannot: a model that ties columns together more closely than they are is too narrow
here, and one that does so too loosely is too wide. One that ignores the other columns altogether passes both, for
p(x_d) is then right by itself; the correlations among the statistics of `predictive_checks` see that.

The draws are by importance weights of q(z | x_others). An entry whose weights are worth fewer than 20 draws is not
judged. What those weights are worth depends on the others only and not on x_d, so that the ranks that are left are
uniform still.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from lowerbound.evaluate.batches import check_rows
from lowerbound.evaluate.missing import draw_missing, require_missing_allowed
from lowerbound.evaluate.ranks import uniform_ranks
from lowerbound.model import LatentVariableModel
from lowerbound.protocols import Context
from lowerbound.randomness import derive_seed

__all__ = ["FEWEST_WORTH", "conditional_ranks"]

FEWEST_WORTH = 20


def conditional_ranks(
    model: LatentVariableModel,
    x: Float[Tensor, "batch column"],
    *,
    num_columns: int | None = None,
    num_draws: int = 63,
    num_samples: int = 256,
    context: Context | None = None,
    seed: int = 0,
) -> Float64[Tensor, "batch column_2"]:
    """u of each entry of each row; NaN where it is missing, or where the weights of q do not do.

    Arguments:
        model: p and q, in eval mode, whose likelihood takes NaN.
        x: test rows in the form that the likelihood scores, NaN where an entry is missing.
        num_columns: only so many columns, the first.
        num_draws: of each entry.
        num_samples: latents from which those of the draws are chosen.
        context: of the model, one row for each row of x.
        seed: of all draws; the caller's random state is untouched.

    Raises:
        ValueError: no rows, no draws, a context of another length, or a likelihood that takes no NaN.
    """
    check_rows(x, context, min(num_draws, num_samples), owner="conditional_ranks")
    require_missing_allowed(model)
    columns = []
    for column in range(x.shape[1])[:num_columns]:
        others, own = x.clone(), derive_seed(seed, column)
        others[:, column] = torch.nan
        drawn, worth = draw_missing(model, others, num_draws, num_samples=num_samples, context=context, seed=own)
        judged = ~x[:, column].isnan() & (worth >= FEWEST_WORTH)
        known = uniform_ranks(x[:, column].nan_to_num(), drawn[..., column], seed=own)
        columns.append(known.masked_fill(~judged, torch.nan))
    return torch.stack(columns, 1)
