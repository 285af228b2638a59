"""What was fitted, by which choices and how well, in a few lines: for `print`, and as a table for notebooks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lowerbound.data.errors import clipped
from lowerbound.html_tables import html_table

if TYPE_CHECKING:
    from lowerbound.data.schema import Schema
    from lowerbound.fitting.planning import Plan

__all__ = ["html_of_fit", "lines_of_fit"]

_SETTINGS = ("objective", "gradient", "loss", "steps", "seed")
_LONGEST, _MOST_LEFT_OUT = 100, 8


def html_of_fit(name: str, schema: Schema, plan: Plan | None, scores: Mapping[str, Any] | None) -> str:
    """A table with a row for each choice."""
    left = [("left out", ", ".join(_left_out(schema)))] if schema.left_out else []
    rows = [("data", _data(schema)), *left, *_choices(plan).items(), *_scores(scores).items()]
    return html_table(_title(name, plan), rows)


def lines_of_fit(name: str, schema: Schema, plan: Plan | None, scores: Mapping[str, Any] | None) -> str:
    """Lines for the terminal: the data, the choices one after another, and the scores."""
    parts = {"data": _data(schema), "left out": _folded(_left_out(schema))}
    parts["choices"] = _folded([f"{key} {clipped(str(value))}" for key, value in _choices(plan).items()])
    scored = "; ".join(f"{key} {value}" for key, value in _scores(scores).items())
    parts["score"] = scored or "not evaluated: evaluate() scores its test rows"
    return "\n".join([_title(name, plan), *(f"  {key:<9}{words}" for key, words in parts.items() if words)])


def _title(name: str, plan: Plan | None) -> str:
    return f"{name}, built by hand" if plan is None else f"{plan.recipe} model"


def _data(schema: Schema) -> str:
    shape = " × ".join(str(n) for n in schema.event_shape)
    names = [] if not schema.has_names else [column.name for column in schema.columns or ()]
    shown = ", ".join(name[:20] for name in names[:4]) + (", …" if len(names) > 4 else "")
    return f"{schema.kind}, {shape}" + (f" ({shown})" if names else "")


def _left_out(schema: Schema) -> list[str]:
    """Columns that are no part of the data, each with the reason; of many the first."""
    more = len(schema.left_out) - _MOST_LEFT_OUT
    named = [f"{clipped(item.name, 20)} ({clipped(item.reason)})" for item in schema.left_out[:_MOST_LEFT_OUT]]
    return [*named, f"{more} more"] if more > 0 else named


def _choices(plan: Plan | None) -> dict[str, object]:
    if plan is None:
        return {}
    settings = plan.in_use()
    chosen = {name: settings[name] for name in _SETTINGS if settings.get(name) is not None}
    return chosen | {name.replace("_", " "): value for name, value in plan.model.items() if value is not None}


def _scores(scores: Mapping[str, Any] | None) -> dict[str, str]:
    """Means over test rows with their standard errors, nats."""
    found = {}
    for name in ("elbo", "log_evidence"):
        value, error = (scores or {}).get(name), (scores or {}).get(f"{name}_standard_error")
        if value is not None:
            found[f"{name.replace('_', ' ')}, nats"] = f"{value:.4g}" + (f" ± {error:.2g}" if error is not None else "")
    return found


def _folded(words: list[str]) -> str:
    """Words with commas between, in lines that are not too long; "" of none."""
    lines = [""]
    for word in words:
        joined = f"{lines[-1]}, {word}" if lines[-1] else word
        lines = [*lines[:-1], joined] if len(joined) <= _LONGEST else [*lines, word]
    return f",\n{' ' * 11}".join(lines)
