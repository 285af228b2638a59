"""What a model is given when it draws rows: the covariates that are asked for, and drawn ones for the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from lowerbound.data.covariates import drawn_covariates
from lowerbound.fitted import Fitted
from lowerbound.randomness import derive_seed

__all__ = ["drawn_context"]

_COVARIATES = 5  # a stream of random numbers


def drawn_context(fitted: Fitted, count: int, given: Mapping[str, Any] | None, seed: int | None) -> Tensor | None:
    """The context of `count` draws; None of a model that is given no covariates.

    Arguments:
        fitted: the model.
        count: how many.
        given: values by name; other categories are drawn by their shares, and numbers are at their mean.
        seed: of the draws; that of the fit if None.

    Raises:
        DataError: a name or a value that the fit does not know.
    """
    if not fitted.schema.covariates:
        return None
    drawn = derive_seed(fitted.seed if seed is None else seed, _COVARIATES)
    numbers = drawn_covariates(fitted.schema.covariates, count, given or {}, drawn)
    return fitted.context(None, covariates=numbers)
