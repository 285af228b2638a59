"""The type checker of the tests: beartype, with an int accepted where a float is annotated, as PEP 484 has it.

A check costs as much as a small computation, and a test that trains calls the same functions thousands of times. So
each function is checked at its first calls in every test, and a function defined within another at its first
definition.
"""

from __future__ import annotations

import functools
import types
import typing
from collections.abc import Callable
from typing import Any, cast

import jaxtyping
import torch
from beartype import BeartypeConf, beartype

__all__ = ["begin_test", "typechecked"]

_CALLS_PER_TEST = 20
_jaxtyped = jaxtyping.jaxtyped
_test = 0
_defined: dict[types.CodeType, int] = {}

typechecked = beartype(conf=BeartypeConf(is_pep484_tower=True))


def begin_test() -> None:
    """Check every function anew."""
    global _test
    _test += 1


def _first_calls(function: Any, *, typechecker: Any) -> Any:
    """What the import hook decorates everything with: jaxtyping's checks, for the first calls of each test."""
    if not isinstance(function, types.FunctionType):
        return _jaxtyped(function, typechecker=typechecker)
    inner = "<locals>" in function.__qualname__
    if inner and _defined.get(function.__code__) == _test:
        return function
    _defined[function.__code__] = _test
    # At the first call, for many are never called; but while the names around an inner function can be seen.
    checked: Callable[..., Any] | None = _jaxtyped(function, typechecker=typechecker) if inner else None
    test, left = _test, _CALLS_PER_TEST

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal test, left, checked
        if torch.compiler.is_compiling():  # a graph would be made anew for each number of calls that are left
            return function(*args, **kwargs)
        if test != _test:
            test, left = _test, _CALLS_PER_TEST
        if left == 0:
            return function(*args, **kwargs)
        left -= 1
        if checked is None:
            checked = cast(Callable[..., Any], _jaxtyped(function, typechecker=typechecker))
        return checked(*args, **kwargs)

    return call


jaxtyping.jaxtyped = lambda fn=None, *, typechecker: (
    functools.partial(_first_calls, typechecker=typechecker)
    if fn is None
    else _first_calls(fn, typechecker=typechecker)
)

# As in Python 3.12: the members of a protocol are not looked up anew at each isinstance.
if hasattr(typing, "_get_protocol_attrs"):
    typing._get_protocol_attrs = functools.cache(typing._get_protocol_attrs)
