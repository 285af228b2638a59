"""What a graph took to start and what it saved, remembered beside the graphs that torch keeps.

A graph that was made once starts in a fifth of the time and less (`benchmarks/results/compiled.json`), so that it pays
in runs that are too short to have it made. A file for each loss and batch holds two numbers; they are checked against
nothing, because a graph that is gone costs the time to make it and no more.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

__all__ = ["GraphStart", "in_words"]

_PLAIN = vars(nn.Module()).keys()
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_LEAST = 2.0  # seconds that a start takes; torch's compiler is imported


@dataclass(frozen=True)
class GraphStart:
    """What is known of one graph.

    Arguments:
        folder: where torch keeps graphs.
        what: what the graph is of, in any words: the loss and its settings.
        shapes: of a batch.
    """

    folder: Path
    what: str
    shapes: tuple[tuple[int, ...], ...]

    @property
    def path(self) -> Path:
        """The file."""
        key = hashlib.sha256(f"{torch.__version__} {self.shapes} {self.what}".encode()).hexdigest()[:32]
        return self.folder / "starts" / key

    def pays(self, rest: float) -> bool:
        """Whether so many seconds of eager steps are worth the start; False of a graph that was not made here."""
        try:
            seconds, saved = map(float, self.path.read_text().split())
        except (OSError, ValueError):
            return False
        return 0 <= seconds < math.inf and saved * rest > 1.5 * max(seconds, _LEAST)

    def remember(self, seconds: float, saved: float) -> None:
        """Keep the seconds of computing that it took, if it was made before, and the share of a step's time that it
        saves; where that cannot be written, they are not known the next time.
        """
        taken = seconds if self.path.is_file() else 0.0
        written = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            written.write_text(f"{taken:.3f} {saved:.3f}")
            written.replace(self.path)
        except OSError:
            with suppress(OSError):
                written.unlink()


def in_words(module: nn.Module) -> str:
    """A module with what its own words leave out, such as the objective and the number of samples of a loss."""
    settings = [{k: v for k, v in vars(part).items() if k not in _PLAIN} for part in module.modules()]
    return _ADDRESS.sub("", repr((module, settings)))
