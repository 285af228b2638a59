r"""The page: one HTML file with its style, its script and, if it is saved, its content.

A policy in the head lets the page run this one script, known by its hash, and show pictures that are written in it. A
saved page may fetch nothing at all; a served one asks only where it came from. The content is no script but text, in
which "<" is written as \u003c, so that no name in the data can end the element that holds it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

__all__ = ["page", "policy", "to_json"]

_SCRIPTS = ("source.js", "views.js", "map.js", "own.js", "page.js")


def page(title: str, content: dict[str, Any] | None) -> str:
    """The whole page.

    Arguments:
        title: of the window.
        content: all that a saved page shows; None for a page that asks its server.

    >>> "<title>a &lt; b</title>" in page("a < b", None)
    True
    """
    return (
        _static("page.html")
        .replace("{policy}", escape(policy(is_served=content is None)))
        .replace("{title}", escape(title))
        .replace("{style}", _static("style.css"))
        .replace("{script}", _script())
        .replace("{content}", to_json(content).replace("<", "\\u003c"))
    )


def policy(*, is_served: bool) -> str:
    """What the page may load."""
    return (
        f"default-src 'none'; script-src '{_hash(_script())}'; style-src '{_hash(_static('style.css'))}'; "
        f"img-src data:; connect-src {chr(39)}{'self' if is_served else 'none'}{chr(39)}; base-uri 'none'; "
        "form-action 'none'"
    )


def to_json(value: Any) -> str:
    """Plain values as JSON; null for a number that is not finite, which JSON cannot write.

    >>> to_json({"a": [1.5, float("nan")]})
    '{"a":[1.5,null]}'
    """
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":"))
    except ValueError:
        return json.dumps(_finite(value), allow_nan=False, separators=(",", ":"))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@cache
def _script() -> str:
    return "\n".join(["'use strict';", *map(_static, _SCRIPTS)])


@cache
def _static(name: str) -> str:
    return files("lowerbound.explorer").joinpath("static", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}"
