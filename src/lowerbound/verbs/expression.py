"""Normalised expression: what a model of cells says of the share of each gene, without the depth of sequencing.

    ρ̂_n = E_q(z | x_n, c_n)[softmax(log π + f(z, c'))]
    λ̂_n = E_q(z | x_n, c_n)[softmax(log π + f(z, c')) E[w | x_n, z, c_n]]          given the cell's own counts

w is the gamma variable of the negative binomial of each gene (`models.cell_rates`): ρ̂ is what cells of these latents
have, λ̂ what this cell has, whose sum is 1 in expectation only. c' are the covariates of the cell, or those that are
asked for: decoding every cell under one batch takes the differences between batches out, as far as z does not hold
them. The expectation is over q alone; that the net may be wrong is not in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float

from lowerbound.data.covariates import drawn_covariates
from lowerbound.fitted import Fitted
from lowerbound.limits import MOST_SAMPLES, require_at_most
from lowerbound.models.cell_autoencoder import CellModel
from lowerbound.models.cell_rates import own_multipliers
from lowerbound.randomness import derive_seed, forked

if TYPE_CHECKING:
    import pandas

    from lowerbound.data import Rows

__all__ = ["model_of_cells", "normalized_expression", "replaced"]

_EXPRESSION = 10  # a stream of random numbers beside those of `fitted`, `imputing`, `writing` and `interpolating`
_BLOCK = 1024


def normalized_expression(
    fitted: Fitted,
    data: Any,
    *,
    given: Mapping[str, Any] | None = None,
    library_size: float = 10_000,
    num_samples: int = 25,
    own_counts: bool = False,
    seed: int | None = None,
) -> pandas.DataFrame:
    """The expected counts of each gene of each cell in a library of one size. See `Fitted.normalized_expression`.

    Raises:
        ValueError: another model, an unknown covariate or category, or numbers that are not above 0 or too many draws.
    """
    import pandas

    if num_samples < 1 or not library_size > 0:
        raise ValueError(
            f"normalized_expression got num_samples={num_samples}, library_size={library_size:g}; both must be above "
            "0: give such numbers."
        )
    require_at_most("normalized_expression", MOST_SAMPLES, num_samples=num_samples)
    model, rows = model_of_cells(fitted), fitted.rows(data)
    asked = replaced(fitted, rows.covariates, given or {})
    starts = range(0, len(rows.x), _BLOCK)
    parts = [_shares(fitted, model, rows, asked, start, num_samples, own_counts, seed) for start in starts]
    index = None if rows.row_names is None else list(rows.row_names)
    return pandas.DataFrame(
        library_size * np.concatenate(parts), index=index, columns=list(fitted.schema.column_names or ())
    )


def model_of_cells(fitted: Fitted) -> CellModel:
    """The model, if it has shares of genes.

    Raises:
        ValueError: it is another one.
    """
    if not isinstance(fitted.model, CellModel):
        raise ValueError(f"{fitted.called} has no expression without depth; fit the recipe cells (--recipe cells).")
    return fitted.model


def replaced(
    fitted: Fitted, covariates: Float[np.ndarray, "row covariate"] | None, given: Mapping[str, Any]
) -> Float[np.ndarray, "row covariate"] | None:
    """Covariates of rows, with the given ones in place of their own.

    Raises:
        DataError: a name or a value that the fit does not know.
    """
    if covariates is None or not given:
        if given:
            raise ValueError(f"{fitted.called} is given no covariates and got {', '.join(given)[:60]}; leave them out.")
        return covariates
    known = [covariate.name for covariate in fitted.schema.covariates]
    drawn = drawn_covariates(fitted.schema.covariates, len(covariates), given, 0)
    return np.where([name in given for name in known], drawn, covariates)


@torch.no_grad()
def _shares(
    fitted: Fitted,
    model: CellModel,
    rows: Rows,
    asked: np.ndarray | None,
    start: int,
    num_samples: int,
    own_counts: bool,
    seed: int | None,
) -> Float[np.ndarray, "row gene"]:
    """ρ̂ or λ̂ of some rows from a start on, decoded under the covariates that are asked for."""
    part = slice(start, start + _BLOCK)
    first = derive_seed(fitted.seed if seed is None else seed, _EXPRESSION)
    x = fitted.events(np.asarray(rows.x[part]), seed)
    own, other = (
        fitted.context(None, rows.name, None if numbers is None else numbers[part])
        for numbers in (rows.covariates, asked)
    )
    q, c = model.infer(x, own), x[:, :0] if other is None else other
    found, given = torch.zeros_like(x), model.completed(x, own) if own_counts else None
    with forked(torch.device("cpu"), derive_seed(first, start)):
        for _ in range(num_samples):
            z = q.sample()
            shares = model.likelihood.shares(z, c)
            found += shares * own_multipliers(model.decode(z, given), x) if own_counts else shares
    return (found / num_samples).numpy()
