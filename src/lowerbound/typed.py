"""Checking a value against the annotation of its argument.

Values from a command line, a notebook or a run folder are checked here before a constructor gets them, so that a
mistake gives one sentence. `as_annotated` returns the value. It converts a whole number to a float, a whole float to an
int and a list to a tuple, and nothing else.
"""

from __future__ import annotations

import inspect
import math
import types
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

__all__ = ["WrongType", "annotations_of", "as_annotated", "in_words"]

_SEQUENCES = (Sequence, Collection, list, tuple)
_WORDS = (str, bytes, int, float, complex, list, tuple, set, dict)  # what words on a command line can stand for


class WrongType(ValueError):
    """A value that its annotation does not allow; the message says what is expected."""


def annotations_of(function: Callable[..., Any]) -> dict[str, Any]:
    """The annotation of each argument of a function or of a class's constructor; `Any` where it has none.

    >>> def area(width: float, height: "int" = 2): ...
    >>> annotations_of(area)
    {'width': <class 'float'>, 'height': <class 'int'>}
    """
    target = function.__init__ if inspect.isclass(function) else function  # type: ignore[misc]
    try:
        hints = get_type_hints(target)
    except (NameError, TypeError):  # names that exist for the type checker only
        hints = {}
    return {name: hints.get(name, Any) for name in inspect.signature(function).parameters}


def as_annotated(value: Any, annotation: Any) -> Any:
    """The value, if its annotation allows it.

    >>> as_annotated(2, float), as_annotated([3, 4], tuple[int, ...]), as_annotated(1e3, int)
    (2.0, (3, 4), 1000)

    Raises:
        WrongType: it does not.
    """
    origin = get_origin(annotation)
    if annotation is Any or annotation is inspect.Parameter.empty:
        return value
    if origin in (Union, types.UnionType):
        return _one_of(value, get_args(annotation), annotation)
    if origin is Literal:
        if any(value == choice and type(value) is type(choice) for choice in get_args(annotation)):
            return value
        raise WrongType(f"expected {in_words(annotation)}")
    if annotation in _SCALARS:
        return _SCALARS[annotation](value)
    if origin in _SEQUENCES or annotation in _SEQUENCES:
        return _sequence(value, annotation)
    if annotation is type(None) and value is None:
        return None
    if origin in (Mapping, dict) or annotation in (Mapping, dict):
        allowed = isinstance(value, Mapping)
    else:  # an object, which only Python can give: its constructor knows what else it wants of it
        allowed = value is not None and annotation is not type(None) and not isinstance(value, _WORDS)
        allowed = allowed and not (inspect.isclass(value) and inspect.isclass(annotation))  # Poisson for Poisson(net)
    if allowed:
        return value
    raise WrongType(f"expected {in_words(annotation)}")


def in_words(annotation: Any) -> str:
    """The words for an annotation, after "expected".

    >>> in_words(float), in_words(int | None), in_words(Literal["rows", "means"])
    ('a number', 'a whole number or None', 'rows or means')
    >>> in_words(tuple[Literal["prior", "posterior"], ...])
    'a list of prior or posterior'
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return _or([in_words(argument) for argument in arguments])
    if origin is Literal:
        return _or([str(choice) for choice in arguments])
    if origin in _SEQUENCES or annotation in _SEQUENCES:
        if arguments and get_origin(arguments[0]) is Literal:
            return f"a list of {in_words(arguments[0])}"
        inner = {"a whole number": "whole numbers", "a number": "numbers"}.get(_element_words(arguments), "values")
        return f"a list of {inner} such as [64,64]" if inner != "values" else "a list"
    known = {int: "a whole number", float: "a number", bool: "true or false", str: "a word", type(None): "None"}
    if dict in (origin, annotation) or Mapping in (origin, annotation):
        return "names and values"
    return known.get(annotation) or f"a {getattr(annotation, '__name__', annotation)}, which only Python can give"


def _element_words(arguments: tuple[Any, ...]) -> str:
    return in_words(arguments[0]) if arguments else ""


def _or(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _one_of(value: Any, annotations: tuple[Any, ...], whole: Any) -> Any:
    for annotation in sorted(annotations, key=lambda a: a is float):  # an int stays one where both are allowed
        try:
            return as_annotated(value, annotation)
        except WrongType:
            continue
    raise WrongType(f"expected {in_words(whole)}")


def _sequence(value: Any, annotation: Any) -> Any:
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if not isinstance(value, list | tuple):
        raise WrongType(f"expected {in_words(annotation)}")
    arguments = [argument for argument in get_args(annotation) if argument is not Ellipsis]
    element = arguments[0] if arguments else Any
    try:
        items = [as_annotated(item, element) for item in value]
    except WrongType:
        raise WrongType(f"expected {in_words(annotation)}") from None
    return tuple(items) if get_origin(annotation) is tuple or annotation is tuple else items


def _bool(value: Any) -> bool:
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise WrongType("expected true or false")


_TOO_LARGE = 2**63


def _int(value: Any) -> int:
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if isinstance(value, float | np.floating) and math.isfinite(value):
        whole = float(value).is_integer()
    if not whole:
        raise WrongType("expected a whole number")
    if abs(int(value)) >= _TOO_LARGE:
        raise WrongType("expected a whole number that 64 bits can hold")
    return int(value)


def _float(value: Any) -> float:
    if isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
        raise WrongType("expected a finite number")
    raise WrongType("expected a number")


def _str(value: Any) -> str:
    if isinstance(value, str):
        return value
    raise WrongType("expected a word")


_SCALARS: dict[Any, Callable[[Any], Any]] = {bool: _bool, int: _int, float: _float, str: _str}
