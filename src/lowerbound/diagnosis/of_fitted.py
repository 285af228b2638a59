"""From a fitted model to a `Case`: its training and test rows, and its loss at the end of training.

Rows that training held out to choose the weights belong to neither and are left out.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lowerbound.data import Rows
from lowerbound.diagnosis.case import Case
from lowerbound.diagnosis.refit import Refit
from lowerbound.evaluate.batches import context_rows
from lowerbound.fitted import Fitted
from lowerbound.fitting.preparing import Training, prepare
from lowerbound.hooks import CompletesContext
from lowerbound.losses import Loss
from lowerbound.protocols import Context, FollowsSteps
from lowerbound.randomness import derive_seed
from lowerbound.training.checkpoint import Checkpoint
from lowerbound.verbs.scoring import device_for

__all__ = ["as_at_the_end", "case_of", "rows_of"]

_MOST_TRAINING_ROWS = 2000


def case_of(
    fitted: Fitted,
    *,
    x_against: Tensor | None = None,
    context_against: Context | None = None,
    against: str = "other data",
    num_rows: int = 500,
    seed: int = 0,
) -> Case:
    """Make the case of a fitted model.

    A model that is given labels or covariates is examined given those of each row. One that learns from some labels is
    examined as a model of the data, whose latents hold the label.

    Arguments:
        fitted: the model; one that was built by hand has no loss, and its gradient is not examined.
        x_against: rows of other data, as the likelihood scores them (`Fitted.events`); at most num_rows are used.
        context_against: of the model, for each of these rows (see `rows_of`).
        against: their name.
        num_rows: test rows, at most; there are up to four times as many training rows.
        seed: of the choice of rows and of all draws.

    Raises:
        DataError: its data are gone or have changed.
        ValueError: fewer than two rows.
    """
    if num_rows < 2:
        raise ValueError(f"case_of got num_rows={num_rows} and needs at least 2.")
    plan, dataset, device = fitted.plan, fitted.dataset, device_for(fitted)
    training = None if plan is None else prepare(dataset, plan, plan.engine())
    x_train, context_train, told = _training_rows(fitted, training, min(4 * num_rows, _MOST_TRAINING_ROWS), seed)
    rows = fitted.test_rows()
    x_held_out, context_held_out = rows_of(fitted, rows, _some(len(rows.x), num_rows, seed), seed)
    other = None if x_against is None else torch.from_numpy(_some(len(x_against), num_rows, seed))
    return Case(
        model=fitted.model.to(device),
        x_train=x_train.to(device),
        x_held_out=x_held_out.to(device),
        context_train=_moved(context_train, device),
        context_held_out=_moved(context_held_out, device),
        loss=None if training is None else as_at_the_end(fitted, training.loss).to(device),
        told=_moved(told, device),
        batch_size=128 if plan is None else plan.batch_size,
        x_against=None if x_against is None or other is None else x_against[other].to(device),
        context_against=None if other is None else _moved(context_rows(context_against, other), device),
        against=against,
        refit=Refit.of(fitted),
        seed=seed,
    )


def rows_of(fitted: Fitted, rows: Rows, chosen: np.ndarray | slice, seed: int) -> tuple[Tensor, Tensor | None]:
    """Some rows as the likelihood scores them, and what the model is given with them, whole (`CompletesContext`).

    Raises:
        DataError: rows without the labels or covariates that the model is given.
        ValueError: a value that the likelihood gives no probability.
    """
    y, c = (None if part is None else part[chosen] for part in (rows.y, rows.covariates))
    x = fitted.events(rows.x[chosen], seed)
    return x, _completed(fitted, x, fitted.context(y, rows.name, c))


def _training_rows(
    fitted: Fitted, training: Training | None, num_rows: int, seed: int
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Some of the rows that the weights were trained on, their context, and what the loss was told beside them."""
    data = fitted.dataset
    if training is None:
        rows = Rows(
            x=data.x_train,
            y=data.y_train,
            num_test=0,
            name=data.name,
            schema=fitted.schema,
            covariates=data.covariates_train,
        )
        return *rows_of(fitted, rows, _some(len(rows.x), num_rows, seed), seed), None
    chosen = torch.from_numpy(_some(len(training.source), num_rows, seed))
    raw, *others = (part.cpu() for part in training.source.gather(chosen))
    x, told = fitted.events(raw.numpy(), seed), others[0] if others else None
    if fitted.is_conditional or fitted.schema.covariates:
        return x, _completed(fitted, x, told), None
    return x, _completed(fitted, x, None), told


def _completed(fitted: Fitted, x: Tensor, context: Tensor | None) -> Tensor | None:
    """The context with what is computed from x."""
    model = fitted.model
    return model.completed(x, context) if isinstance(model, CompletesContext) else context


def _moved(context: Context | None, device: torch.device) -> Context | None:
    if isinstance(context, tuple):
        return tuple(part.to(device) for part in context)
    return None if context is None else context.to(device)


def as_at_the_end(fitted: Fitted, loss: Loss) -> Loss:
    """The loss with the model's weights, and with the last values of its own learned or annealed parameters."""
    loss.model.load_state_dict(fitted.model.state_dict())
    if fitted.folder is not None:
        checkpoint = Checkpoint(path=fitted.folder / "state.safetensors")
        tensors = checkpoint.load()[0].get("loss", {}) if checkpoint.exists() else {}
        loss.load_state_dict({key: t for key, t in tensors.items() if not key.startswith("model.")}, strict=False)
    for part in loss.modules() if fitted.records else ():
        if isinstance(part, FollowsSteps):
            part.at_step(int(fitted.records[-1]["step"]))
    return loss.train()


def _some(count: int, wanted: int, seed: int) -> np.ndarray:
    """The numbers of some rows, drawn without replacement, in increasing order."""
    return np.sort(np.random.default_rng(derive_seed(seed)).permutation(count)[:wanted])
