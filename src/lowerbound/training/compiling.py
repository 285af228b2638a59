"""Whether the steps of a run are compiled: decided once, at its first record, by time that was measured.

A run begins with eager steps. At its first record it is known how long they take; if those that are left would take
long enough, the step is compiled and timed on the same batch, and the faster form goes on. A graph that was made before
and is kept pays in shorter runs (`starts`). The decision is saved with
the run, so that a run that was stopped goes on in the form of one that was not.

Time is that of `threads.computing_seconds`: other processes of the machine hardly change it.
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import os
import platform
import shutil
import stat
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from lowerbound.data.download import cache_folder, make_folder
from lowerbound.optimizers import load_optimizer_tensors, optimizer_tensors
from lowerbound.threads import computing_seconds
from lowerbound.training.starts import GraphStart
from lowerbound.training.steps import CannotCompile, CompiledStep, TrainingStep
from lowerbound.warned import LowerboundWarning

__all__ = ["WORTH", "AutoCompile", "graph_folder", "keep_graphs", "kept_in"]

WORTH = 20.0
"""Seconds of eager steps ahead from which it is tried: making a graph takes seconds, and saves some of the rest."""

_CACHE = "TORCHINDUCTOR_CACHE_DIR"


class AutoCompile:
    """The decision of a run.

    Arguments:
        make: makes the compiled step of the loss.
        what: says what is compiled, so that a later run knows its graph again.

    Attributes:
        decided: whether steps are compiled; None before the first record.
    """

    def __init__(self, make: Callable[[], CompiledStep], what: Callable[[], str] = str):
        self._make, self._what = make, what
        self.decided: bool | None = None

    def choose(
        self, eager: TrainingStep, seconds: float, steps_left: int, raw: tuple[Tensor, ...]
    ) -> tuple[TrainingStep, str | None]:
        """The form of the steps that are left, and what to tell the user.

        Arguments:
            eager: the step that was taken so far.
            seconds: what it takes.
            steps_left: how many are to come.
            raw: a batch.
        """
        self.decided = False
        rest = seconds * steps_left
        start = GraphStart(kept_in(), self._what(), tuple(tuple(rows.shape) for rows in raw))
        if rest < WORTH and not start.pays(rest):
            return eager, None
        begun = computing_seconds()
        compiled = self.compiled(eager, raw)
        if compiled is None:
            return eager, None
        took, own = computing_seconds() - begun, compiled.seconds(raw)
        self.decided = own < seconds
        if kept_in() == start.folder:  # else graphs go with this process
            start.remember(took, 1 - own / seconds)
        times = f"{own * 1e3:.3g} ms in place of {seconds * 1e3:.3g}"
        if self.decided:
            return compiled, f"The steps are compiled from here on: {times}."
        return eager, f"The steps stay uncompiled: a compiled one takes {times}."

    def compiled(self, eager: TrainingStep, raw: tuple[Tensor, ...]) -> CompiledStep | None:
        """The compiled step with the state of the eager one, or None, with a warning, if it cannot be made."""
        try:
            keep_graphs()
            compiled = self._make()
            compiled.prepare(raw)
        except (CannotCompile, OSError) as error:
            warnings.warn(f"{error} Training goes on uncompiled.", LowerboundWarning, stacklevel=2)
            return None
        load_optimizer_tensors(compiled.optimizer, optimizer_tensors(eager.optimizer))
        return compiled


def keep_graphs() -> None:
    """Let torch keep compiled graphs in the cache of this user, for the next run of the same model and batch.

    torch would keep them in the folder for temporary files, under a name that another user can take first, and what it
    reads there is run. The folder here is readable by its owner alone. It is one for each processor and version of
    torch, because machines may share a home; torch tells graphs apart by their operations, shapes and settings. A
    folder that the user chose by $TORCHINDUCTOR_CACHE_DIR stays. Where the cache cannot be written, or is another
    user's, the folder is a new one that goes with this process.

    Raises:
        OSError: no folder can be made at all.
    """
    if not _is_open(os.environ.get(_CACHE)):
        return
    folder = graph_folder()
    os.environ[_CACHE] = str(folder) if _is_made(folder) else _of_this_process()


def kept_in() -> Path:
    """Where `keep_graphs` lets torch keep graphs, or has let it."""
    said = os.environ.get(_CACHE)
    return graph_folder() if said is None or _is_open(said) else Path(said)


def _is_open(said: str | None) -> bool:
    """Whether the user chose no folder; torch sets the variable to its own choice when its compiler is imported."""
    if said is None:
        return True
    place = Path(said)
    return place.parent == Path(tempfile.gettempdir()) and place.name.startswith("torchinductor_")


def _is_made(folder: Path) -> bool:
    """Whether there is such a folder, and the one that holds it, into which this user alone can write."""
    try:
        make_folder(cache_folder())
        whole = cache_folder().stat()
        if whole.st_uid != os.geteuid() or whole.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return False
        for each in (folder.parent, folder):
            each.mkdir(exist_ok=True, mode=stat.S_IRWXU)
            found = each.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
                return False
            each.chmod(stat.S_IRWXU)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


@functools.cache
def _of_this_process() -> str:
    folder = tempfile.mkdtemp(prefix="lowerbound-graphs-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def graph_folder() -> Path:
    """Where graphs of this processor and this version of torch are kept."""
    machine = f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()} {sorted(_instructions().items())}"
    key = hashlib.sha256(machine.encode()).hexdigest()[:12]
    return cache_folder() / "graphs" / f"{torch.__version__}-{key}"


def _instructions() -> dict[str, object]:
    find = getattr(torch.cpu, "get_capabilities", dict)  # since torch 2.12
    return dict(find())
