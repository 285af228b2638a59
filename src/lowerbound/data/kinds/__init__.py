"""The kinds of data, one file each; `kind` is the seam that they all fit.

They are asked in this order whether they recognise the contents, and before them those that other installed packages
add by an entry point in the group "lowerbound.kinds", which names an instance.
"""

from functools import cache
from importlib.metadata import entry_points

from lowerbound.data.contents import Contents
from lowerbound.data.errors import DataError
from lowerbound.data.kinds.array import Array
from lowerbound.data.kinds.counts import Counts
from lowerbound.data.kinds.image import Image
from lowerbound.data.kinds.kind import Kind
from lowerbound.data.kinds.molecules import Molecules
from lowerbound.data.kinds.series import Series
from lowerbound.data.kinds.table import Table
from lowerbound.data.kinds.text import Text
from lowerbound.data.kinds.video import Video
from lowerbound.data.overrides import Overrides

__all__ = [
    "Array",
    "Counts",
    "Image",
    "Kind",
    "Molecules",
    "Series",
    "Table",
    "Text",
    "Video",
    "kind_named",
    "kind_of",
    "kinds",
]

_OWN: tuple[Kind, ...] = (Series(), Molecules(), Text(), Video(), Image(), Counts(), Table(), Array())


@cache
def kinds() -> tuple[Kind, ...]:
    """Every kind of data, in the order in which they are asked.

    Raises:
        TypeError: a package adds an object that is no kind of data.
    """
    others = [(found.name, found.load()) for found in entry_points(group="lowerbound.kinds")]
    for name, kind in others:
        if not isinstance(kind, Kind):
            raise TypeError(f"The entry point {name!r} of lowerbound.kinds names {kind!r}, which is no Kind.")
    return (*(kind for _, kind in others), *_OWN)


def kind_named(name: str) -> Kind:
    """The kind of that name.

    Raises:
        DataError: there is none.
    """
    for kind in kinds():
        if kind.name == name:
            return kind
    known = ", ".join(kind.name for kind in kinds())
    raise DataError(f"there is no kind of data {name[:40]!r}; choose one of {known}.")


def kind_of(contents: Contents, overrides: Overrides) -> Kind:
    """The kind that the user named, or the first one that recognises the contents.

    Raises:
        DataError: none does.
    """
    if overrides.kind is not None:
        return kind_named(overrides.kind)
    for kind in kinds():
        if kind.matches(contents, overrides):
            return kind
    shape = getattr(contents.x, "shape", None)
    raise DataError(
        f"{contents.what} has shape {shape}; expected a table (N, D), or images (N, H, W) or (N, H, W, C): reshape it."
    )
