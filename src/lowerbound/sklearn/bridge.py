"""Between scikit-learn's arrays and a `Fitted`: what the estimators share.

Arrays and frames of numbers pass scikit-learn's own checks, so that its messages and attributes are the usual ones.
Frames with text, categories or dates go to the schema of the data, which numbers their columns by name.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_random_state
from sklearn.utils.validation import validate_data
from torch import Tensor

from lowerbound.data import Dataset, Overrides
from lowerbound.data.given import dataset_of
from lowerbound.engine import Device
from lowerbound.fitted import Fitted
from lowerbound.fitting import fit, prepare
from lowerbound.loop import Record
from lowerbound.models.recipe import Recipe
from lowerbound.planning import plan
from lowerbound.shown import shown

__all__ = ["back", "decode_means", "fit_dataset", "has_text", "seed_of", "to_dataset", "validated"]

_DTYPES: Any = [np.float64, np.float32]
_BLOCK = 1024


def seed_of(random_state: int | np.random.RandomState | None) -> int:
    """An int as it is; else a number drawn from the generator."""
    if isinstance(random_state, int | np.integer):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31 - 1))


def has_text(X: Any) -> bool:
    """Whether X is a frame with a column that is not of numbers."""
    dtypes = getattr(X, "dtypes", None)
    return dtypes is not None and any(getattr(dtype, "kind", "O") not in "biuf" for dtype in np.atleast_1d(dtypes))


def to_dataset(
    estimator: Any,
    X: Any,
    y: Any = None,
    *,
    event_shape: Sequence[int] | None = None,
    kind: str | None = None,
    columns: Mapping[str, str] | None = None,
) -> tuple[Dataset, Any]:
    """Rows to be fitted, all of them, and the type in which results are given back.

    Raises:
        ValueError: what scikit-learn or the schema refuses.
    """
    said = Overrides(kind=kind, columns=columns or {})
    if has_text(X):
        estimator.n_features_in_, estimator.feature_names_in_ = X.shape[1], np.asarray(X.columns, dtype=object)
        return dataset_of(X, y, overrides=said, hold_out=False), np.dtype(np.float64)
    checked: Any = validate_data(estimator, X, dtype=_DTYPES, reset=True, ensure_min_samples=2)
    names = getattr(estimator, "feature_names_in_", None)
    rows = checked if event_shape is None else _shaped(checked, tuple(event_shape))
    names = None if names is None else tuple(str(name) for name in names)
    return dataset_of(rows, y, overrides=said, names_of_columns=names, hold_out=False), checked.dtype


def validated(estimator: Any, X: Any) -> Any:
    """Other rows, as `Fitted` takes them."""
    if has_text(X) or (estimator.fitted_.schema.column_names is not None and hasattr(X, "columns")):
        return X
    checked: Any = validate_data(estimator, X, dtype=_DTYPES, reset=False)
    shape = estimator.fitted_.schema.event_shape
    return checked.reshape(len(checked), *shape) if len(shape) > 1 else checked


def fit_dataset(
    dataset: Dataset,
    given: Mapping[str, Any],
    *,
    recipe: str | Recipe = "vae",
    seed: int,
    device: Device,
    verbose: bool,
) -> tuple[Fitted, list[Record]]:
    """Plan, prepare and fit, as the command does."""
    planned = plan(dataset, recipe, seed=seed, device=device, **given)
    engine = planned.engine()
    training = prepare(dataset, planned, engine, recipe=recipe if isinstance(recipe, Recipe) else None)
    records = []
    for record in fit(training, planned, engine):
        records.append(record)
        if verbose:
            print(_line(record))
    fitted = Fitted(
        training.loss.model.cpu(),
        schema=dataset.schema,
        plan=planned,
        transform=training.transform.cpu(),
        name=planned.recipe,
        data=lambda: dataset,
        records=[dataclasses.asdict(record) for record in records],
    )
    return fitted, records


@torch.no_grad()
def decode_means(fitted: Fitted, latents: np.ndarray) -> Tensor:
    """E[x | z] at latents (N, latent), or what is shown in its place, as the likelihood scores x."""
    z = torch.from_numpy(latents).unflatten(1, fitted.model.prior(None).event_shape)
    return torch.cat([shown(fitted.model.decode(part)).values for part in z.split(_BLOCK)])


def back(fitted: Fitted, x: Tensor, dtype: Any) -> Any:
    """What the likelihood scores, in the units of the user's X: (N, n_features_in_); a frame if X had text."""
    rendered = fitted.render(x)
    if isinstance(rendered, np.ndarray):
        return rendered.reshape(len(rendered), -1).astype(dtype)
    if all(getattr(kind, "kind", "O") in "biuf" for kind in rendered.dtypes):
        return rendered.to_numpy(dtype=dtype)
    return rendered


def _shaped(X: np.ndarray, event_shape: tuple[int, ...]) -> np.ndarray:
    if math.prod(event_shape) != X.shape[1]:
        raise ValueError(
            f"event_shape is {event_shape}, which has {math.prod(event_shape)} values, and X has {X.shape[1]} columns; "
            "give one whose product is the number of columns."
        )
    return X.reshape(len(X), *event_shape)


def _line(record: Record) -> str:
    held_out = f", held out {record.held_out['bound']:.2f}" if record.held_out else ""
    return f"step {record.step}: bound {record.terms['bound']:.2f} nats{held_out}"
