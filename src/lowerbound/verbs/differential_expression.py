"""Genes that differ between two groups of cells, by draws from the posterior of a model of cells.

    h_g = log2(ρ_ag + ε) − log2(ρ_bg + ε),      a a cell of the first group, b one of the second, z ~ q(z | x)
    p_g = P(|h_g| > δ),     Bayes factor = log p_g − log(1 − p_g)

Source: the "change" mode of scvi-tools (Boyeau, Regier, Gayoso, Jordan, Lopez & Yosef 2019, bioRxiv 794289; Boyeau et
al. 2023, PNAS 120 e2209124120). Genes are ranked by p_g. Of the first k the expected fraction of false discoveries is
the mean of 1 − p_g, and the longest list for which it stays below the level is called differential.

Both cells of a pair are decoded under the same covariates, those of a cell of either group drawn at random, so that a
batch that is more frequent in one group makes no difference by itself. ε is a hundredth of a count in a library of
typical size: below it a ratio of shares is a ratio of numbers that no data have shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lowerbound.data.blocks import row_blocks
from lowerbound.data.given import column_of
from lowerbound.data.labels import label_values, number_text
from lowerbound.fitted import Fitted
from lowerbound.limits import MOST_SAMPLES, require_at_most
from lowerbound.models.cell_autoencoder import CellModel
from lowerbound.randomness import derive_seed, forked
from lowerbound.verbs.expression import model_of_cells

if TYPE_CHECKING:
    import pandas

    from lowerbound.data import Rows

__all__ = ["differential_expression", "discoveries"]

_DIFFERENCES = 11  # a stream of random numbers beside that of `expression`
_BLOCK, _LEAST_COUNT, _SCALE = 500, 0.01, 10_000
_FEWEST_CELLS = 2


@dataclass
class _Sums:
    """What is added up over the draws, per gene."""

    above: Any = 0.0
    change: Any = 0.0
    squared: Any = 0.0
    first: Any = 0.0
    second: Any = 0.0


def differential_expression(
    fitted: Fitted,
    data: Any,
    groups: Any,
    first: str | None = None,
    second: str | None = None,
    *,
    delta: float = 0.25,
    level: float = 0.05,
    num_draws: int = 5000,
    seed: int | None = None,
) -> pandas.DataFrame:
    """Compare the genes of two groups of cells. See `Fitted.differential_expression`.

    Raises:
        ValueError: another model, unknown groups, one group twice, a group of fewer than two cells, or numbers out of
            their range.
    """
    import pandas

    if not (delta > 0 and 0 < level < 1 and num_draws >= 1):
        raise ValueError(
            f"differential_expression got delta={delta:g}, level={level:g} and num_draws={num_draws}; give a delta "
            "above 0, a level between 0 and 1, and at least one draw."
        )
    require_at_most("differential_expression", MOST_SAMPLES, num_draws=num_draws)
    model, rows = model_of_cells(fitted), fitted.rows(data)
    of_cell = _groups(data, groups, fitted, len(rows.x))
    frames = []
    if None not in (first, second) and str(first) == str(second):
        raise ValueError(f"differential_expression got the group {str(first)[:40]!r} twice; compare it with another.")
    left_out = {"", "" if second is None else str(second)}
    for i, name in enumerate(sorted(set(of_cell) - left_out) if first is None else [str(first)]):
        rest = (of_cell != name) & (of_cell != "")
        cells = [_cells(of_cell, name), rest if second is None else _cells(of_cell, str(second))]
        chosen = [np.flatnonzero(part) for part in cells]
        if min(map(len, chosen)) < _FEWEST_CELLS:
            raise ValueError(
                f"The groups have {len(chosen[0])} and {len(chosen[1])} cells; a comparison takes at least "
                f"{_FEWEST_CELLS} in each."
            )
        begin = derive_seed(derive_seed(fitted.seed if seed is None else seed, _DIFFERENCES), i)
        sums = _Sums()
        for start in range(0, num_draws, _BLOCK):
            count = min(_BLOCK, num_draws - start)
            pair = _pairs(fitted, model, rows, chosen, count, derive_seed(begin, start))
            _add(sums, pair, delta, _LEAST_COUNT / float(model.sizes.loc.exp().mean()))
        frames.append(_frame(fitted, sums, rows, chosen, num_draws, level, name, "rest" if second is None else second))
    return pandas.concat(frames)


def discoveries(
    probability: Float[np.ndarray, "gene"], level: float
) -> tuple[Float[np.ndarray, "gene"], Bool[np.ndarray, "gene"]]:
    """The expected fraction of false discoveries among the genes that are at least as probable as each, and which genes
    belong to the longest list for which it is at most the level.

    >>> discoveries(np.array([0.5, 1.0, 0.96]), 0.05)[1].tolist()
    [False, True, True]
    """
    order = np.argsort(-probability, kind="stable")
    expected = np.empty(len(probability))
    expected[order] = np.cumsum(1 - probability[order]) / np.arange(1, len(order) + 1)
    return expected, expected <= level


def _groups(data: Any, groups: Any, fitted: Fitted, count: int) -> np.ndarray:
    """The group of each cell as text, "" for none."""
    found = np.asarray(column_of(data, groups, fitted.schema) if isinstance(groups, str) else groups)
    if found.shape != (count,):
        raise ValueError(f"groups has shape {found.shape} and there are {count} cells; give one group for each.")
    values = label_values(found, "the groups")
    if values.dtype.kind == "f":
        return np.array(["" if np.isnan(value) else number_text(value) for value in values])
    return np.array(["" if value is None else str(value) for value in values.tolist()])


def _cells(of_cell: np.ndarray, name: str) -> np.ndarray:
    """Which cells are of a group.

    Raises:
        ValueError: none is.
    """
    if name not in of_cell:
        known = ", ".join(repr(one[:30]) for one in sorted(set(of_cell) - {""})[:5])
        raise ValueError(f"There is no cell of the group {name[:40]!r}; the groups are {known}.")
    return of_cell == name


@torch.no_grad()
def _pairs(
    fitted: Fitted, model: CellModel, rows: Rows, chosen: list[np.ndarray], count: int, seed: int
) -> list[Float[Tensor, "draw gene"]]:
    """ρ of both cells of some pairs."""
    rng = np.random.default_rng(seed)
    of_either = rng.choice(np.concatenate([rng.choice(part, count) for part in chosen]), count)
    shared = fitted.context(None, rows.name, None if rows.covariates is None else rows.covariates[of_either])
    pair = []
    for part in chosen:
        cells = rng.choice(part, count)
        x = fitted.events(np.asarray(rows.x[cells]), seed)
        own = fitted.context(None, rows.name, None if rows.covariates is None else rows.covariates[cells])
        with forked(torch.device("cpu"), derive_seed(seed, len(pair))):
            z = model.infer(x, own).sample()
        pair.append(model.likelihood.shares(z, z[:, :0] if shared is None else shared))
    return pair


def _add(sums: _Sums, pair: list[Tensor], delta: float, least: float) -> None:
    a, b = (part.double() for part in pair)
    change = torch.log2(a + least) - torch.log2(b + least)
    sums.above = sums.above + (change.abs() > delta).sum(0)
    sums.change = sums.change + change.sum(0)
    sums.squared = sums.squared + change.square().sum(0)
    sums.first, sums.second = sums.first + a.sum(0), sums.second + b.sum(0)


def _frame(
    fitted: Fitted,
    sums: _Sums,
    rows: Rows,
    chosen: list[np.ndarray],
    num_draws: int,
    level: float,
    first: str,
    second: str,
) -> pandas.DataFrame:
    """A row for each gene, the most probable differences first."""
    import pandas

    above = sums.above.numpy()
    probability, mean = above / num_draws, sums.change.numpy() / num_draws
    expected, differential = discoveries(probability, level)
    seen = [sum((block > 0).sum(0) for _, block in row_blocks(rows.x, part)) / len(part) for part in chosen]
    columns: dict[str, Any] = {
        "group": first,
        "against": second,
        "probability": probability,
        "bayes_factor": np.log(above + 0.5) - np.log(num_draws - above + 0.5),
        "log2_fold_change": mean,
        "log2_fold_change_std": np.sqrt(np.maximum(sums.squared.numpy() / num_draws - mean**2, 0)),
        "expression": _SCALE * sums.first.numpy() / num_draws,
        "expression_against": _SCALE * sums.second.numpy() / num_draws,
        "fraction_of_cells": seen[0],
        "fraction_of_cells_against": seen[1],
        "expected_false_discoveries": expected,
        "differential": differential,
    }
    frame = pandas.DataFrame(columns, index=pandas.Index(fitted.schema.column_names or (), name="gene"))
    return frame.sort_values(["probability", "log2_fold_change_std"], ascending=[False, True], kind="stable")
