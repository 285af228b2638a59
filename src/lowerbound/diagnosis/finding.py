"""The finding about one problem: a number with its error and healthy range, and a remedy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from lowerbound.html_tables import html_table

__all__ = [
    "Bars",
    "Clouds",
    "Curves",
    "Finding",
    "Histograms",
    "Measurement",
    "Picture",
    "found",
    "row_of",
    "undefined",
]

_TWO_SIDED = 1.96  # standard errors on each side of a 95 % interval


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """A number with its error, and the range of a healthy model.

    Attributes:
        value: the number.
        standard_error: of it.
        low: the lower end of the healthy range; −∞ if no number is too small.
        high: its upper end; ∞ if no number is too large.
        unit: of all of them.
    """

    value: float
    standard_error: float
    low: float = -math.inf
    high: float = math.inf
    unit: str

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval."""
        return self.value - _TWO_SIDED * self.standard_error, self.value + _TWO_SIDED * self.standard_error

    @property
    def outside(self) -> bool:
        """Whether the whole interval lies outside of the healthy range.

        >>> Measurement(value=3.0, standard_error=1.0, high=2.0, unit="nats").outside
        False
        """
        lower, upper = self.interval
        return upper < self.low or lower > self.high


@dataclass(frozen=True, kw_only=True, eq=False)
class Histograms:
    """Numbers for each row, in one series or several."""

    series: Mapping[str, np.ndarray]
    label: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Bars:
    """One number for each name, with its standard error or 0."""

    values: Mapping[str, tuple[float, float]]
    label: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Clouds:
    """Points of the plane (N, 2), in one series or several."""

    series: Mapping[str, np.ndarray]
    label: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Curves:
    """Functions over the same points x, in one series or several, and the band in which they should lie.

    `low` and `high` are the ends of the band at each point; all arrays are (K,). `band` says what it is.
    """

    x: np.ndarray
    series: Mapping[str, np.ndarray]
    low: np.ndarray
    high: np.ndarray
    x_label: str
    label: str
    band: str


Picture: TypeAlias = Histograms | Bars | Clouds | Curves


@dataclass(frozen=True, kw_only=True, eq=False)
class Finding:
    """One problem.

    Attributes:
        name: of the problem.
        present: whether the model has it; None if the question does not apply, for the reason in the sentence.
        sentence: the finding in words.
        evidence: the number on which it rests; None where `present` is.
        remedy: a command to run; None where nothing was found.
        picture: what to draw; None where `present` is.
    """

    name: str
    present: bool | None
    sentence: str
    evidence: Measurement | None = None
    remedy: str | None = None
    picture: Picture | None = field(default=None, repr=False)

    def _repr_html_(self) -> str:
        """A table of one row for notebooks."""
        return html_table("Finding", [row_of(self)])


def row_of(finding: Finding) -> tuple[str, ...]:
    """The name, whether it is present, the sentence and the remedy, as the cells of a table."""
    present = {True: "present", False: "not found", None: "does not apply"}[finding.present]
    return finding.name, present, finding.sentence, finding.remedy or ""


def found(name: str, evidence: Measurement, *, ill: str, well: str, remedy: str | None, picture: Picture) -> Finding:
    """Make a finding, with the sentence and remedy that follow from its evidence.

    Arguments:
        name: of the problem.
        evidence: the number.
        ill: the sentence if the problem is present.
        well: the sentence if it is not present.
        remedy: what to run if it is present.
        picture: what to draw.
    """
    if not math.isfinite(evidence.value) or math.isnan(evidence.standard_error):
        return undefined(name, f"The evidence is {evidence.value} ± {evidence.standard_error}, which cannot be judged.")
    present = evidence.outside
    return Finding(
        name=name,
        present=present,
        sentence=ill if present else well,
        evidence=evidence,
        remedy=remedy if present else None,
        picture=picture,
    )


def undefined(name: str, reason: str) -> Finding:
    """Make the finding that the question does not apply to this model."""
    return Finding(name=name, present=None, sentence=reason)
