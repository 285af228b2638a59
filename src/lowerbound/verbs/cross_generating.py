"""Blocks of a multimodal model given others: what they would be, how probable they are, and whether they agree.

    p(x_b | x_a) = E_{p(z | x_a)} p(x_b | z)               drawn and averaged with importance weights of z ~ q(z | x_a)
    log p(x_b | x_a) = log p(x_a, x_b) − log p(x_a)        each by L_S, with the same random numbers
    coherence: the share of rows whose generated x_b has the class of the given x_a    (Shi et al. 2019, sec. 4)

The first two lines are of the model and hold for any q; the coherence is of q(z | x_a), without weights, as published.
The class of a block is a column of it, or what a classifier says that is trained here on whole training rows; how often
that is right on test rows is said beside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from lowerbound.data import DataError, Rows
from lowerbound.data.block_pictures import pictures_of_blocks
from lowerbound.data.column_blocks import present_blocks
from lowerbound.evaluate import log_evidence
from lowerbound.evaluate.missing import completions, draw_missing
from lowerbound.fitted import Fitted
from lowerbound.limits import MOST_SAMPLES, require_at_most
from lowerbound.models.block_likelihood import BlockLikelihood
from lowerbound.models.experts import BlockPosterior
from lowerbound.nets import MLP
from lowerbound.randomness import derive_seed, forked
from lowerbound.shown import shown
from lowerbound.verbs.imputing import summary_of

__all__ = ["Coherence", "block_scores", "coherence", "cross_generate", "made_given", "pictures_in", "rows_with"]

_CROSS, _COHERENCE = 10, 11  # streams of random numbers
_HIDDEN, _STEPS, _BATCH, _LR, _MOST_ROWS = 128, 600, 128, 2e-3, 20_000
_MOST_AT_ONCE = 10_000


@dataclass(frozen=True, kw_only=True)
class Coherence:
    """How often blocks that are generated together, or one from another, have the same class.

    Attributes:
        given: for each block that is given, the share of rows in which each other block has its class.
        joint: the share of draws z ~ p(z) whose blocks all have the same class.
        accuracy: of the classifier of each block on test rows; 1 where the class is a column of the block.
        chance: the share of the most frequent class.
        num_rows: test rows.
        num_draws: draws of the joint.
    """

    given: dict[str, dict[str, float]]
    joint: float
    accuracy: dict[str, float]
    chance: float
    num_rows: int
    num_draws: int


def cross_generate(
    fitted: Fitted,
    data: Any,
    given: str | Sequence[str],
    *,
    draw: bool = False,
    num_samples: int = 1000,
    seed: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Any:
    """The other blocks of each row, given some. See `Fitted.cross_generate`."""
    made, others = made_given(fitted, data, given, draw, num_samples, seed, progress)
    table = fitted.render(made, rounded=draw)
    names = [column.name for column in fitted.schema.columns or ()]
    chosen = [names[i] for i in others]
    if hasattr(table, "columns"):
        return table[chosen]
    if not fitted.schema.has_names:
        return table[:, others]
    import pandas

    return pandas.DataFrame(table[:, others], columns=chosen)


def made_given(
    fitted: Fitted,
    data: Any,
    given: str | Sequence[str],
    draw: bool,
    num_samples: int,
    seed: int | None,
    progress: Callable[[int, int], None] | None,
    *,
    as_means: bool = False,
) -> tuple[Tensor, list[int]]:
    """Whole rows as the likelihood scores them, and the columns that were made; arguments are of `cross_generate`.

    With `as_means` and no draw, pixels of 0 and 1 are their probabilities too, and not the more probable value.
    """
    _, x, others = _given(fitted, data, given, seed)
    stream = derive_seed(fitted.seed if seed is None else seed, _CROSS)
    if draw:
        made = draw_missing(fitted.model, x, 1, num_samples=num_samples, seed=stream)[0][0]
    else:
        made = torch.empty_like(x)
        for part in completions(fitted.model, x, num_samples=num_samples, seed=stream, progress=progress):
            means = (part.weight_of_entries * part.mean).sum(0)
            made[part.rows] = means if as_means else summary_of(fitted, part)
    return made, others


def pictures_in(fitted: Fitted, x: Float[Tensor, "row column"]) -> dict[str, Float[np.ndarray, "row height width"]]:
    """The blocks of rows that are pictures, as pictures; none of a model without such blocks."""
    words = None if fitted.plan is None else fitted.plan.model.get("pictures")
    if words is None:
        return {}
    columns = _likelihood(fitted).columns
    found = pictures_of_blocks(words, columns)
    return {name: picture.filled(x[:, list(columns[name])].numpy()) for name, picture in found.items()}


def rows_with(fitted: Fitted, rows: Rows, given: str | Sequence[str]) -> Rows:
    """The rows that have all of the given blocks; the numbers of the others are left out.

    Raises:
        ValueError: an unknown block, or no such row.
    """
    columns = _likelihood(fitted).columns
    names = _known(fitted, given)
    keep = np.setdiff1d(np.arange(len(rows.x)), _lacking(rows, {name: columns[name] for name in names}))
    if not len(keep):
        raise DataError(f"no row of {rows.name} has {', '.join(names)}; give some that do.")
    numbers = np.arange(len(rows.x)) if rows.numbers is None else rows.numbers
    y = None if rows.y is None else rows.y[keep]
    return replace(rows, x=np.asarray(rows.x)[keep], y=y, num_test=0, numbers=numbers[keep], row_names=None)


def block_scores(
    fitted: Fitted, data: Any, given: str | Sequence[str], *, num_samples: int = 1000, seed: int | None = None
) -> dict[str, Float[np.ndarray, "row"]]:
    """log p of the given blocks, of all, and of the others given these. See `Fitted.block_scores`."""
    whole, x, others = _given(fitted, data, given, seed)
    stream = derive_seed(fitted.seed if seed is None else seed, _CROSS)

    def of(rows: Tensor) -> np.ndarray:
        found = log_evidence(fitted.model, rows, num_samples=num_samples, seed=stream).log_evidence
        return found.double().numpy() - fitted.log_scale_of(rows).double().numpy()

    log_given, log_all = of(x), of(whole)
    of_others = np.where(_there(whole, others).numpy(), log_all - log_given, np.nan)
    return {"log_p_given": log_given, "log_p": log_all, "log_p_others_given": of_others}


def coherence(
    fitted: Fitted, of: str, *, num_rows: int = 2000, num_draws: int = 2000, seed: int | None = None
) -> Coherence:
    """Whether generated blocks have the class of what they were generated from. See `Fitted.coherence`."""
    require_at_most("coherence", MOST_SAMPLES, num_draws=num_draws)
    likelihood = _likelihood(fitted)
    place, classes = _class_column(fitted, of)
    seed = derive_seed(fitted.seed if seed is None else seed, _COHERENCE)
    train = _labelled(fitted.events(np.asarray(_some(fitted)), seed), place)
    test = _labelled(fitted.events(np.asarray(fitted.test_rows().x)[:num_rows], seed), place)
    tell = {name: _reader(columns, place, train, classes, seed) for name, columns in likelihood.columns.items()}
    y = test[:, place].long()
    accuracy = {name: _share(told(test) == y, _there(test, likelihood.columns[name])) for name, told in tell.items()}
    with torch.no_grad(), forked(torch.device("cpu"), seed, "coherence"):
        given = {name: _cross(fitted.model, test, y, name, likelihood, tell) for name in likelihood.columns}
        agreeing = sum(_agreeing(fitted.model, tell, count) for count in _parts(num_draws))
    return Coherence(
        given=given,
        joint=agreeing / num_draws,
        accuracy=accuracy,
        chance=y.bincount().max().item() / len(y),
        num_rows=len(y),
        num_draws=num_draws,
    )


def _parts(number: int) -> list[int]:
    """The same number in parts of which the draws take little memory."""
    return [min(_MOST_AT_ONCE, number - start) for start in range(0, number, _MOST_AT_ONCE)]


def _agreeing(model: Any, tell: dict[str, Any], num_draws: int) -> int:
    """How many draws from the prior have the same class in all blocks."""
    x = shown(model.decode(model.prior(None).sample(torch.Size((num_draws,))))).values
    told = torch.stack([read(x) for read in tell.values()])
    return int((told == told[0]).all(0).sum())


def _cross(
    model: Any, x: Tensor, y: Tensor, given: str, likelihood: BlockLikelihood, tell: dict[str, Any]
) -> dict[str, float]:
    """The share of rows with `given` in which each other block, at one z ~ q(z | x_given), has the class."""
    rows = _there(x, likelihood.columns[given])
    q = model.infer(_only(x[rows], likelihood.columns[given]))
    made = shown(model.decode(q.sample())).values
    return {name: _share(read(made) == y[rows]) for name, read in tell.items() if name != given}


def _reader(
    columns: Sequence[int], place: int, train: Tensor, num_classes: int, seed: int
) -> Callable[[Tensor], Tensor]:
    """From rows (N, D) to the class that a block shows: its column, or what a classifier of the others says."""
    if place in columns:
        return lambda x: x[:, place].round().long()
    chosen = list(columns)
    rows = train[_there(train, columns)]
    x, y = rows[:, chosen].nan_to_num(), rows[:, place].long()
    mean, scale = x.mean(0), x.std(0).clamp_min(1e-6)
    with forked(torch.device("cpu"), seed, "classifier"), torch.enable_grad():
        net = MLP(len(chosen), [_HIDDEN], num_classes)
        optimizer = torch.optim.Adam(net.parameters(), lr=_LR)
        for _ in range(_STEPS):
            batch = torch.randint(len(x), (min(_BATCH, len(x)),))
            loss = nn.functional.cross_entropy(net((x[batch] - mean) / scale), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    net.requires_grad_(False)
    return lambda x: net((x[:, chosen].nan_to_num() - mean) / scale).argmax(-1)


def _given(fitted: Fitted, data: Any, given: str | Sequence[str], seed: int | None) -> tuple[Tensor, Tensor, list[int]]:
    """Rows as the likelihood scores them; the same without the other blocks; and the columns of those."""
    columns, names = _likelihood(fitted).columns, _known(fitted, given)
    rows: Rows = fitted.rows(data)
    known = {name: columns[name] for name in names}
    lacking = _lacking(rows, known)
    if len(lacking):
        row = int(lacking[0]) if rows.numbers is None else int(rows.numbers[lacking[0]])
        raise DataError(f"row {row} of {rows.name} lacks a block that is given ({', '.join(names)}); leave it out.")
    whole = fitted.events(np.asarray(rows.x), seed)
    there = sorted(i for own in known.values() for i in own)
    return whole, _only(whole, there), sorted(set(range(whole.shape[1])) - set(there))


def _known(fitted: Fitted, given: str | Sequence[str]) -> list[str]:
    """The names of the given blocks, some of those of the model and not all."""
    columns = _likelihood(fitted).columns
    names = [given] if isinstance(given, str) else list(given)
    for name in names:
        if name not in columns:
            raise ValueError(
                f"given names the block {name[:40]!r} and {fitted.called_within} has {', '.join(columns)}."
            )
    if not names or len(set(names)) == len(columns):
        raise ValueError(
            f"given names {', '.join(names) or 'no block'}; name at least one of {', '.join(columns)}, "
            "and leave one to be generated."
        )
    return names


def _lacking(rows: Rows, known: Mapping[str, Sequence[int]]) -> np.ndarray:
    """The places of the rows that lack one of these blocks."""
    return np.flatnonzero(~present_blocks(np.asarray(rows.x), known).all(1))


def _likelihood(fitted: Fitted) -> BlockLikelihood:
    likelihood = fitted.model.likelihood
    if not isinstance(likelihood, BlockLikelihood) or not isinstance(fitted.model.posterior, BlockPosterior):
        raise ValueError(f"{fitted.called} has no blocks, which the recipe multimodal fits (fit --blocks).")
    return likelihood


def _class_column(fitted: Fitted, of: str) -> tuple[int, int]:
    """The place of the column of classes, and how many classes it has."""
    columns = fitted.schema.columns or ()
    for place, column in enumerate(columns):
        if column.name == of and column.categories is not None:
            return place, len(column.categories)
    known = [column.name for column in columns if column.categories is not None and column.kind == "categorical"]
    raise ValueError(
        f"of is {of[:40]!r} and must be a column of classes; {fitted.called_within} has "
        f"{', '.join(known[:5]) or 'none'}."
    )


def _some(fitted: Fitted) -> Any:
    """Training rows, at most 20,000, evenly spaced."""
    data = fitted.dataset
    rows = np.arange(len(data.x_train)) if data.train_rows is None else data.train_rows
    return data.x_train[rows[:: -(-len(rows) // _MOST_ROWS)]]


def _labelled(x: Tensor, place: int) -> Tensor:
    return x[~x[:, place].isnan()]


def _there(x: Tensor, columns: Sequence[int]) -> Tensor:
    return ~x[:, list(columns)].isnan().all(-1)


def _only(x: Tensor, columns: Sequence[int]) -> Tensor:
    """The rows with these columns alone."""
    found = torch.full_like(x, torch.nan)
    found[:, list(columns)] = x[:, list(columns)]
    return found


def _share(right: Tensor, rows: Tensor | None = None) -> float:
    return (right if rows is None else right[rows]).double().mean().item()
