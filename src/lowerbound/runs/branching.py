"""A run that goes on from the checkpoint of another one, with some settings changed.

The new folder holds the checkpoint, the records up to it, and in run.json where it came from and what was changed.
What the step counts (batches), what the split of the rows depends on (the seed) and what the tensors of the checkpoint
belong to (the model, the loss, the optimiser) stay as they were: `start.Start` begins anew from the weights alone.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lowerbound.data.split import num_for_selection
from lowerbound.fitting.planning import Plan
from lowerbound.runs.folders import RunError
from lowerbound.runs.run import Run, default_path
from lowerbound.training.loop import steps_for

__all__ = ["CHANGEABLE", "branch", "changed_plan"]

CHANGEABLE = (
    "lr",
    "lr_schedule",
    "clip_norm",
    "skip_above",
    "steps",
    "epochs",
    "patience",
    "num_samples",
    "accumulate",
    "device",
    "precision",
    "devices",
    "strategy",
    "compile",
)
"""Settings under which a checkpoint goes on."""


def changed_plan(run: Run, changes: dict[str, Any]) -> Plan:
    """The plan by which the last checkpoint of a run goes on.

    Arguments:
        run: the other.
        changes: settings by the names of `CHANGEABLE`.

    Raises:
        ValueError: a run without steps or a checkpoint, a setting of the wrong type, or fewer steps than were taken.
    """
    if not run.plan.steps:
        raise RunError(f"The {run.plan.recipe} of {run.path} is solved without steps; there is nothing to go on with.")
    if not run.checkpoint.exists():
        raise RunError(f"{run.path} has no checkpoint yet; begin a new run with these settings.")
    changed, taken = _plan(run, changes), run.checkpoint.state()["step"]
    if changed.steps <= taken:
        raise RunError(
            f"{run.path} has taken {taken:,} steps and {changed.steps:,} are asked for in all; give more by "
            "--steps, or --epochs."
        )
    return changed


def branch(run: Run, path: Path | None, changed: Plan, command: str | None = None) -> Run:
    """Make the folder of a run that goes on from the last checkpoint of another.

    Arguments:
        run: the other; nothing in it is changed.
        path: the new folder; None for one named after the data and the time.
        changed: its plan, by `changed_plan`.
        command: the words of the user, for the report.
    """
    groups, numbers = run.checkpoint.load()
    said = {n: [getattr(run.plan, n), getattr(changed, n)] for n in CHANGEABLE if n != "epochs"}
    came_from = {
        "run": str(run.path.resolve()),
        "step": numbers["step"],
        "changed": {name: values for name, values in said.items() if values[0] != values[1]},
    }
    data = {name: value for name, value in run.config["data"].items() if name != "checksum"}
    start, dataset = run.start, run.dataset
    path = path or default_path(dataset.name)
    made = Run.create(path, changed, data, dataset, command, start=start, came_from=came_from)
    records = [r for r in run.metrics() if r["step"] <= numbers["step"]]
    made.write("metrics.jsonl", "".join(json.dumps(record) + "\n" for record in records).encode())
    made.checkpoint.save(groups, {**numbers, "failure": None, "stopped": None, "evaluations_since_best": 0})
    return made


def _plan(run: Run, changes: dict[str, Any]) -> Plan:
    """The plan with the changes, each checked as in a file."""
    changes = dict(changes)
    if "epochs" in changes:
        if "steps" in changes:
            raise ValueError("epochs and steps both say how long to train; give one of them.")
        rows = run.dataset.num_train
        changes["steps"] = steps_for(changes.pop("epochs"), rows - num_for_selection(rows), run.plan.batch_size)
    given = {**{name: value for name, value in run.plan.given.items() if name != "epochs"}, **changes}
    return Plan.from_json({**run.plan.to_json(), **changes, "given": given})
