"""Predictive checks in words and pictures, for the report and for `lowerbound check`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor

from lowerbound import plots
from lowerbound.evaluate import PredictiveChecks, ecdf_band, least_uniform
from lowerbound.evaluate.rank_bands import above_uniform
from lowerbound.report import words
from lowerbound.report.contents import Illustration

__all__ = ["checks_in_words", "predictive_illustrations", "ranks_in_words"]

MOST_STATISTICS, _MOST_CURVES, _LEVEL = 16, 6, 0.05


def predictive_illustrations(
    found: PredictiveChecks, names: Sequence[str] | None, *, of_numbers: bool = True
) -> Iterator[Illustration]:
    """The statistics; the ranks of each column; and its ranks given the other columns.

    Arguments:
        found: the checks.
        names: of the columns of a table; None for other data, whose ranks are said in words only.
        of_numbers: whether the data are numbers, which have intervals, or numbers of symbols.
    """
    if found.checks:
        yield _statistics(found, checks_in_words(found, of_numbers=of_numbers))
    if names is not None:
        yield from _ranks("Ranks of test rows", found.ranks, names, words.RANKS)
    if names is not None and found.conditional_ranks is not None:
        yield from _ranks("Ranks given the other columns", found.conditional_ranks, names, words.CONDITIONAL_RANKS)


def checks_in_words(found: PredictiveChecks, *, of_numbers: bool = True) -> str:
    """How many statistics lie outside; of numbers also the coverage of intervals and the dispersion."""
    outside = f"{found.outside} of {len(found.checks)} statistics have p ≤ 0.05, where one in twenty does by chance."
    if not of_numbers:
        return outside
    coverage = found.coverage()
    parts = [
        f"{level:.0%}: {value:.1%} ± {error:.1%}"
        for level, value, error in zip(
            coverage.levels.tolist(), coverage.values.tolist(), coverage.standard_error.tolist(), strict=True
        )
    ]
    return (
        f"{outside} Intervals of the model and how often they hold numbers of test rows: {'; '.join(parts)}. "
        f"Dispersion of the ranks, 1 if it is right: {float(found.dispersion.nanmean()):.2f}."
    )


def ranks_in_words(ranks: Tensor, names: Sequence[str]) -> str:
    """Which columns have ranks that are not uniform, and what is wrong there."""
    worst = least_uniform(ranks, _MOST_CURVES)
    if not worst:
        return "Too few ranks to say."
    bad = [f"{names[one.column]} ({one.words}, p = {one.p_value:.2g})" for one in worst if one.p_value <= _LEVEL]
    tested = f"p is adjusted for {worst[0].num_tested} columns."
    if not bad:
        first = worst[0]
        return f"No column is off; the farthest is {names[first.column]} (p = {first.p_value:.2g}). {tested}"
    more = " among others" if len(bad) == _MOST_CURVES < worst[0].num_tested else ""
    return f"The model is off in {', '.join(bad)}{more}. {tested}"


def _statistics(found: PredictiveChecks, in_words: str) -> Illustration:
    shown = {
        name: (check.observed, *check.interval, check.distance) for name, check in found.farthest[:MOST_STATISTICS]
    }
    written = {
        name: f"{check.in_words(check.observed, 3)} ({' to '.join(check.in_words(end, 3) for end in check.interval)})"
        for name, check in found.farthest[:MOST_STATISTICS]
    }
    return Illustration(
        heading="Predictive checks",
        figure=plots.predictive_statistics(shown, written),
        alt=f"Dot plot of {len(shown)} statistics of test rows among those that the model makes: {found.outside} of "
        f"{len(found.checks)} have p ≤ 0.05.",
        reading=f"{words.PREDICTIVE} {in_words}",
    )


def _ranks(heading: str, ranks: Tensor, names: Sequence[str], reading: str) -> Iterator[Illustration]:
    """F(t) − t of the columns that are farthest from uniform, with the band of as few ranks as any of them has."""
    worst = least_uniform(ranks, _MOST_CURVES)
    if not worst:
        return
    band = ecdf_band(min(len(one.ranks) for one in worst), num_curves=worst[0].num_tested)
    series = {
        f"{names[one.column]} (p = {one.p_value:.2g})": above_uniform(one.ranks.numpy(), band.points) for one in worst
    }
    yield Illustration(
        heading=heading,
        figure=plots.diagnosis_curves(
            band.points,
            series,
            (band.lower - band.points, band.upper - band.points),
            x_label="rank t of the value in the data among draws of the model",
            label="share of ranks below t, minus t",
            band_label="95 % of all curves of a right model",
        ),
        alt=f"Curves of the ranks of {len(series)} columns. {ranks_in_words(ranks, names)}",
        reading=f"{reading} {ranks_in_words(ranks, names)}",
    )
