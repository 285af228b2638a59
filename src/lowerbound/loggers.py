"""Where the records of training go besides the run folder: a file, or a program that people watch runs with.

A logger is called with each record, that is once per logging interval: it reads plain numbers and never makes the
device wait. It keeps what it writes in a folder, and goes on there when a run is resumed: records from the step of its
first record on replace those that were written before.

    train(loss, x, num_steps=1000, logger=CSV("logs"))        lowerbound fit digits --logger csv

Any function that takes a record, and has a method `close` if it must be closed, can take their place.
"""

from __future__ import annotations

import csv
import importlib
import importlib.util
import io
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeAlias, runtime_checkable

from lowerbound.spelling import check_options, construct, find, parse
from lowerbound.training.checkpoint import write_atomically
from lowerbound.training.record import Record

__all__ = ["CSV", "ChosenLogger", "Logger", "MLflow", "Tensorboard", "Wandb", "check_logger", "recording", "values_of"]


@runtime_checkable
class Logger(Protocol):
    """Takes records."""

    def __call__(self, record: Record) -> object:
        """Write one record."""
        ...


ChosenLogger: TypeAlias = str | Logger | None


def values_of(record: Record) -> dict[str, float]:
    """The numbers of a record by flat names: terms of the loss as they are, those of held-out rows as held_out/NAME.

    >>> values_of(Record(step=9, epoch=0.5, seconds=1.0, learning_rate=0.1, terms={"bound": -3.0}, gradient_norm=2.0))
    {'epoch': 0.5, 'seconds': 1.0, 'learning_rate': 0.1, 'gradient_norm': 2.0, 'skipped': 0, 'bound': -3.0}
    """
    names = ("epoch", "seconds", "learning_rate", "gradient_norm", "skipped")
    held_out = {f"held_out/{name}": value for name, value in (record.held_out or {}).items()}
    return {**{name: getattr(record, name) for name in names}, **record.terms, **held_out}


class CSV:
    """FOLDER/metrics.csv: a line for each record, a column for each number, empty where a record has none.

    Arguments:
        folder: where; it is made if it is missing.
    """

    def __init__(self, folder: str):
        self._file = Path(folder) / "metrics.csv"
        self._columns = ["step"]
        self._rows: list[dict[str, Any]] = []
        self._begun = False

    def __call__(self, record: Record) -> None:
        """Add a line."""
        if not self._begun:
            self._read(before=record.step)
        row = {"step": record.step, **values_of(record)}
        new = [name for name in row if name not in self._columns]
        self._columns += new
        self._rows.append(row)
        if new or not self._begun:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._file, self._text(self._rows, header=True).encode())
        else:
            with self._file.open("a", newline="", encoding="utf-8") as file:
                file.write(self._text([row], header=False))
        self._begun = True

    def _read(self, before: int) -> None:
        if self._file.is_file():
            with self._file.open(newline="", encoding="utf-8") as file:
                reader = csv.DictReader(file)
                self._columns = list(reader.fieldnames or self._columns)
                self._rows = [row for row in reader if int(row["step"]) < before]

    def _text(self, rows: list[dict[str, Any]], *, header: bool) -> str:
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, self._columns, lineterminator="\n")
        if header:
            writer.writeheader()
        writer.writerows(rows)
        return buffer.getvalue()


class Tensorboard:
    """Event files for `tensorboard --logdir FOLDER`.

    Arguments:
        folder: where.
    """

    package: ClassVar[str] = "tensorboard"

    def __init__(self, folder: str):
        _require(type(self))
        self._folder, self._writer = folder, None

    def __call__(self, record: Record) -> None:
        """Add a point to each curve."""
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(self._folder, purge_step=record.step)
        for name, value in values_of(record).items():
            self._writer.add_scalar(name, value, record.step)

    def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            self._writer.close()


class Wandb:
    """A run of Weights & Biases; WANDB_MODE=offline keeps it in the folder until `wandb sync`.

    Arguments:
        folder: where its files go.
        project: its project.
        run_name: what the run is called.
        config: what decided the fit, as plain values.
    """

    package: ClassVar[str] = "wandb"

    def __init__(
        self,
        folder: str,
        project: str = "lowerbound",
        run_name: str | None = None,
        config: dict[str, Any] | None = None,
    ):
        _require(type(self))
        wandb = importlib.import_module("wandb")
        own = _kept(Path(folder) / "wandb-run", lambda: uuid.uuid4().hex[:12])
        self._run = wandb.init(project=project, name=run_name, id=own, resume="allow", dir=folder, config=config or {})

    def __call__(self, record: Record) -> None:
        """Add a point to each curve."""
        self._run.log(values_of(record), step=record.step)

    def close(self) -> None:
        """Mark it as ended."""
        self._run.finish()


class MLflow:
    """A run of MLflow, where MLFLOW_TRACKING_URI says; without it in FOLDER/mlflow.db.

    Arguments:
        folder: where the name of its run is kept.
        experiment: its experiment.
        run_name: what the run is called.
        config: what decided the fit, as plain values.
    """

    package: ClassVar[str] = "mlflow"

    def __init__(
        self,
        folder: str,
        experiment: str = "lowerbound",
        run_name: str | None = None,
        config: dict[str, Any] | None = None,
    ):
        _require(type(self))
        mlflow = importlib.import_module("mlflow")
        Path(folder).mkdir(parents=True, exist_ok=True)
        if not mlflow.is_tracking_uri_set():
            mlflow.set_tracking_uri(f"sqlite:///{Path(folder).resolve() / 'mlflow.db'}")
        self._client, place = mlflow.MlflowClient(), mlflow.set_experiment(experiment).experiment_id
        self._id = _kept(
            Path(folder) / "mlflow-run", lambda: self._client.create_run(place, run_name=run_name).info.run_id
        )
        for key, value in (config or {}).items():
            self._client.log_param(self._id, key, str(value)[:500])

    def __call__(self, record: Record) -> None:
        """Add a point to each curve."""
        Metric = importlib.import_module("mlflow.entities").Metric
        now = round(record.seconds * 1000)
        values = values_of(record).items()
        self._client.log_batch(self._id, [Metric(name, value, now, record.step) for name, value in values])

    def close(self) -> None:
        """Mark it as ended."""
        self._client.set_terminated(self._id)


def check_logger(words: str) -> None:
    """Refuse what cannot log here, before anything else is done.

    Raises:
        ValueError: no logger of that name, an option that it has not, or a package that is not installed.
    """
    from lowerbound import loggers

    name, options = parse(words)
    chosen = find(loggers, name)
    check_options(name, chosen, options)
    _require(chosen)


@contextmanager
def recording(choice: ChosenLogger, **given: Any) -> Iterator[Callable[[Record], object]]:
    """A function that takes records, and is closed at the end; one that does nothing for None.

    Arguments:
        choice: a logger, or the name of one with options ("csv:folder=logs").
        given: arguments that the words leave open, by name.

    Raises:
        ValueError: an unknown name or option, or a package that is not installed.
    """
    from lowerbound import loggers

    if isinstance(choice, str):
        said = parse(choice)[1]
        unsaid = {name: value for name, value in given.items() if name not in said}
        logger: Logger | None = construct(loggers, choice, **unsaid)
    else:
        logger = choice
    try:
        yield _nowhere if logger is None else logger
    finally:
        getattr(logger, "close", _nothing)()


def _nowhere(record: Record) -> None:
    pass


def _nothing() -> None:
    pass


def _require(logger: type) -> None:
    name = getattr(logger, "package", None)
    if name is not None and importlib.util.find_spec(name) is None:
        raise ValueError(
            f"The logger {logger.__name__.lower()} needs the package {name}; install it: pip install {name}."
        )


def _kept(file: Path, make: Callable[[], str]) -> str:
    """The text of a file, which is made where it is missing: the name of a run, under which it is resumed."""
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, make().encode())
    return file.read_text().strip()
