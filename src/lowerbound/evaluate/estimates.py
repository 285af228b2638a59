"""Numbers with their errors: one for each datum, and one for a whole data set.

The mean of N values a_n, each with an error e_n, has two errors. As a mean for new data its error is sd(a) / √N, which
includes the e_n. As a mean for these data, with other samples, its error is √(Σ e_n²) / N.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

__all__ = ["Estimates", "Score"]


@dataclass(frozen=True, kw_only=True)
class Estimates:
    """An estimate for each datum.

    Attributes:
        values: the estimates.
        standard_error: of each, from its samples; NaN for a single sample.
    """

    values: Float[Tensor, "batch"]
    standard_error: Float[Tensor, "batch"]

    @property
    def mean(self) -> float:
        """The mean over the data."""
        return self.values.double().mean().item()

    @property
    def standard_error_of_mean(self) -> float:
        """The error of `mean` as an estimate for new data, from the spread over the data; NaN for one datum."""
        size = self.values.shape[0]
        return self.values.double().std().item() / math.sqrt(size) if size > 1 else math.nan

    @property
    def sampling_error_of_mean(self) -> float:
        """The error of `mean` for these data, from the samples alone."""
        return self.standard_error.double().square().sum().sqrt().item() / self.values.shape[0]

    def __neg__(self) -> Estimates:
        """−a, with the same error."""
        return Estimates(values=-self.values, standard_error=self.standard_error)

    def __sub__(self, other: Estimates) -> Estimates:
        """The difference of two estimates from independent samples."""
        error = (self.standard_error.square() + other.standard_error.square()).sqrt()
        return Estimates(values=self.values - other.values, standard_error=error)


@dataclass(frozen=True, kw_only=True)
class Score:
    """One number about a data set, and its standard error."""

    value: float
    standard_error: float
