"""The direction of a label, or of the value of a column, in the latent space, and what moving along it does.

    difference   w = mean of E_q[z | x] where the attribute is there − where it is not   (Larsen et al. 2016,
                 arXiv:1512.09300, §4.2)
    classifier   a + wᵀ z is the log-odds of a logistic regression, for a class; the prediction of a ridge regression,
                 for a number

The classifier is fitted to four rows in five and read on the fifth: its accuracy beside that of the commonest class, or
its R², says whether the latents know the attribute at all. Rows move by z + k w / |w| · s, where s is the standard
deviation of the rows along w: k counts standard deviations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Float

from lowerbound.data import Rows
from lowerbound.fitted import Fitted
from lowerbound.latent_space.vectors import decoded, vectors_of
from lowerbound.randomness import derive_seed

__all__ = ["Attribute", "Direction", "attribute", "with_attribute"]

Direction: TypeAlias = Literal["difference", "classifier"]
_SPLIT = 14  # a stream of random numbers beside those of other modules
_FEWEST = 5


@dataclass(frozen=True, kw_only=True, eq=False)
class Attribute:
    """The direction of an attribute.

    Attributes:
        name: of the label or column, with the class: "species=Adelie", "weight".
        direction: a step of one standard deviation of the rows along it (latent).
        how: "difference" of means, or the weights of the "classifier".
        held_out: the accuracy of a class, or R² of a number, on rows that the classifier did not see.
        baseline: the accuracy of the commonest class there; 0 for R².
        is_class: whether the attribute is a class.
        num_train: rows that the classifier saw.
        num_held_out: rows that it is judged by.
        cosine: between the difference of means and the weights of the classifier.
    """

    name: str
    direction: Float[np.ndarray, "latent"]
    how: Direction
    held_out: float
    baseline: float
    is_class: bool
    num_train: int
    num_held_out: int
    cosine: float


def attribute(
    fitted: Fitted,
    name: str,
    value: str | None = None,
    data: Any = None,
    *,
    how: Direction = "difference",
    seed: int | None = None,
) -> Attribute:
    """The direction of a label or column. See `Fitted.attribute`."""
    if how not in ("difference", "classifier"):
        raise ValueError(f"attribute got how={how!r}; choose difference or classifier.")
    if not isinstance(name, str):
        told = type(name).__name__
        raise ValueError(
            f"attribute got name of type {told} and expected the label or a column; rows are given as data=."
        )
    rows = fitted.test_rows() if data is None else fitted.rows(data)
    target, called, is_class = _target(fitted, rows, name, value)
    known = np.flatnonzero(np.isfinite(target))
    z, y = vectors_of(fitted, rows, seed).mean.numpy().astype(np.float64)[known], target[known]
    _check_enough(called, y, is_class)
    order = np.random.default_rng(derive_seed(fitted.seed if seed is None else seed, _SPLIT)).permutation(len(y))
    test, train = order[: max(2, len(y) // 5)], order[max(2, len(y) // 5) :]
    if is_class and len(set(y[train])) < 2:
        raise ValueError(f"{called} has too few rows with and without it to be learnt; give more rows.")
    weights, held_out = _classified(z, y, train, test, is_class)
    there = y > 0 if is_class else y > np.median(y)
    difference = z[there].mean(0) - z[~there].mean(0)
    chosen = difference if how == "difference" else weights
    length = np.linalg.norm(chosen)
    if not length > 0:
        raise ValueError(f"The latents do not differ with {called}; there is no direction to move along.")
    unit = chosen / length
    share = y[test].mean()
    return Attribute(
        name=called,
        direction=unit * (z @ unit).std(),
        how=how,
        held_out=held_out,
        baseline=float(max(share, 1 - share)) if is_class else 0.0,
        is_class=is_class,
        num_train=len(train),
        num_held_out=len(test),
        cosine=float(difference @ weights / max(np.linalg.norm(difference) * np.linalg.norm(weights), 1e-300)),
    )


def with_attribute(
    fitted: Fitted, found: Attribute, data: Any, add: float, *, seed: int | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """What the model shows of rows, and of the same rows moved by `add` standard deviations: each (row, *event)."""
    if not np.isfinite(add):
        raise ValueError(f"add is {add}; expected a finite number of standard deviations.")
    latents = vectors_of(fitted, fitted.rows(data), seed)
    step = torch.from_numpy(found.direction).to(latents.mean) * add
    before = decoded(fitted, latents.mean, latents.shape, latents.context, seed)
    return before, decoded(fitted, latents.mean + step, latents.shape, latents.context, seed)


def _target(fitted: Fitted, rows: Rows, name: str, value: str | None) -> tuple[np.ndarray, str, bool]:
    """The attribute of each row as a number, NaN where it is unknown; what it is called; whether it is a class."""
    schema, columns = fitted.schema, fitted.schema.column_names or ()
    if name in columns:
        return _column(fitted, rows, columns.index(name), value)
    if name not in (schema.label, "label"):
        raise _unknown(fitted, name)
    if rows.y is None:
        raise ValueError(f"{rows.name} has no labels; give rows with them, or the name of a column.")
    y = np.asarray(rows.y)
    if schema.classes is not None:
        numbers = np.where(y < 0, np.nan, y.astype(float))
        return _class_of(numbers, name, value, schema.classes, range(len(schema.classes)))
    if np.issubdtype(y.dtype, np.integer):
        codes = sorted(set(y.tolist()))
        return _class_of(y.astype(float), name, value, tuple(map(str, codes)), codes)
    return _number(y.astype(float), name, value)


def _column(fitted: Fitted, rows: Rows, place: int, value: str | None) -> tuple[np.ndarray, str, bool]:
    column = (fitted.schema.columns or ())[place]
    stored = np.asarray(rows.x[:, [place]], dtype=float)[:, 0]
    if column.categories is not None:
        return _class_of(stored, column.name, value, column.categories, range(len(column.categories)))
    return _number(stored, column.name, value)


def _number(numbers: np.ndarray, name: str, value: str | None) -> tuple[np.ndarray, str, bool]:
    if value is not None:
        raise ValueError(f"{name} holds numbers, which have no class {value[:40]!r}; leave the value out.")
    return numbers, name, False


def _class_of(
    numbers: np.ndarray, name: str, value: str | None, classes: tuple[str, ...], codes: Sequence[Any]
) -> tuple[np.ndarray, str, bool]:
    """1 for one class, 0 for the others."""
    if value is None and len(classes) == 2:
        value = classes[1]
    if value is None or value not in classes:
        shown = ", ".join(classes[:8])
        got = "no class" if value is None else f"the class {value[:40]!r}"
        raise ValueError(f"{name} got {got}; expected one of {shown}, as in {name}={classes[0]}.")
    found = np.where(np.isnan(numbers), np.nan, (numbers == codes[classes.index(value)]).astype(float))
    return found, f"{name}={value}", True


def _unknown(fitted: Fitted, name: str) -> ValueError:
    known = [fitted.schema.label or "label", *(fitted.schema.column_names or ())]
    return ValueError(f"{fitted.called} has no label or column {name[:40]!r}; it has {', '.join(known[:8])}.")


def _check_enough(called: str, y: np.ndarray, is_class: bool) -> None:
    fewest = min(int(y.sum()), int(len(y) - y.sum())) if is_class else len(y)
    need = _FEWEST if is_class else 4 * _FEWEST
    if fewest < need:
        raise ValueError(f"{called} is known of {fewest} rows of the rarer kind and needs {need}; give more rows.")
    if not is_class and np.ptp(y) == 0:
        raise ValueError(f"{called} is {y[0]:g} in every row; there is no direction to move along.")


def _classified(
    z: np.ndarray, y: np.ndarray, train: np.ndarray, test: np.ndarray, is_class: bool
) -> tuple[np.ndarray, float]:
    """The weights on latents and what the classifier reaches on the test rows, after scaling of the latents."""
    from sklearn.linear_model import LogisticRegression, RidgeCV

    mean, scale = z[train].mean(0), np.maximum(z[train].std(0), 1e-12)
    scaled = (z - mean) / scale
    if is_class:
        model = LogisticRegression(max_iter=1000).fit(scaled[train], y[train])
        return model.coef_[0] / scale, float(model.score(scaled[test], y[test]))
    model = RidgeCV(np.logspace(-2, 4, 13)).fit(scaled[train], y[train])
    return np.asarray(model.coef_) / scale, float(model.score(scaled[test], y[test]))
