"""The kinds of data, one file each; `kind` is the seam that they all fit.

They are asked in this order whether they recognise the contents.
"""

from lowerbound.data.contents import Contents
from lowerbound.data.errors import DataError
from lowerbound.data.kinds.array import Array
from lowerbound.data.kinds.counts import Counts
from lowerbound.data.kinds.image import Image
from lowerbound.data.kinds.kind import Kind
from lowerbound.data.kinds.table import Table
from lowerbound.data.overrides import Overrides

__all__ = ["KINDS", "Array", "Counts", "Image", "Kind", "Table", "kind_named", "kind_of"]

KINDS: tuple[Kind, ...] = (Image(), Counts(), Table(), Array())


def kind_named(name: str) -> Kind:
    """The kind of that name.

    Raises:
        DataError: there is none.
    """
    for kind in KINDS:
        if kind.name == name:
            return kind
    known = ", ".join(kind.name for kind in KINDS)
    raise DataError(f"there is no kind of data {name[:40]!r}; choose one of {known}.")


def kind_of(contents: Contents, overrides: Overrides) -> Kind:
    """The kind that the user named, or the first one that recognises the contents.

    Raises:
        DataError: none does.
    """
    if overrides.kind is not None:
        return kind_named(overrides.kind)
    for kind in KINDS:
        if kind.matches(contents, overrides):
            return kind
    shape = getattr(contents.x, "shape", None)
    raise DataError(
        f"{contents.what} has shape {shape}; expected a table (N, D), or images (N, H, W) or (N, H, W, C): reshape it."
    )
