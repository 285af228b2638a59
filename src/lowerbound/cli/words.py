"""Messages of the library in the words of the command.

The library speaks Python, as in kind='array', latent_dim and BetaELBO(rate='kl'). Who reads them in a terminal writes
--kind array, --latent-dim and beta-elbo:rate=kl. They are put into these words here, for every message, so that no
message has to be written twice. What a user named, between quotes, in paths and in options of choices, stays as it is.
"""

from __future__ import annotations

import re
import sys
from functools import cache

__all__ = ["in_words_of_command"]

_AXES = ("priors", "likelihoods", "posteriors", "objectives", "gradients", "penalties", "losses", "inference")
_BOTH = re.compile(r"\b\w+=(?:\{[^{}]*\}|'[^']*'|\"[^\"]*\") \((--[^()]+)\)")
_OF = rf"(?<![\w.'/])(?:(?:{'|'.join(_AXES)})\.)?"
_MADE = re.compile(rf"{_OF}([A-Z]\w+)\(([^()]*(?:\([^()]*\)[^()]*)*)\)(?!\.?\w)")
_WITHIN = r"(?:[^']|(?<=\w)'(?=\w))"  # an apostrophe too
_TEXT = re.compile(rf"(?<![\w.'/-])([a-z]\w*)='({_WITHIN}*)'")
_NUMBER = re.compile(r"(?<![\w.'/:,(-])([a-z]\w*)=(\d[\d.e-]*\b)")
_NAME = re.compile(r"(?<![\w.'/\\:,(=-])([a-z]+(?:_[a-z]+)+)(?![\w'/\\=(-]|\.\w)")
_CLASS = re.compile(rf"{_OF}([A-Z]\w*[a-z]\w*)(?![\w'/(-]|\.\w)")
_GOT = re.compile(r"\bgot [^;:]*$")
_QUOTED = re.compile(rf"(?<![\w=])'({_WITHIN}+)'(?!\w)")
_PLACE = re.compile("\0(\\d+)\0")
_PLAIN = re.compile(r"[\w:=.,…/+-]+")


def in_words_of_command(message: str) -> str:
    """The message as a user of the command would have written it.

    >>> in_words_of_command("x.npy holds no pixels: say kind='array', or make latent_dim smaller.")
    'x.npy holds no pixels: say --kind array, or make --latent-dim smaller.'
    >>> import lowerbound.objectives
    >>> in_words_of_command("Quantized got IWAE(); use ELBO() or BetaELBO(rate='sampled').")
    'Quantized got iwae; use elbo or beta-elbo:rate=sampled.'
    """
    message = _BOTH.sub(r"\1", message.replace("\0", ""))
    held: list[str] = []  # what users wrote, which no rule may see
    message = _QUOTED.sub(lambda found: f"'{_hold(found[1], held)}'", message)
    message = _MADE.sub(lambda found: _made(found) or found[0], message)
    message = _CLASS.sub(lambda found: _class(found[1]) or found[0], message)
    message = _TEXT.sub(lambda found: _option(found, held), message)
    message = _NUMBER.sub(lambda found: _option(found, held), message)
    message = _NAME.sub(lambda found: _flags().get(found[1], found[1]), message)
    return _PLACE.sub(lambda found: held[int(found[1])], message)


def _hold(text: str, held: list[str]) -> str:
    held.append(text)
    return f"\0{len(held) - 1}\0"


def _option(found: re.Match[str], held: list[str]) -> str:
    """An option of the command; or, without the quotes of Python, one of another function or of a choice, such as a
    refusal says that it got.
    """
    name, value, before = found[1], found[2], found.string[: found.start()]
    quoted = _hold(value if _PLAIN.fullmatch(value) else f'"{value}"', held)
    is_own = name in _flags() and not before.endswith((":", ",", "(")) and not _GOT.search(before)
    return f"{_flags()[name]} {quoted}" if is_own else f"{name}={quoted}"


def _made(found: re.Match[str]) -> str | None:
    """The words of an object of a choice; None for anything else, or where an argument has no name."""
    name, arguments = _choices().get(found[1]), found[2].replace(", ", ",")
    if name is None or not all("=" in part for part in arguments.split(",") if part):
        return None
    inner = _MADE.sub(lambda part: _made(part) or part[0], arguments).replace("'", "")
    return f"{name}:{inner}" if inner else name


def _class(name: str) -> str | None:
    """A class whose name is of several words, which are no other word of a sentence."""
    found = _choices().get(name, "")
    return found if "-" in found else None


@cache
def _flags() -> dict[str, str]:
    """The options of `lowerbound fit` by the names that Python has for them."""
    from lowerbound.cli.fit import fit

    return {str(option.name): option.opts[0] for option in fit.params if option.opts[0].startswith("--")}


def _choices() -> dict[str, str]:
    """The choices by their classes; only what is imported can have written a message."""
    from lowerbound.spelling import choices

    packages = [sys.modules[name] for axis in _AXES if (name := f"lowerbound.{axis}") in sys.modules]
    return {made.__name__: word for package in packages for word, made in choices(package).items()}
