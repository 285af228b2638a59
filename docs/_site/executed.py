"""Where what executed pages gave is kept: a folder named by all sources of the library; others run the pages anew."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

__all__ = ["folder"]


def folder(root: Path, sources: Path) -> Path:
    """The folder of these sources within `root`; those of other sources are removed.

    Arguments:
        root: of all such folders.
        sources: the package.
    """
    digest = hashlib.sha256()
    for path in sorted(sources.rglob("*.py")):
        digest.update(str(path.relative_to(sources)).encode() + b"\0" + path.read_bytes() + b"\0")
    kept = root / digest.hexdigest()[:16]
    for other in root.glob("*"):
        if other != kept:
            shutil.rmtree(other)
    kept.mkdir(parents=True, exist_ok=True)
    return kept
