"""The fitted model of a run, as commands ask for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lowerbound.cli.text import printable, say

if TYPE_CHECKING:
    from lowerbound.fitted import Fitted
    from lowerbound.runs import Run

__all__ = ["fitted_of"]


def fitted_of(run: Run) -> Fitted:
    """The fitted model; on stderr it is said which weights it has, where training failed.

    Raises:
        ValueError: there are no weights.
    """
    fitted = run.fitted()
    if fitted.weights is not None:
        say(printable(f"Weights: {fitted.weights}", 299), err=True)
    return fitted
