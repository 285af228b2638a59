"""A run is a folder: how it is made, read, checked and gone on from."""

from __future__ import annotations

from lowerbound.runs.run import Run, RunError, default_path, load_dataset

__all__ = ["Run", "RunError", "default_path", "load_dataset"]
