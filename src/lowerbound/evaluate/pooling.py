"""One estimate from those of several completed tables (Rubin 1987, "Multiple Imputation for Nonresponse in Surveys").

Q̄ = mean Q_m,      W = mean U_m,      B = Σ (Q_m − Q̄)² / (M − 1),      T = W + (1 + 1/M) B
ν = (M − 1) (1 + W / ((1 + 1/M) B))²
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from lowerbound.cited import cited

__all__ = ["Pooled", "pool"]


@dataclass(frozen=True, kw_only=True)
class Pooled:
    """An estimate and its uncertainty, which missing entries widen.

    Attributes:
        estimate: Q̄.
        within: W, the mean variance of an estimate from one completed table.
        between: B, the variance of the estimates among the tables.
        total: T, the variance of Q̄.
        degrees_of_freedom: ν of the t distribution of (Q − Q̄)/√T; infinite if the estimates agree.
    """

    estimate: float
    within: float
    between: float
    total: float
    degrees_of_freedom: float

    @property
    def standard_error(self) -> float:
        """√T."""
        return math.sqrt(self.total)

    @property
    def fraction_missing(self) -> float:
        """(1 + 1/M) B / T: the share of the variance that is due to the gaps."""
        return 1 - self.within / self.total if self.total > 0 else 0.0


@cited("rubin1987multiple")
def pool(estimates: ArrayLike, variances: ArrayLike) -> Pooled:
    """Put the estimates of M completed tables together.

    Arguments:
        estimates: Q_m, of each table (M,).
        variances: U_m, the squared standard error of each (M,).

    Raises:
        ValueError: fewer than two tables, another number of variances, or a negative variance.

    >>> pool([1.0, 2.0, 3.0], [0.5, 0.5, 0.5]).total.__round__(4)
    1.8333
    """
    q, u = np.asarray(estimates, dtype=np.float64), np.asarray(variances, dtype=np.float64)
    if q.ndim != 1 or q.shape != u.shape or len(q) < 2 or not (np.isfinite(q).all() and (u >= 0).all()):
        raise ValueError(
            f"pool got estimates of shape {q.shape} and variances of shape {u.shape}; give one finite estimate and "
            "one variance of at least two tables."
        )
    within, between = float(u.mean()), float(q.var(ddof=1))
    added = (1 + 1 / len(q)) * between
    freedom = (len(q) - 1) * (1 + within / added) ** 2 if added > 0 else math.inf
    return Pooled(
        estimate=float(q.mean()),
        within=within,
        between=between,
        total=within + added,
        degrees_of_freedom=freedom,
    )
