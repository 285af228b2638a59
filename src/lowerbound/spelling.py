"""The spelling of choices: from the words of a command line to the classes of the library, without a registry.

A choice is the kebab-case name of a class that a package exports, with options after a colon: "diagonal-normal",
"normal:scale=heteroscedastic,min_scale=0.01". The axis may be left out of a name ("vamp" for `VampPrior`). Arguments
that the words do not give (latent_shape, event_shape, net, posterior) are passed to the class by their names.

Another installed package adds a choice by an entry point in the group "lowerbound.AXIS": its class of likelihoods under
"lowerbound.likelihoods". Options are checked against the annotations of the constructor (`typed`).
"""

from __future__ import annotations

import ast
import difflib
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any

from torch import nn

from lowerbound.typed import WrongType, annotations_of, as_annotated

__all__ = [
    "axis_of",
    "build",
    "check_given",
    "check_options",
    "choices",
    "construct",
    "find",
    "inner",
    "kebab",
    "outer",
    "outputs_of",
    "parse",
    "singular",
    "spelled",
    "takes",
]

_LONGEST = 2_000
_MOST_LISTED, _LONGEST_LIST = 8, 180


_ANY = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_SINGULAR = {"losses": "loss", "penalties": "penalty", "missingness": "missingness"}


def choices(package: ModuleType) -> dict[str, type]:
    """The classes on one axis (a package such as `lowerbound.priors`) by name.

    >>> import lowerbound.objectives
    >>> choices(lowerbound.objectives)["iwae"].__name__
    'IWAE'
    """
    exported = [getattr(package, name) for name in package.__all__] + _from_elsewhere(package.__name__)
    return {kebab(item.__name__): item for item in exported if inspect.isclass(item) and _is_choice(item)}


def parse(text: str) -> tuple[str, dict[str, Any]]:
    """Split "name:key=value,key=value" into the name and its options.

    >>> parse("normal:scale=shared,min_scale=0.01")
    ('normal', {'scale': 'shared', 'min_scale': 0.01})
    >>> parse("ladder:latent_dims=[8,4],hidden=[[32,32],[16]]")
    ('ladder', {'latent_dims': [8, 4], 'hidden': [[32, 32], [16]]})
    >>> parse("flow-matching(hidden=8)")  # as it is spelled within the options of another choice
    ('flow-matching', {'hidden': 8})

    Raises:
        ValueError: an option without a value, or one that is given twice.
    """
    if "(" in text.partition(":")[0]:
        text = inner(text)
    name, _, rest = text.partition(":")
    if len(name) > _LONGEST:
        raise ValueError(
            f"A choice with a name of {len(name):,} letters was given; expected a name with a few options."
        )
    options: dict[str, Any] = {}
    for part in _parts(rest):
        key, equals, value = part.partition("=")
        if not equals:
            raise ValueError(
                f"{_short(text)} has the option {_short(part)} without a value; write it as {part[:40]}=VALUE."
            )
        key = key.strip().replace("-", "_")
        if key in options:
            raise ValueError(f"{_short(text)} has the option {_short(key)} twice; give it once.")
        options[key] = _value(value.strip())
    return name.strip(), options


def inner(text: str) -> str:
    """The words of a choice that is itself an option of another, where its options stand in parentheses.

    >>> inner("categorical(num_classes=4,unit_interval=True)")
    'categorical:num_classes=4,unit_interval=True'
    """
    name, parenthesis, rest = text.partition("(")
    return f"{name}:{rest.removesuffix(')')}" if parenthesis else text


def outer(text: str) -> str:
    """The words of a choice as the option of another, which `inner` turns back.

    >>> outer("normal:scale=shared")
    'normal(scale=shared)'
    """
    name, colon, rest = text.partition(":")
    return f"{name}({rest})" if colon else text


def find(package: ModuleType, name: str) -> type:
    """The class of that name on an axis.

    Raises:
        ValueError: no such class; the nearest names are listed.
    """
    known, axis = choices(package), axis_of(package)
    wanted = _plain(name)
    for candidate, item in known.items():
        if wanted in (_plain(candidate), _plain(candidate).removesuffix(axis)):
            return item
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    if not near or len(known) <= _MOST_LISTED:
        listed = ", ".join(sorted(known))
        listed = listed if len(listed) <= _LONGEST_LIST else f"{listed[:_LONGEST_LIST].rpartition(', ')[0]}, …"
        raise ValueError(f"There is no {axis} named {name!r}; choose one of {listed}.")
    raise ValueError(f"There is no {axis} named {name!r}; the nearest of its {len(known)} are {', '.join(near)}.")


def construct(package: ModuleType, text: str, **available: Any) -> Any:
    """Make the object that a text describes.

    Arguments:
        package: the axis.
        text: see `parse`.
        available: values that its constructor gets by the names of its arguments.

    Raises:
        ValueError: an unknown name or option, an option with a bad value, or none where one is needed.
    """
    return build(package, *parse(text), **available)


def build(package: ModuleType, name: str, options: Mapping[str, Any], **available: Any) -> Any:
    """Like `construct`, but with separate name and options, whose values may be objects."""
    cls = find(package, name)
    signature = inspect.signature(cls).parameters
    options = check_options(kebab(cls.__name__), cls, options, without=available)
    given = {**{key: value for key, value in available.items() if key in signature}, **options}
    needed = [key for key, value in signature.items() if value.default is value.empty and value.kind not in _ANY]
    missing = [key for key in needed if key not in given]
    if missing:
        raise ValueError(f"{kebab(cls.__name__)} needs {missing[0]}; write it as {name}:{missing[0]}=VALUE.")
    return cls(**given)


def check_options(
    name: str, function: Callable[..., Any], options: Mapping[str, Any], *, without: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The options of a function or class, each converted to the type of its annotation.

    Arguments:
        name: of what takes them, for the message.
        function: what takes them.
        options: by name.
        without: arguments that are not for the user.

    Raises:
        ValueError: an option that it does not have, or one of another type.
    """
    annotations = {key: value for key, value in annotations_of(function).items() if key not in (without or {})}
    checked = {}
    for key, value in options.items():
        if key not in annotations:
            raise ValueError(f"{name} has no option {key!r}; it has {', '.join(annotations) or 'no options'}.")
        try:
            checked[key] = as_annotated(value, annotations[key])
        except WrongType as error:
            raise ValueError(f"{name} got {key}={_short(value)} and {error}.") from None
        if any(_is_beyond_float32(number) for number in _numbers_in(checked[key])):
            raise ValueError(f"{name} got {key}={_short(value)} and expected 0 or a number of size 1.2e-38 to 3.4e38.")
    return checked


def _numbers_in(value: Any) -> Iterator[float]:
    if isinstance(value, float):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _numbers_in(item)


def _is_beyond_float32(number: float) -> bool:
    return number != 0 and not 1.2e-38 <= abs(number) <= 3.4e38


def outputs_of(package: ModuleType, text: str, size: int | tuple[int, ...]) -> tuple[int, ...]:
    """The output shape that a conditional needs from its net, given the options that decide it.

    Arguments:
        package: `posteriors` or `likelihoods`.
        text: the choice in words.
        size: latent_dim, or the shape of one datum.

    Raises:
        ValueError: an unknown name, a missing option, or a conditional that cannot be chosen by words.

    >>> from lowerbound import posteriors
    >>> outputs_of(posteriors, "diagonal-normal", 3)
    (2, 3)
    """
    name, options = parse(text)
    chosen = find(package, name)
    shape_of = getattr(chosen, "parameter_shape", None)
    if shape_of is None:
        raise ValueError(
            f"{name!r} has no parameter_shape, which says what its net must output; add that static method to "
            "its class, or build the model in Python."
        )
    deciding = dict(list(inspect.signature(shape_of).parameters.items())[1:])  # the first is the size
    for key, parameter in deciding.items():
        if parameter.default is parameter.empty:
            check_given(name, options, key)
    options = check_options(name, chosen, options)
    shape = shape_of(size, **{key: value for key, value in options.items() if key in deciding})
    if min(shape, default=1) < 1:
        raise ValueError(f"{_short(text)} asks its net for numbers of the shape {shape}; give larger options.")
    return shape


def check_given(name: str, options: Mapping[str, Any], key: str) -> None:
    """Refuse a choice that lacks a required option.

    Raises:
        ValueError: it does.
    """
    if key not in options:
        raise ValueError(f"{name} needs {key}; write it as {name}:{key}=VALUE.")


def takes(package: ModuleType, text: str, argument: str) -> bool:
    """Whether the constructor of a choice has an argument of that name.

    Raises:
        ValueError: there is no such choice.
    """
    return argument in inspect.signature(find(package, parse(text)[0])).parameters


def spelled(name: str, options: Mapping[str, Any]) -> str:
    """The words of a choice, which `parse` takes apart again.

    >>> spelled("vade", {"clusters": 12, "hidden": [128, 64]})
    'vade:clusters=12,hidden=[128,64]'
    """
    words = ",".join(f"{key}={value}".replace(" ", "") for key, value in options.items())
    return f"{name}:{words}" if words else name


def axis_of(package: ModuleType) -> str:
    """The singular name of an axis: "prior" for `lowerbound.priors`."""
    return singular(package.__name__.rpartition(".")[2])


def singular(name: str) -> str:
    """The name of one choice of a package: "loss" of losses."""
    return _SINGULAR.get(name, name.removesuffix("s"))


@cache
def _from_elsewhere(group: str) -> list[type]:
    """The classes that installed packages add to an axis."""
    return [found.load() for found in entry_points(group=group)]


def _parts(text: str) -> list[str]:
    """Split at commas, except those inside a list."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "[(") - (letter in "])")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part for part in parts if part]


def _is_choice(item: type) -> bool:
    """Whether a class is a choice: it can be made from words, and is neither a protocol nor a result."""
    if not getattr(item, "by_name", True):
        return False
    if getattr(item, "_is_protocol", False) or inspect.isabstract(item):
        return False
    if issubclass(item, nn.Module):
        return True
    wanted = ({"signal", "reduce"}, {"estimate", "check"}, {"__call__"})
    return any(all(method in dir(item) for method in needed) for needed in wanted)


def kebab(name: str) -> str:
    """The name of a class as a word: DiagonalNormal is diagonal-normal, BetaELBO beta-elbo, DisARM and DReG one word.

    >>> kebab("VampPrior")
    'vamp-prior'
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z][a-z])|(?<=[a-z]{3})(?=[A-Z]{3}|[A-Z]{1,2}$)", "-", name).lower()


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")


def _value(text: str) -> Any:
    if len(text) > _LONGEST:  # the kinds of many columns, say, which are no expression of Python
        return text
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):  # the last two where it is nested too deeply
        return text


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
