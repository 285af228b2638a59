"""Which works a choice is of: keys of `references.bib`, stated on the choice itself.

    cites: ClassVar[tuple[str, ...]] = ("burda2016importance",)        in a class
    @cited("burda2016importance")                                      on a function

A choice of another package may state none, `cites = ()`, or give a whole BibTeX entry in place of a key. A class whose
works depend on its options says by the property `works` which of them are used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar, runtime_checkable

__all__ = ["CitesByOptions", "cited", "keys_of"]

_F = TypeVar("_F", bound=Callable[..., Any])


@runtime_checkable
class CitesByOptions(Protocol):
    """An object whose options decide which of the works of its class it uses."""

    @property
    def works(self) -> tuple[str, ...]:
        """Keys, a part of `cites`."""
        ...


def cited(*keys: str) -> Callable[[_F], _F]:
    """State the works of a function.

    >>> @cited("burda2016importance")
    ... def bound(): ...
    >>> keys_of(bound)
    ('burda2016importance',)
    """

    def state(function: _F) -> _F:
        vars(function)["cites"] = keys
        return function

    return state


def keys_of(item: object) -> tuple[str, ...]:
    """The works of a class, a function or an object, by key; none where it states none."""
    if isinstance(item, CitesByOptions) and not isinstance(item, type):
        return item.works
    return tuple(getattr(item, "cites", ()))
