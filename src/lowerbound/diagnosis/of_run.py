"""From a run folder to a `Case`: its best weights, training and test rows, and its loss as it was at the end.

The rows that training held out for the choice of weights are neither kind and are left out.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lowerbound.diagnosis.case import Case
from lowerbound.diagnosis.refit import Refit
from lowerbound.fitting import Problem
from lowerbound.losses import Loss
from lowerbound.protocols import FollowsSteps
from lowerbound.randomness import derive_seed
from lowerbound.recipes import recipe_named
from lowerbound.runs import Run

__all__ = ["case_of"]

_MOST_TRAINING_ROWS = 2000


def case_of(
    run: Run, *, x_against: Tensor | None = None, against: str = "other data", num_rows: int = 500, seed: int = 0
) -> Case:
    """What there is to examine of a finished run.

    Arguments:
        run: the run.
        x_against: rows of other data, as the likelihood scores them (`run.transformed`); at most num_rows are used.
        against: their name.
        num_rows: held-out rows, at most; four times as many training rows are at hand.
        seed: of the choice of rows and of all draws.

    Raises:
        RunError: training has not come to its end.
        DataError: its data are gone or have changed.
        ValueError: fewer than two rows.
    """
    if num_rows < 2:
        raise ValueError(f"case_of got num_rows={num_rows} and needs at least 2.")
    if recipe_named(run.settings.recipe).labels != "unused":
        raise ValueError(
            f"{run.path} was told labels, and diagnosis knows models of the data alone; use `lowerbound evaluate`."
        )
    model, dataset, device = run.load_model(), run.dataset(), _device(run)
    problem = run.prepare(dataset, run.settings.engine())
    chosen = _some(len(dataset.x_test), num_rows, seed)
    problem.loss.model.load_state_dict(model.state_dict())
    loss = _as_at_the_end(run, problem.loss).to(device)
    return Case(
        model=model.to(device),
        x_train=_training_rows(run, problem, min(4 * num_rows, _MOST_TRAINING_ROWS), seed).to(device),
        x_held_out=run.transformed(dataset.x_test[chosen], seed).to(device),
        loss=loss,
        batch_size=run.settings.batch_size,
        x_against=None if x_against is None else x_against[_some(len(x_against), num_rows, seed)].to(device),
        against=against,
        refit=Refit.of(run),
        seed=seed,
    )


def _training_rows(run: Run, problem: Problem, num_rows: int, seed: int) -> Tensor:
    """Some of the rows that the weights were trained on."""
    rows = torch.from_numpy(_some(len(problem.source), num_rows, seed))
    return run.transformed(problem.source.gather(rows)[0].cpu(), seed)


def _as_at_the_end(run: Run, loss: Loss) -> Loss:
    """The last values of what the loss learned or annealed beside the model."""
    if run.checkpoint.exists():
        tensors = run.checkpoint.load()[0].get("loss", {})
        loss.load_state_dict({key: t for key, t in tensors.items() if not key.startswith("model.")}, strict=False)
    records = run.metrics()
    for part in loss.modules() if records else ():
        if isinstance(part, FollowsSteps):
            part.at_step(int(records[-1]["step"]))
    return loss.train()


def _some(count: int, wanted: int, seed: int) -> np.ndarray:
    """Which rows, drawn without replacement, in their order."""
    return np.sort(np.random.default_rng(derive_seed(seed)).permutation(count)[:wanted])


def _device(run: Run) -> torch.device:
    """A CUDA device where there is one, unless the run asked for the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() and run.settings.device != "cpu" else "cpu")
