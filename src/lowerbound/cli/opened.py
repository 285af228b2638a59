"""The fitted model of a run, as commands ask for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lowerbound.cli.text import printable, say

if TYPE_CHECKING:
    from lowerbound.fitted import Fitted
    from lowerbound.runs import Run

__all__ = ["fitted_of"]


def fitted_of(run: Run, data: str | None = None) -> Fitted:
    """The fitted model; on stderr it is said which weights it has, where training failed.

    Arguments:
        run: its folder.
        data: the name or file of the data of the fit, where the folder does not say it.

    Raises:
        ValueError: there are no weights, or other data than those of the fit are given.
    """
    from lowerbound.runs.folders import with_data

    fitted = run.fitted()
    if data is not None:
        fitted = with_data(fitted, data)
    if fitted.weights is not None:
        say(printable(f"Weights: {fitted.weights}", 299), err=True)
    return fitted
