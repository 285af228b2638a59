"""Models that several scripts need: fitted once, into a run folder, and opened after that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from pinned import pinned
from torch import Tensor

from lowerbound.data import Dataset
from lowerbound.fitted import Fitted
from lowerbound.fitting.planning import Plan
from lowerbound.fitting.preparing import prepare
from lowerbound.runs import Run, load_dataset

__all__ = ["carried_out", "fitted", "rows_of_test", "rows_of_training"]


def fitted(path: Path, data: str | Path, settings: dict[str, Any]) -> Fitted:
    """The fitted model of a folder: begun, resumed, or as it is.

    Arguments:
        path: the folder.
        data: the name of a data set, or a file of rows.
        settings: what `pinned` takes beside the data.

    Raises:
        ValueError: the folder holds a run of other settings or other data.
    """
    wanted = {"path": str(data)} if isinstance(data, Path) else {"name": data}
    dataset = load_dataset(wanted)
    return carried_out(path, wanted, dataset, pinned(dataset, **settings))


def carried_out(path: Path, wanted: dict[str, Any], dataset: Dataset, planned: Plan) -> Fitted:
    """The fitted model of a folder and a plan: begun, resumed, or as it is.

    Arguments:
        path: the folder.
        wanted: how to get the data (see `runs.load_dataset`).
        dataset: the data.
        planned: how to fit them.

    Raises:
        ValueError: the folder holds a run of other settings or other data.
    """
    if (path / "run.json").exists():
        run = Run.open(path)
        if what_decides(run.plan) != what_decides(planned) or not wanted.items() <= run.config["data"].items():
            raise ValueError(f"{path} holds a run with other settings; remove it, or name another folder.")
    else:
        run = Run.create(path, planned, wanted, dataset)
    if run.finished:
        return run.fitted(dataset=dataset)
    engine = planned.engine()
    training = prepare(dataset, planned, engine)
    for record in run.fit(training, engine):
        if record.held_out is not None:
            bound = record.held_out["bound"]
            print(f"{path.name}: pass {record.epoch:6.1f}, held-out bound {bound:8.2f}", flush=True)
    return run.fitted(model=training.loss.model, transform=training.transform, dataset=dataset)


def what_decides(planned: Plan) -> Plan:
    """A plan without what was said of its making."""
    return planned.replace(given={}, reasons={})


def rows_of_test(model: Fitted, count: int) -> Tensor:
    """The first test images as the likelihood scores them: the same draws at every call."""
    return model.events(model.dataset.x_test[:count], seed=0)


def rows_of_training(model: Fitted, count: int) -> Tensor:
    """Images that the weights were trained on, not those that chose among them."""
    assert model.plan is not None
    source = prepare(model.dataset, model.plan, model.plan.engine()).source
    return model.events(source.gather(torch.arange(count))[0].cpu().numpy(), seed=0)
