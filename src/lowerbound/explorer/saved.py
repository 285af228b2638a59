"""A page in one file: codes, colours and rows, and what the model shows on a grid of points of two planes.

Without the model, a point under the cursor shows the nearest point of the grid. The planes are that of the principal
components and that of the two latents that say most.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lowerbound.explorer.answers import colour_answer, content_answer, findings_answer, plane_answer, row_answer
from lowerbound.explorer.explorer import MOST_LATENTS_AT_ONCE, Explorer
from lowerbound.explorer.page import page, to_json
from lowerbound.explorer.views import View
from lowerbound.training.checkpoint import CheckpointError, write_atomically

__all__ = ["write_page"]

_POINTS, _POINTS_OF_TEXT = 24, 12
_ROWS, _ROWS_OF_TEXT, _COLUMNS = 1000, 100, 24


def write_page(explorer: Explorer, path: Path, *, force: bool, progress: Callable[[int, int], None] | None) -> Path:
    """Write the page. See `Explorer.write`."""
    if os.path.lexists(path) and not force:
        raise _taken(path)
    content = content_answer(explorer)
    text = page(content["title"], {**content, "saved": _saved(explorer, progress)})
    try:
        write_atomically(path, text.encode(), new=not force)
    except FileExistsError:
        raise _taken(path) from None
    except OSError as error:
        raise CheckpointError(
            f"Could not write {path} ({error.strerror or error}); choose a folder that exists and has space."
        ) from error
    return path


def _taken(path: Path) -> CheckpointError:
    return CheckpointError(f"{path} is there already; choose another place, or overwrite it with force.")


def _saved(explorer: Explorer, progress: Callable[[int, int], None] | None) -> dict[str, Any]:
    """The answers that a page without a server needs."""
    is_written = explorer.fitted.schema.is_written
    planes, rows = _planes(explorer), _rows(len(explorer.rows.x), _ROWS_OF_TEXT if is_written else _ROWS)
    done, total = 0, len(planes) + len(rows)

    def one_more() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    views, kept = _Views(), {}
    for axes in planes:
        kept["pca" if axes is None else f"{axes[0]},{axes[1]}"] = _plane(explorer, axes, views)
        one_more()
    answers = {}
    for row in rows:
        answer = row_answer(explorer, row, neighbours=False)
        answers[row] = {**answer, **{name: views.place(answer[name]) for name in ("original", "reconstruction")}}
        one_more()
    few = [i for i, one in enumerate(explorer.colours) if one.computed is not None or one.column < _COLUMNS]
    return {
        "planes": kept,
        "rows": answers,
        "views": views.all,
        "colours": {i: colour_answer(explorer, i) for i in few},
        "findings": None if explorer.diagnosis is None else findings_answer(explorer.diagnosis),
    }


class _Views:
    """Views, each kept once."""

    def __init__(self) -> None:
        self.all: list[View] = []
        self._places: dict[str, int] = {}

    def place(self, view: View) -> int:
        """Where the view is in `all`."""
        key = to_json(view)
        if key not in self._places:
            self._places[key] = len(self.all)
            self.all.append(view)
        return self._places[key]


def _planes(explorer: Explorer) -> list[tuple[int, int] | None]:
    order = np.argsort(-explorer.activity, kind="stable").tolist()
    most = (order[0], order[min(1, len(order) - 1)])
    return [most] if explorer.principal is None else [None, most]


def _plane(explorer: Explorer, axes: tuple[int, int] | None, views: _Views) -> dict[str, Any]:
    """A plane, with the views at the points of a grid, rows from the bottom."""
    plane = explorer.plane(axes)
    answer = {**plane_answer(plane), "axes": axes}
    if explorer.space.shape is None:
        return answer
    count = _POINTS_OF_TEXT if explorer.fitted.schema.is_written else _POINTS
    left, right, bottom, top = plane.box
    x, y = np.meshgrid(np.linspace(left, right, count), np.linspace(bottom, top, count))
    points = np.stack([x.ravel(), y.ravel()], 1)
    z = explorer.directions(axes).lift(points, explorer.mean.astype(np.float64).mean(0))
    blocks = [z[i : i + MOST_LATENTS_AT_ONCE] for i in range(0, len(z), MOST_LATENTS_AT_ONCE)]
    found = [view for block in blocks for view in explorer.decode(block)]
    return {**answer, "points": count, "shown": [views.place(view) for view in found]}


def _rows(count: int, most: int) -> list[int]:
    """Which rows are shown when they are chosen: all, or as many as fit, evenly."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.int64)).tolist()
