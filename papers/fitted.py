"""Models that several recipes need: fitted once, into a run folder, and opened after that."""

from __future__ import annotations

from pathlib import Path

from lowerbound.fitting import Settings
from lowerbound.runs import Run, load_dataset

__all__ = ["fitted"]


def fitted(path: Path, data: str | Path, settings: Settings) -> Run:
    """The finished run in a folder: begun, resumed, or as it is.

    Arguments:
        path: the folder.
        data: the name of a data set, or a file of rows.
        settings: of the fit.

    Raises:
        ValueError: the folder holds a run of other settings or other data.
    """
    wanted = {"path": str(data)} if isinstance(data, Path) else {"name": data}
    if (path / "run.json").exists():
        run = Run.open(path)
        if run.settings != settings or not wanted.items() <= run.config["data"].items():
            raise ValueError(f"{path} holds a run with other settings; remove it, or name another folder.")
    else:
        run = Run.create(path, settings, wanted, load_dataset(wanted))
    if not run.finished:
        engine = settings.engine()
        for record in run.fit(run.prepare(run.dataset(), engine), engine):
            if record.held_out is not None:
                bound = record.held_out["bound"]
                print(f"{path.name}: pass {record.epoch:6.1f}, held-out bound {bound:8.2f}", flush=True)
    return run
