"""Conformance of the works that a choice states: see `check_cites`."""

from __future__ import annotations

from lowerbound.cited import keys_of
from lowerbound.references import work_of
from lowerbound.testing.require import require

__all__ = ["check_cites"]


def check_cites(choice: object) -> None:
    """Check that a choice says of which works it is, so that `lowerbound cite` can name them.

    `cites` is a tuple of keys of `references.bib`, or of whole BibTeX entries; it may be empty.

    Arguments:
        choice: a class, a function, or an instance.

    Raises:
        AssertionError: it states none, or what is no work; with the remedy.
    """
    name = getattr(choice, "__name__", type(choice).__name__)
    stated = getattr(choice, "cites", None)
    require(
        isinstance(stated, tuple),
        f"{name} states no works; add to the class: cites: ClassVar[tuple[str, ...]] = (), with keys or BibTeX.",
    )
    for key in keys_of(choice):
        try:
            work_of(key)
        except ValueError as error:
            raise AssertionError(f"{name}: {error}") from None
