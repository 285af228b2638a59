"""From a fitted model to a `Case`: its training and test rows, and its loss at the end of training.

Rows that training held out to choose the weights belong to neither and are left out.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lowerbound.checkpoint import Checkpoint
from lowerbound.diagnosis.case import Case
from lowerbound.diagnosis.refit import Refit
from lowerbound.fitted import Fitted
from lowerbound.fitting import Training, prepare
from lowerbound.losses import Loss
from lowerbound.protocols import FollowsSteps
from lowerbound.randomness import derive_seed
from lowerbound.recipes import recipe_named
from lowerbound.scoring import device_for

__all__ = ["as_at_the_end", "case_of"]

_MOST_TRAINING_ROWS = 2000


def case_of(
    fitted: Fitted, *, x_against: Tensor | None = None, against: str = "other data", num_rows: int = 500, seed: int = 0
) -> Case:
    """Make the case of a fitted model.

    Arguments:
        fitted: the model; one that was built by hand has no loss, and its gradient is not examined.
        x_against: rows of other data, as the likelihood scores them (`Fitted.events`); at most num_rows are used.
        against: their name.
        num_rows: test rows, at most; there are up to four times as many training rows.
        seed: of the choice of rows and of all draws.

    Raises:
        DataError: its data are gone or have changed.
        ValueError: fewer than two rows, or a model that was fitted with labels or covariates.
    """
    if num_rows < 2:
        raise ValueError(f"case_of got num_rows={num_rows} and needs at least 2.")
    plan, dataset, device = fitted.plan, fitted.dataset, device_for(fitted)
    if plan is not None and (labels := recipe_named(plan.recipe).labels) != "unused":
        what = "covariates" if labels == "covariates" else "labels"
        raise ValueError(
            f"{fitted.called} was fitted with {what}, and diagnosis is for models of the data alone; use "
            "`lowerbound evaluate`."
        )
    held_out = fitted.test_rows().x
    training = None if plan is None else prepare(dataset, plan, plan.engine())
    chosen = _some(len(held_out), num_rows, seed)
    return Case(
        model=fitted.model.to(device),
        x_train=_training_rows(fitted, training, min(4 * num_rows, _MOST_TRAINING_ROWS), seed).to(device),
        x_held_out=fitted.events(held_out[chosen], seed).to(device),
        loss=None if training is None else as_at_the_end(fitted, training.loss).to(device),
        batch_size=128 if plan is None else plan.batch_size,
        x_against=None if x_against is None else x_against[_some(len(x_against), num_rows, seed)].to(device),
        against=against,
        refit=Refit.of(fitted),
        seed=seed,
    )


def _training_rows(fitted: Fitted, training: Training | None, num_rows: int, seed: int) -> Tensor:
    """Some of the rows that the weights were trained on."""
    if training is None:
        rows = fitted.dataset.x_train
        return fitted.events(rows[_some(len(rows), num_rows, seed)], seed)
    chosen = torch.from_numpy(_some(len(training.source), num_rows, seed))
    return fitted.events(training.source.gather(chosen)[0].cpu().numpy(), seed)


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
