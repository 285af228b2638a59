"""A grid of fits: its settings, their folders, and which is best on the rows that chose the weights.

    (name_1 = v_1, …, name_n = v_n),   v_i ∈ V_i,   the last name varying fastest

Runs are compared by L_K on validation rows: the part of the training rows that each fit held out to choose its weights
(the same rows for the same seed). Test rows choose nothing.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lowerbound.data import Rows
from lowerbound.fitted import Fitted
from lowerbound.fitting.preparing import parts_of

__all__ = ["Validated", "folder_name", "grid", "validated", "validation_rows"]

_LONGEST = 100
MOST_RUNS = 1000


@dataclass(frozen=True, kw_only=True)
class Validated:
    """A run on its validation rows.

    Attributes:
        mean: of L_K, nats per row in the units of the data.
        standard_error: of that, for other rows.
        num_rows: how many.
    """

    mean: float
    standard_error: float
    num_rows: int


def grid(over: Mapping[str, Sequence[str]]) -> list[dict[str, str]]:
    """All settings, as words.

    Raises:
        ValueError: no name, no value, a value twice, or more than a thousand.

    >>> grid({"lr": ["0.1", "0.2"], "latent-dim": ["2"]})
    [{'lr': '0.1', 'latent-dim': '2'}, {'lr': '0.2', 'latent-dim': '2'}]
    """
    for name, values in over.items():
        if not values or not all(values) or len(set(values)) < len(values):
            raise ValueError(f"{name} has the values {', '.join(values)[:60]!r}; give different ones, as lr=0.1,0.2.")
    count = int(np.prod([len(values) for values in over.values()]))
    if not over or count > MOST_RUNS:
        raise ValueError(f"The grid has {count if over else 0:,} runs; expected 1 to {MOST_RUNS:,}.")
    return [dict(zip(over, values, strict=True)) for values in itertools.product(*over.values())]


def folder_name(settings: Mapping[str, str]) -> str:
    """The name of the folder of a run, which other settings do not have.

    >>> folder_name({"lr": "0.1", "latent-dim": "2"})
    'lr=0.1_latent-dim=2'
    """
    words = "_".join(f"{name}={value}" for name, value in settings.items())
    plain = re.sub(r"[^A-Za-z0-9=.,_-]", "-", words)[:_LONGEST]
    return plain if plain == words else f"{plain}-{hashlib.sha256(words.encode()).hexdigest()[:8]}"


def validation_rows(fitted: Fitted) -> Rows | None:
    """The rows that chose the weights of a fit; None where there were none.

    Raises:
        ValueError: it has no plan.
    """
    if fitted.plan is None or fitted.recipe is None:
        raise ValueError(f"{fitted.called} was built by hand and has no validation rows.")
    data = fitted.dataset
    places = parts_of(data, fitted.plan, fitted.recipe.labels)[1]
    if not len(places):
        return None
    stored = places if data.train_rows is None else data.train_rows[places]
    covariates = data.covariates_train
    numbers = stored if data.train_numbers is None else data.train_numbers[places]
    return Rows(
        x=data.x_train[stored],
        y=None if data.y_train is None else data.y_train[places],
        num_test=0,
        name=f"the validation rows of {data.name}",
        schema=fitted.schema,
        numbers=numbers,
        covariates=None if covariates is None else covariates[places],
    )


def validated(fitted: Fitted, num_samples: int = 100, seed: int = 0) -> Validated | None:
    """L_K of a fit on its validation rows; None where there are none.

    Raises:
        ValueError: it has no plan, or rows of which log p(x) is no finite number.
    """
    rows = validation_rows(fitted)
    if rows is None:
        return None
    scores = fitted.score(rows, num_samples=num_samples, seed=seed)
    error = float(scores.std(ddof=1) / np.sqrt(len(scores))) if len(scores) > 1 else float("nan")
    return Validated(mean=float(scores.mean()), standard_error=error, num_rows=len(scores))
