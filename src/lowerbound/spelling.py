"""From the words of a command line to the classes of the library, without a registry.

A choice is the kebab-case name of a class that a package exports, with options after a colon: "diagonal-normal",
"normal:scale=heteroscedastic,min_scale=0.01". The axis may be left out of a name ("vamp" for `VampPrior`). What a class
needs and the words do not say (latent_dim, event_shape, net, posterior) is given to it by the name of its argument.
"""

from __future__ import annotations

import ast
import difflib
import inspect
import re
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from torch import nn

__all__ = ["axis_of", "build", "choices", "construct", "find", "parse"]


_ANY = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_SINGULAR = {"losses": "loss", "penalties": "penalty"}


def choices(package: ModuleType) -> dict[str, type]:
    """The classes on one axis (a package such as `lowerbound.priors`) by name.

    >>> import lowerbound.objectives
    >>> choices(lowerbound.objectives)["iwae"].__name__
    'IWAE'
    """
    exported = [getattr(package, name) for name in package.__all__]
    return {_kebab(item.__name__): item for item in exported if inspect.isclass(item) and _is_choice(item)}


def parse(text: str) -> tuple[str, dict[str, Any]]:
    """Split "name:key=value,key=value" into the name and its options.

    >>> parse("normal:scale=shared,min_scale=0.01")
    ('normal', {'scale': 'shared', 'min_scale': 0.01})
    >>> parse("ladder:latent_dims=[8,4],hidden=[[32,32],[16]]")
    ('ladder', {'latent_dims': [8, 4], 'hidden': [[32, 32], [16]]})

    Raises:
        ValueError: an option without a value.
    """
    name, _, rest = text.partition(":")
    options = {}
    for part in _parts(rest):
        key, equals, value = part.partition("=")
        if not equals:
            raise ValueError(f"{text!r} has the option {part!r} without a value; write it as {part}=VALUE.")
        options[key.strip().replace("-", "_")] = _value(value.strip())
    return name.strip(), options


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
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or sorted(known)
    raise ValueError(f"There is no {axis} named {name!r}; choose one of {', '.join(near)}.")


def construct(package: ModuleType, text: str, **available: Any) -> Any:
    """Make the object that a text describes.

    Arguments:
        package: the axis.
        text: see `parse`.
        available: what its constructor may ask for by name.

    Raises:
        ValueError: an unknown name or option, an option with a bad value, or none where one is needed.
    """
    return build(package, *parse(text), **available)


def build(package: ModuleType, name: str, options: Mapping[str, Any], **available: Any) -> Any:
    """`construct`, given the name and the options apart; their values may then be objects."""
    cls = find(package, name)
    signature = inspect.signature(cls).parameters
    unknown = [key for key in options if key not in signature or key in available]
    if unknown:
        allowed = [key for key in signature if key not in available]
        raise ValueError(
            f"{_kebab(cls.__name__)} has no option {unknown[0]!r}; it has {', '.join(allowed) or 'no options'}."
        )
    given = {**{key: value for key, value in available.items() if key in signature}, **options}
    needed = [key for key, value in signature.items() if value.default is value.empty and value.kind not in _ANY]
    missing = [key for key in needed if key not in given]
    if missing:
        raise ValueError(f"{_kebab(cls.__name__)} needs {missing[0]}; write it as {name}:{missing[0]}=VALUE.")
    return cls(**given)


def axis_of(package: ModuleType) -> str:
    """The singular name of an axis: "prior" for `lowerbound.priors`."""
    name = package.__name__.rpartition(".")[2]
    return _SINGULAR.get(name, name.removesuffix("s"))


def _parts(text: str) -> list[str]:
    """What stands between commas, but for those inside of a list."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "[(") - (letter in "])")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part for part in parts if part]


def _is_choice(item: type) -> bool:
    """Whatever has the methods of an axis and is made from words; not a protocol, nor a result beside the choices."""
    if not getattr(item, "by_name", True):
        return False
    if getattr(item, "_is_protocol", False) or inspect.isabstract(item):
        return False
    if issubclass(item, nn.Module):
        return True
    wanted = ({"signal", "reduce"}, {"estimate", "check"}, {"__call__"})
    return any(all(method in dir(item) for method in needed) for needed in wanted)


def _kebab(name: str) -> str:
    """Words apart: "DiagonalNormal" is diagonal-normal, "BetaELBO" beta-elbo, "DisARM" and "DReG" one word each."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z][a-z])|(?<=[a-z]{3})(?=[A-Z]{3}|[A-Z]{2}$)", "-", name).lower()


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
