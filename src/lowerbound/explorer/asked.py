"""What a page asks, read from JSON that anybody may have sent: names, types and numbers are checked before the model is
asked.

Each question is a function whose arguments are the names that its JSON object may have, with their types.
"""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from lowerbound.explorer.answers import (
    colour_answer,
    encode_answer,
    findings_answer,
    plane_answer,
    row_answer,
)
from lowerbound.explorer.explorer import Explorer
from lowerbound.explorer.views import encoded
from lowerbound.typed import WrongType, annotations_of, as_annotated
from lowerbound.verbs.interpolating import Way

__all__ = ["QUESTIONS", "answer", "read_question"]

_LONGEST_NUMBER, _NUM_STEPS = 40, 9


def read_question(body: bytes) -> dict[str, Any]:
    """The JSON object of a question.

    Raises:
        ValueError: the bytes are no JSON object, or hold numbers that are not finite or endless.
    """
    try:
        found = json.loads(body, parse_float=_number, parse_int=_whole, parse_constant=_number)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"A question is a JSON object; got something else ({str(error)[:80]}).") from None
    if not isinstance(found, dict):
        raise ValueError(f"A question is a JSON object; got a {type(found).__name__}.")
    return found


def answer(explorer: Explorer, name: str, question: Mapping[str, Any]) -> Any:
    """The answer to a question of `QUESTIONS`, as plain values.

    Raises:
        ValueError: a name or a value that the question does not take, or what the model refuses.
    """
    ask = QUESTIONS[name]
    hints = annotations_of(ask)
    known = [argument for argument in hints if argument != "explorer"]
    unknown = sorted(set(question) - set(known))
    if unknown:
        raise ValueError(f"{name} has no {unknown[0][:40]!r}; it takes {', '.join(known) or 'nothing'}.")
    missing = [argument for argument in _needed(ask) if argument not in question]
    if missing:
        raise ValueError(f"{name} needs {missing[0]}.")
    values = {}
    for argument in question:
        try:
            values[argument] = as_annotated(question[argument], hints[argument])
        except WrongType as error:
            raise ValueError(f"{argument} of {name} has another type; {error}.") from None
    return ask(explorer, **values)


def _needed(ask: Callable[..., Any]) -> list[str]:
    arguments = inspect.signature(ask).parameters.values()
    return [one.name for one in arguments if one.default is inspect.Parameter.empty and one.name != "explorer"]


def _row(explorer: Explorer, row: int) -> Any:
    return row_answer(explorer, _known(explorer, row))


def _colour(explorer: Explorer, number: int) -> Any:
    return colour_answer(explorer, number)


def _plane(explorer: Explorer, axes: list[int] | None = None) -> Any:
    if axes is None:
        return plane_answer(explorer.plane(None))
    if len(axes) != 2:
        raise ValueError(f"axes of plane are {len(axes)} numbers; give two, or null for the principal components.")
    return plane_answer(explorer.plane((axes[0], axes[1])))


def _decode(explorer: Explorer, latents: list[list[float]], row: int = 0, quick: bool = False) -> Any:
    return explorer.decode(latents, row, is_quick=quick)


def _walk(explorer: Explorer, a: list[float], b: list[float], way: Way = "line", row: int = 0) -> Any:
    z, views = explorer.walk(a, b, way, _NUM_STEPS, row)
    return {"latents": [encoded(one) for one in z], "views": views}


def _encode(explorer: Explorer, given: Any, row: int = 0) -> Any:
    return encode_answer(explorer.encode(given, _known(explorer, row)))


def _diagnose(explorer: Explorer) -> Any:
    return findings_answer(explorer.diagnose())


QUESTIONS: dict[str, Callable[..., Any]] = {
    "row": _row,
    "colour": _colour,
    "plane": _plane,
    "decode": _decode,
    "walk": _walk,
    "encode": _encode,
    "diagnose": _diagnose,
}
"""By the last part of their path."""


def _known(explorer: Explorer, row: int) -> int:
    if not 0 <= row < len(explorer.rows.x):
        raise ValueError(f"There is no row {row}; the map has {len(explorer.rows.x):,}.")
    return row


def _number(text: str) -> float:
    value = float(text) if len(text) <= _LONGEST_NUMBER else math.nan
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is no finite number")
    return value


def _whole(text: str) -> int:
    if len(text) > 18:
        raise ValueError(f"{text[:20]} is too large")
    return int(text)
