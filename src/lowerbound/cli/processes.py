"""Several processes of one command: which of them prints, and how they agree.

With `--devices 2` Fabric starts the other processes by re-running the command; `torchrun` starts all of them. Every
process computes; only the first prints, makes the folder and evaluates.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lowerbound.runs import Run
    from lowerbound.training.engine import Engine

__all__ = ["any_process", "is_first", "launch", "lost_another", "made_by_first"]


def is_first() -> bool:
    """Whether this process prints, according to the environment; true if the environment is invalid."""
    world = os.environ.get("WORLD_SIZE", "1")
    if not world.isdecimal() or int(world) < 2:  # nobody started several: a rank is left over from another program
        return True
    rank = os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))
    return not rank.isdecimal() or int(rank) == 0


_LOST = ("Connection closed by peer", "Connection reset by peer", "remote process exited", "Broken pipe")


def lost_another(error: Exception) -> bool:
    """Whether this process failed only because another one has ended: in the words of gloo and NCCL."""
    several = os.environ.get("WORLD_SIZE", "1") != "1"
    return several and isinstance(error, RuntimeError) and any(words in str(error) for words in _LOST)


def launch(engine: Engine) -> None:
    """Start the other processes, if any are needed, without Fabric's messages."""
    from lowerbound.training.engine import check_environment

    check_environment()
    import lightning_fabric  # it sets the level of its logger when it is imported

    logging.getLogger(lightning_fabric.__name__).setLevel(logging.WARNING)
    assert engine.fabric is not None


def made_by_first(engine: Engine, make: Callable[[], Run]) -> Run:
    """Let the first process make the run folder, and give every process its `Run`.

    Raises:
        RunError: in every process, if the first could not make it.
    """
    from lowerbound.runs import Run, RunError

    if engine.world_size == 1:
        return make()
    path, problem = Path(), ""
    if engine.rank == 0:
        try:
            path = make().path
        except RunError as error:
            problem = str(error)
    path, problem = engine.fabric.broadcast((path, problem))
    if problem:
        raise RunError(problem)
    return Run.open(path)


def any_process(engine: Engine, flag: bool) -> bool:
    """Whether the flag is set in any of the processes; all of them must call this."""
    if engine.world_size == 1:
        return flag
    import torch

    return engine.mean(torch.tensor(float(flag), device=engine.torch_device)).item() > 0
