"""A record of each step of one logging interval, kept on the device and read once at its end.

Every step writes one row: the terms of the loss and the norm of the gradient of every parameter. Reading the rows is
the only synchronisation with the device. If a row is not finite, the first such row shows which term became NaN or
infinite, and at which step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from lowerbound.criterion import criterion_of

__all__ = ["History", "NonFiniteError"]


class NonFiniteError(ArithmeticError):
    """A term of the loss or a gradient became NaN or infinite.

    Attributes:
        step: the first bad step.
        term: the name of the first bad term.
        value: its value.
        rows: numbers of the data rows of that step, if rows have numbers.
        bad_rows: those of them that contain NaN or infinite numbers.
        kept: steps after which every number was finite: the loss has again the best weights up to there. 0 if there was
            no record before.
    """

    def __init__(
        self,
        step: int,
        term: str,
        value: float,
        *,
        rows: Sequence[int] | None = None,
        bad_rows: Sequence[int] = (),
        kept: int = 0,
    ):
        self.step, self.term, self.value = step, term, value
        self.rows, self.bad_rows, self.kept = rows, bad_rows, kept
        weights = f"the best weights of the first {kept} steps are kept" if kept else "no step before it was recorded"
        advice = "Lower the learning rate, clip gradients, or check the range of the data."
        if rows is None:  # batches that cannot be looked at again
            advice = "Check that no batch holds NaN or infinity; else lower the learning rate, or clip gradients."
        super().__init__(f"{self.what}; {weights}. {advice}")

    def numbered(self, numbers: np.ndarray | None) -> NonFiniteError:
        """The same error, where the rows of training have these numbers in the user's data."""
        if numbers is None:
            return self
        rows = None if self.rows is None else [int(numbers[row]) for row in self.rows]
        bad = [int(numbers[row]) for row in self.bad_rows]
        return NonFiniteError(self.step, self.term, self.value, rows=rows, bad_rows=bad, kept=self.kept)

    @property
    def what(self) -> str:
        """The term, the step and the rows, without advice."""
        return f"At step {self.step} the {self.term} became {self.value}{_where(self.rows, self.bad_rows)}"


class History:
    """Rows of one logging interval.

    Arguments:
        terms: names of the terms of the loss.
        parameters: names of the parameters whose gradient norms follow.
        length: steps in an interval.
        device: where the rows live.
    """

    def __init__(self, terms: list[str], parameters: list[str], length: int, device: torch.device):
        self.terms, self.parameters = terms, parameters
        self.rows = torch.zeros(length, len(terms) + len(parameters), device=device)
        self.first_step, self.filled = 0, 0

    def begin(self, step: int) -> None:
        """Start an interval at a step."""
        self.first_step, self.filled = step, 0

    def write(self, row: Tensor) -> None:
        """Record one step; nothing waits for the device."""
        self.rows[self.filled].copy_(row, non_blocking=True)
        self.filled += 1

    def read(
        self, mean: Callable[[Tensor], Tensor], *, gradients_may_overflow: bool = False
    ) -> tuple[dict[str, float], float]:
        """The mean over the interval of each term, and of the norm of the whole gradient.

        Arguments:
            mean: averages a tensor over the processes, so that all of them see a bad row of each.
            gradients_may_overflow: a gradient scaler skips such steps, so only the terms must be finite.

        Raises:
            NonFiniteError: naming the first bad term.
        """
        rows = mean(self.rows[: self.filled]).cpu().double()
        terms, norms = rows[:, : len(self.terms)], rows[:, len(self.terms) :].norm(dim=1)
        self._require_finite(terms if gradients_may_overflow else rows)
        finite = norms[norms.isfinite()]
        norm = finite.mean().item() if len(finite) else float("nan")
        return dict(zip(self.terms, terms.mean(0).tolist(), strict=True)), norm

    def _require_finite(self, rows: Tensor) -> None:
        bad = ~rows.isfinite()
        if not bad.any():
            return
        index = int(bad.any(1).nonzero()[0])
        column = self._blame(bad[index])
        raise NonFiniteError(self.first_step + index, self._name(column), rows[index, column].item())

    def _blame(self, bad: Tensor) -> int:
        """The most informative bad column: a term before the bound that contains it, and a term before a gradient."""
        columns = [int(i) for i in bad.nonzero()]
        whole = _describe(criterion_of(dict.fromkeys(self.terms)))
        return min(columns, key=lambda i: (self._name(i) == whole, i))

    def _name(self, column: int) -> str:
        if column < len(self.terms):
            return _describe(self.terms[column])
        return f"gradient of {self.parameters[column - len(self.terms)]}"


def _describe(term: str) -> str:
    formula = {"likelihood": "log p(x | z)", "prior": "log p(z)", "posterior": "log q(z | x)"}.get(term)
    return f"{term} term, {formula}," if formula else f"{term} term"


def _where(rows: Sequence[int] | None, bad_rows: Sequence[int]) -> str:
    """The rows of the data at that step."""
    if bad_rows:
        return f" (rows {_first_few(bad_rows)} of the data hold NaN or infinity)"
    return "" if rows is None else f" (in a batch of rows {_first_few(rows)} of the data)"


def _first_few(rows: Sequence[int]) -> str:
    return ", ".join(map(str, rows[:5])) + (", …" if len(rows) > 5 else "")
