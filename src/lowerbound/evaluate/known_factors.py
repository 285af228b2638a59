"""What the scores against known factors share: checked latents and factors, outliers, and standard errors.

A value whose distance from the central 98 % of its latent exceeds the width of these is an outlier, and is brought to
the farthest of the others (winsorising, Dixon 1960): one row far out decides no correlation, no width of a bin and no
scale of a latent. Latents without outliers stay as they are.

se² = (G − 1)/G Σ_g (s_(g) − mean)²        the jackknife, s_(g) the score without the g-th of G = 10 groups of rows
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from lowerbound.evaluate.estimates import Score
from lowerbound.randomness import derive_seed

__all__ = ["checked", "jackknife", "jackknives"]

_NUM_GROUPS = 10
_TAIL = 0.01  # of the rows on each side, at least one, are outside of the central ones


def checked(
    latents: Float[Tensor, "row latent"], factors: Int64[Tensor, "label factor"], *, fewest_latents: int
) -> tuple[Float64[Tensor, "row latent"], Int64[Tensor, "row factor"]]:
    """Latents in float64 and factors numbered from 0, on the CPU; both may be given as arrays.

    Raises:
        ValueError: not one row of factors for each row of latents, fewer than 20 rows, latents that are not finite or
            all the same, a factor with a single value, or fewer latents than a score compares.
    """
    latents, factors = torch.as_tensor(latents), torch.as_tensor(factors)
    if factors.shape[0] != latents.shape[0] or latents.shape[0] < 2 * _NUM_GROUPS:
        raise ValueError(
            f"Disentanglement got {latents.shape[0]} rows of latents and {factors.shape[0]} rows of factors; give "
            f"one row of factors for each row of latents, and at least {2 * _NUM_GROUPS}."
        )
    if latents.shape[1] < fewest_latents:
        raise ValueError(f"A gap needs two latents and each row has {latents.shape[1]}; use dci_scores.")
    z = latents.detach().double().cpu()
    if not bool(z.isfinite().all()):
        row, latent = (~z.isfinite()).nonzero()[0].tolist()
        raise ValueError(
            f"Disentanglement got a latent that is {float(z[row, latent])} at row {row}, latent {latent}; leave out "
            "such rows, and look at how the model was trained."
        )
    if not bool((z.amax(0) > z.amin(0)).any()):
        raise ValueError("Disentanglement got latents that are all the same; check that the model has not collapsed.")
    numbered = torch.stack([each.cpu().unique(return_inverse=True)[1] for each in factors.unbind(1)], 1)
    if numbered.numel() == 0 or int(numbered.amax(0).min()) == 0:
        raise ValueError("Disentanglement got a factor with a single value; leave it out.")
    return _winsorised(z), numbered


def _winsorised(z: Float64[Tensor, "row latent"]) -> Float64[Tensor, "row latent"]:
    """Latents whose outliers are at the farthest of the other values."""
    ordered, tail = z.sort(0).values, max(1, math.ceil(_TAIL * len(z)))
    first, last = ordered[tail], ordered[-1 - tail]
    reach = (last - first).where(last > first, math.inf)
    low = z.where(z >= first - reach, math.inf).amin(0)
    high = z.where(z <= last + reach, -math.inf).amax(0)
    return z.clamp(low, high)


def jackknife(score: Callable[[Tensor], Tensor], num_rows: int) -> Score:
    """The score of all rows, given as their indices, and its standard error."""
    return jackknives(lambda rows: score(rows)[None], num_rows)[0]


def jackknives(scores: Callable[[Tensor], Tensor], num_rows: int) -> list[Score]:
    """Scores of all rows; se² = (G − 1)/G Σ_g (s_(g) − mean)², s_(g) without the g-th of G groups."""
    rows = torch.randperm(num_rows, generator=torch.Generator().manual_seed(derive_seed(0, "jackknife")))
    group = torch.arange(num_rows) % _NUM_GROUPS
    left_out = torch.stack([scores(rows[group != g]) for g in range(_NUM_GROUPS)])
    error = (left_out.var(0, correction=0) * (_NUM_GROUPS - 1)).sqrt()
    return [
        Score(value=float(value), standard_error=float(spread))
        for value, spread in zip(scores(rows.sort().values), error, strict=True)
    ]
