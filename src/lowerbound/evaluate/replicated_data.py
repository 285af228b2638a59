"""Do data that the model makes look like the data? Predictive checks (Box 1980; Gelman, Meng & Stern 1996).

    x_rep ~ p(x), as many rows as there are test rows, again and again          T(x_rep) against T(x)

for statistics T with names (`predictive_statistics`). A p-value is the two-sided share of replicated data sets whose T
is as far out as that of the data. Nothing was fitted to test rows, so that p-values of a right model are uniform.
Of m statistics about m / 20 lie outside of their 95 % interval by chance.

And row by row: the rank u of each number of a test row among what the model makes in its place is uniform where the
model is right (`ranks`). Hence

    coverage(c) = P(|u − ½| ≤ c / 2)          the central interval of p(x_d) with probability c holds x_d
    dispersion  = 12 E (u − ½)²               above 1: the data spread more than the model says

These are of p(x), or p(x | c) with a context, not of reconstructions, which have seen the row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from lowerbound.cited import cited
from lowerbound.data.dates import date_in_words
from lowerbound.evaluate.batches import check_rows
from lowerbound.evaluate.predictive_statistics import Statistics
from lowerbound.evaluate.ranks import Coverage
from lowerbound.limits import MOST_REPLICATES, require_at_most
from lowerbound.model import LatentVariableModel
from lowerbound.protocols import Context
from lowerbound.randomness import forked

__all__ = ["INTERVALS", "Check", "PredictiveChecks", "predictive_checks"]

INTERVALS = (0.5, 0.8, 0.95)
_FEWEST = 20


@dataclass(frozen=True, kw_only=True)
class Check:
    """One statistic of the test rows among those of replicated data sets.

    Attributes:
        observed: T(x), in the units of the data.
        replicated: T(x_rep) of each replicated data set.
        format: of `strftime` where T is a date, in seconds since 1970; None for other numbers.
    """

    observed: float
    replicated: Float64[Tensor, "replicate"]
    format: str | None = None

    def in_words(self, value: float, digits: int = 4) -> str:
        """A value of T as it is read: a number of so many digits, or a date."""
        if self.format is None:
            return f"{value:.{digits}g}"
        return date_in_words(value, self.format) or f"{value:.{digits}g} s since 1970"

    @property
    def p_value(self) -> float:
        """Two-sided, between 2 / (R + 1) and 1."""
        below = int((self.replicated <= self.observed).sum())
        above = int((self.replicated >= self.observed).sum())
        return min(1.0, 2 * (1 + min(below, above)) / (1 + len(self.replicated)))

    @property
    def interval(self) -> tuple[float, float]:
        """Of 95 % of replicated data sets."""
        low, high = self.replicated.quantile(torch.tensor([0.025, 0.975]).to(self.replicated)).tolist()
        return low, high

    @property
    def distance(self) -> float:
        """(T(x) − mean) / sd of replicated data sets; 0 where all are alike, ∞ where only the data are not."""
        apart, spread = self.observed - float(self.replicated.mean()), float(self.replicated.std())
        return 0.0 if apart == 0 else apart / spread if spread > 0 else math.copysign(math.inf, apart)


@dataclass(frozen=True, kw_only=True)
class PredictiveChecks:
    """What the model makes against test rows.

    Attributes:
        checks: by the name of the statistic; those that are the same number in all data sets are left out.
        ranks: u of each number of a test row; NaN where it is missing.
        num_replicates: R, replicated data sets.
        conditional_ranks: u of each number given the others of its row (`conditional_ranks`), of the first rows and
            columns; None where they were not asked for.
    """

    checks: Mapping[str, Check]
    ranks: Float64[Tensor, "batch *event"]
    num_replicates: int
    conditional_ranks: Float64[Tensor, "row column"] | None = None

    @property
    def farthest(self) -> list[tuple[str, Check]]:
        """The checks, those first that are the most standard deviations of replicated data sets away."""
        return sorted(self.checks.items(), key=lambda item: -abs(item[1].distance))

    @property
    def outside(self) -> int:
        """How many statistics have p ≤ 0.05; one in twenty does by chance."""
        return sum(check.p_value <= 0.05 for check in self.checks.values())

    def coverage(self, levels: tuple[float, ...] = INTERVALS) -> Coverage:
        """How often central intervals of p(x_d) hold x_d, over all numbers; errors are from the spread over rows."""
        return self._coverage(self.ranks.flatten(1), levels)

    def coverage_of(self, column: int, levels: tuple[float, ...] = INTERVALS) -> Coverage:
        """The same of one column of a table."""
        return self._coverage(self.ranks[:, column : column + 1], levels)

    @property
    def dispersion(self) -> Float64[Tensor, "*event"]:
        """12 E (u − ½)² of each number of a row over the rows: 1 if the model is right."""
        return 12 * (self.ranks - 0.5).square().nanmean(0)

    def _coverage(self, ranks: Tensor, levels: tuple[float, ...]) -> Coverage:
        at, known = torch.tensor(levels, dtype=torch.float64, device=ranks.device), ~ranks.isnan()
        ranks, known = ranks[known.any(1)], known[known.any(1)]
        inside = (((ranks - 0.5).abs()[..., None] <= at / 2) & known[..., None]).double().sum(1)
        inside = inside / known.sum(1)[:, None]
        return Coverage(levels=at, values=inside.mean(0), standard_error=inside.std(0) / math.sqrt(len(inside)))


@cited("box1980sampling", "gelman1996posterior")
@torch.no_grad()
def predictive_checks(
    model: LatentVariableModel,
    x: Float[Tensor, "batch *event"],
    statistics: Statistics,
    *,
    units: Callable[[Tensor], Tensor] | None = None,
    num_replicates: int = 200,
    context: Context | None = None,
    seed: int = 0,
    max_elements: int = 2**22,
) -> PredictiveChecks:
    """Compare test rows with as many rows that the model makes, num_replicates times.

    Arguments:
        model: p(x), in eval mode.
        x: test rows in the form the model was trained on; NaN where an entry is missing, which it then is in the
            replicated rows too.
        statistics: from data sets (set, row, *event) to numbers (set,), by name.
        units: from that form to the units of the data, of which the statistics are; None takes it as it is.
        num_replicates: R.
        context: of the model, one row for each datum.
        seed: of all draws; the caller's random state is untouched.
        max_elements: numbers in one slice of replicated rows, at least one data set.

    Raises:
        ValueError: fewer than two rows or 20 replicated data sets, or a context of another length.
    """
    require_at_most("predictive_checks", MOST_REPLICATES, num_replicates=num_replicates)
    check_rows(None, x, context, num_replicates, owner="predictive_checks")  # gaps are masked, not scored
    if len(x) < 2 or num_replicates < _FEWEST:
        raise ValueError(
            f"predictive_checks got {len(x)} rows and num_replicates={num_replicates}; it needs 2 and {_FEWEST}."
        )
    in_units = units or (lambda values: values)
    missing, size = x.isnan(), max(1, max_elements // x.numel())
    less, equal = torch.zeros_like(x, dtype=torch.float64), torch.zeros_like(x, dtype=torch.float64)
    parts: dict[str, list[Tensor]] = {}
    with forked(x.device, seed, "predictive_checks"):
        for first in range(0, num_replicates, size):
            made = _replicated(model, x, context, min(size, num_replicates - first)).masked_fill(missing, math.nan)
            less, equal = less + (made < x).sum(0), equal + (made == x).sum(0)
            for name, value in statistics(in_units(made).double()).items():
                parts.setdefault(name, []).append(value)
        ranks = (less + torch.rand_like(less) * (1 + equal)) / (1 + num_replicates)
    observed = statistics(in_units(x).double()[None])
    checks = {
        name: Check(observed=float(observed[name]), replicated=torch.cat(values)) for name, values in parts.items()
    }
    return PredictiveChecks(
        checks={name: check for name, check in checks.items() if _varies(check)},
        ranks=ranks.masked_fill(missing, math.nan),
        num_replicates=num_replicates,
    )


def _replicated(model: LatentVariableModel, x: Tensor, context: Context | None, count: int) -> Tensor:
    """Data sets (count, batch, *event) ~ p(x)."""
    if context is not None:
        return model.sample(count, context)
    return model.sample(count * len(x)).unflatten(0, (count, len(x)))


def _varies(check: Check) -> bool:
    return bool((check.replicated != check.observed).any())
