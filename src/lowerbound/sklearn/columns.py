"""Columns of a table to the columns that a model is fitted to, and back.

    x = (X − mean) / scale,        log p(X) = log p(x) − Σ_d log scale_d

so that a density is in the units of X although the model was fitted to x. Everything here is float64: a column of time
stamps around 1e9 would lose its variation if it were rounded to float32 before its mean is taken off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Columns"]

_ROUNDING = 10 * np.finfo(np.float64).eps


@dataclass(frozen=True, kw_only=True, eq=False)
class Columns:
    """x = (X − mean) / scale, column by column.

    Attributes:
        mean: (D,) float64, in the units of X.
        scale: (D,) float64, positive, in the units of X.
    """

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def as_they_are(cls, num_columns: int) -> Columns:
        """Mean 0 and scale 1: x = X."""
        return cls(mean=np.zeros(num_columns), scale=np.ones(num_columns))

    @classmethod
    def measured(cls, X: np.ndarray, names: Sequence[str] | None = None) -> Columns:
        """The mean and standard deviation of each column.

        >>> Columns.measured(np.array([[1.0], [3.0]])).apply(np.array([[4.0]]))
        array([[2.]], dtype=float32)

        Arguments:
            X: (N, D) finite values.
            names: of the columns, for the message.

        Raises:
            ValueError: a column is constant, so that a density of it is unbounded.
        """
        mean, scale = X.mean(0, dtype=np.float64), X.std(0, dtype=np.float64)
        constant = np.flatnonzero(scale <= _ROUNDING * np.abs(mean))
        if len(constant):
            shown = ", ".join(str(i) if names is None else repr(names[i]) for i in constant[:5])
            raise ValueError(
                f"X has {len(constant)} constant column(s) ({shown}), which have no scale to standardise by; "
                "leave them out, or pass standardize=False."
            )
        return cls(mean=mean, scale=scale)

    @property
    def log_scale(self) -> float:
        """Σ_d log scale_d in nats: log p(x) − log p(X)."""
        return float(np.log(self.scale).sum())

    def apply(self, X: np.ndarray) -> np.ndarray:
        """From X (N, D) to x (N, D), float32."""
        return ((X - self.mean) / self.scale).astype(np.float32)

    def undo(self, x: np.ndarray) -> np.ndarray:
        """From x (N, D) to X (N, D), float64."""
        return x.astype(np.float64) * self.scale + self.mean
