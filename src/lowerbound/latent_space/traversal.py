"""What each latent does: it alone is moved, the others stay, and the model shows what comes out.

    A_d = Var_x(E_q[z_d | x])                      the activity of latent d (Burda et al. 2016, arXiv:1509.00519, §5.2)
    q(z_d) = (1/N) Σ_n q(z_d | x_n)                its aggregate posterior
    z = start, but for z_d = quantiles of q(z_d),  or start_d + s sd(z_d),   s = −k … k

Latents come by their activity, the largest first. One with A_d ≤ 0.01 is silent: no row moves it, and p(x | z) has no
reason to listen to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from lowerbound.data import Rows
from lowerbound.fitted import Fitted
from lowerbound.latent_space.vectors import LatentVectors, decoded, taken, vectors_of
from lowerbound.randomness import derive_seed, forked

__all__ = ["SILENT", "Traversal", "traverse"]

SILENT = 0.01
_LEVELS = (0.02, 0.98)
_MOST_ROWS = 5000
_DRAWS = 13  # a stream of random numbers beside those of other modules


@dataclass(frozen=True, kw_only=True, eq=False)
class Traversal:
    """Walks along the latents.

    Attributes:
        latents: the numbers of the latents that are walked, the most active first (K,).
        activity: A_d of all latents (D,), by number.
        values: z_d at each step (K, S).
        shown: what the model shows there (K, S, *event), as the likelihood scores it.
        start: z where all walks cross (D,).
        row: the number in the data of the row that they start from; None for the mean of all rows.
        num_rows: how many rows the activities and quantiles were measured on.
        spacing: what the steps are, in words.
    """

    latents: Int[np.ndarray, "walk"]
    activity: Float[np.ndarray, "latent"]
    values: Float[np.ndarray, "walk step"]
    shown: Tensor
    start: Float[np.ndarray, "latent"]
    row: int | None
    num_rows: int
    spacing: str

    @property
    def silent(self) -> list[int]:
        """Latents that no row moves."""
        return [int(d) for d in np.flatnonzero(self.activity <= SILENT)]


def traverse(
    fitted: Fitted,
    data: Any = None,
    *,
    row: int | None = None,
    num_steps: int = 7,
    sd: float | None = None,
    num_latents: int | None = None,
    seed: int | None = None,
) -> Traversal:
    """Walk along each latent. See `Fitted.traverse`."""
    most = 1 if num_latents is None else num_latents
    if num_steps < 2 or most < 1 or not (sd is None or 0 < sd < float("inf")):
        raise ValueError(
            f"traverse got num_steps={num_steps}, num_latents={num_latents}, sd={sd}; expected at least 2 steps, 1 "
            "latent and an sd above 0."
        )
    rows = fitted.test_rows() if data is None else fitted.rows(data)
    if row is None and (fitted.is_conditional or fitted.schema.covariates):
        raise ValueError(f"{fitted.called} is given classes or covariates; say from which row to start, with row.")
    from_row = None if row is None else vectors_of(fitted, taken(rows, np.array([row])), seed)
    measured = taken(rows, np.arange(min(len(rows.x), _MOST_ROWS)))
    found = vectors_of(fitted, measured, seed)
    activity = found.mean.var(0, correction=0)
    latents = activity.argsort(descending=True, stable=True)
    latents = latents[: num_latents or max(1, int((activity > SILENT).sum()))]
    start = found.mean.mean(0) if from_row is None else from_row.mean[0]
    values, spacing = _values(fitted, measured, found, latents, start, num_steps, sd, seed)
    z = start.repeat(len(latents), num_steps, 1)
    z[torch.arange(len(latents)), :, latents] = values
    context, flat = None if from_row is None else from_row.context, z.flatten(0, 1)
    given = None if context is None else context.expand(len(flat), *context.shape[1:])
    made = decoded(fitted, flat, found.shape, given, seed)
    return Traversal(
        latents=latents.numpy(),
        activity=activity.numpy(),
        values=values.numpy(),
        shown=made.unflatten(0, (len(latents), num_steps)),
        start=start.numpy(),
        row=None if row is None else row if rows.numbers is None else int(rows.numbers[row]),
        num_rows=len(measured.x),
        spacing=spacing,
    )


def _values(
    fitted: Fitted,
    rows: Rows,
    found: LatentVectors,
    latents: Tensor,
    start: Tensor,
    num_steps: int,
    sd: float | None,
    seed: int | None,
) -> tuple[Float[Tensor, "walk step"], str]:
    """z_d at each step, and what the steps are in words."""
    if sd is None:
        low, high = _LEVELS
        words = f"{num_steps} quantiles of the aggregate posterior, from {low:.0%} to {high:.0%}"
        return _quantiles(fitted, rows, found, latents, num_steps, seed), words
    spread = (found.mean.var(0, correction=0) + found.scale.square().mean(0)).sqrt()[latents, None]
    values = start[latents, None] + spread * torch.linspace(-sd, sd, num_steps, dtype=start.dtype)
    return values, f"{sd:g} standard deviations to both sides of the start"


@torch.no_grad()
def _quantiles(
    fitted: Fitted, rows: Rows, found: LatentVectors, latents: Tensor, num_steps: int, seed: int | None
) -> Float[Tensor, "walk step"]:
    """Of q(z_d), estimated by one draw of z for each row."""
    draws = []
    for x, context, part in fitted.blocks(rows, seed):
        with forked(torch.device("cpu"), derive_seed(part, _DRAWS)):
            draws.append(fitted.model.infer(x, context).sample().flatten(1))
    z = torch.cat(draws)[:, latents]
    levels = torch.linspace(*_LEVELS, num_steps, dtype=z.dtype)
    return z.quantile(levels, 0).T.to(found.mean.dtype)
