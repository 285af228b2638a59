"""The answers of an explorer as plain values for JSON: numbers that are not finite are null."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lowerbound.diagnosis import Diagnosis
from lowerbound.explorer.explorer import Explorer
from lowerbound.explorer.planes import LatentPlane
from lowerbound.explorer.views import encoded
from lowerbound.plots.style import CLASS_COLOURS, CLASS_COLOURS_ON_DARK

__all__ = ["colour_answer", "content_answer", "encode_answer", "findings_answer", "plane_answer", "row_answer"]

_DIGITS = 5


def content_answer(explorer: Explorer) -> dict[str, Any]:
    """What a page needs first: codes, colours by name, latents, and how a row is asked for."""
    fitted, rows, space = explorer.fitted, explorer.rows, explorer.space
    principal = explorer.principal
    return {
        "title": f"{fitted.name if fitted.plan is None else fitted.plan.recipe} on {rows.name}",
        "notes": _notes(explorer),
        "count": len(rows.x),
        "size": space.size,
        "codes": encoded(explorer.mean),
        "scales": encoded(explorer.scale),
        "isProduct": space.is_product,
        "decodes": space.shape is not None,
        "latents": _latents(explorer),
        "principal": None if principal is None else _principal(*principal),
        "colours": [{"name": c.name, "names": c.names, "isColumn": c.computed is None} for c in explorer.colours],
        "palette": {"light": CLASS_COLOURS, "dark": CLASS_COLOURS_ON_DARK},
        "form": explorer.form,
        "needsContext": explorer.needs_context,
    }


def colour_answer(explorer: Explorer, number: int) -> dict[str, Any]:
    """The values of a colour."""
    if not 0 <= number < len(explorer.colours):
        raise ValueError(f"There is no colour {number}; there are {len(explorer.colours)}.")
    return {"values": encoded(explorer.colours[number].values(explorer.rows))}


def row_answer(explorer: Explorer, row: int, neighbours: bool = True) -> dict[str, Any]:
    """A row: what it is, what the model makes of it, and the rows that are nearest to it."""
    view, again = explorer.originals([row])[0], explorer.reconstructions([row])[0]
    near = explorer.neighbours(row)
    draws = explorer.draws_of(row)
    terms = explorer.terms
    return {
        "words": words_of_row(explorer, row),
        "original": view,
        "reconstruction": again,
        "cells": _cells_for_form(explorer, row),
        "logW": None if terms.log_w is None else _number(terms.log_w[row]),
        "rate": None if terms.rate is None else _number(terms.rate[row]),
        "rates": None if terms.rates is None else [_number(value) for value in terms.rates[row]],
        "neighbours": near,
        "views": explorer.originals(near) if neighbours else None,
        "draws": None if draws is None else encoded(draws),
    }


def words_of_row(explorer: Explorer, row: int) -> str:
    """The number of the row in the data, its name, and its label."""
    rows = explorer.rows
    words = f"row {row if rows.numbers is None else int(rows.numbers[row])}"
    if rows.row_names is not None:
        words += f" ({rows.row_names[row]})"
    for colour in explorer.colours:
        if colour.computed is not None and colour.names is not None:
            value = int(colour.computed[row])
            words += f", {colour.name} {colour.names[value] if 0 <= value < len(colour.names) else 'unknown'}"
    return words


def plane_answer(plane: LatentPlane) -> dict[str, Any]:
    """Contours and holes of a plane."""
    return {
        "box": plane.box,
        "contours": [[share, [_short(line).tolist() for line in lines]] for share, lines in plane.contours],
        "cells": len(plane.holes),
        "holes": encoded(plane.holes, "u1"),
        "share": plane.share,
        "sentence": plane.sentence,
    }


def encode_answer(found: dict[str, Any]) -> dict[str, Any]:
    """A row that a user made."""
    return {
        "mean": encoded(found["mean"]),
        "scale": encoded(found["scale"]),
        "logW": _number(found["log_w"]),
        "rate": _number(found["rate"]),
        "original": found["own"],
        "reconstruction": found["reconstruction"],
    }


def findings_answer(diagnosis: Diagnosis) -> list[dict[str, Any]]:
    """The findings of a diagnosis, those that are present first."""
    from lowerbound.report import format_evidence, format_range, verdict

    order = {True: 0, False: 1, None: 2}
    return [
        {
            "name": one.name,
            "verdict": verdict(one),
            "sentence": one.sentence,
            "evidence": format_evidence(one.evidence),
            "healthy": format_range(one.evidence),
            "remedy": one.remedy,
        }
        for one in sorted(diagnosis.findings, key=lambda one: order[one.present])
    ]


def _notes(explorer: Explorer) -> list[str]:
    """Sentences on what is shown."""
    rows, shown = explorer.rows, len(explorer.rows.x)
    of_all = "" if shown == explorer.num_all else f", chosen at random from {explorer.num_all:,}"
    notes = [f"{shown:,} rows of {rows.name}{of_all}, each at the mean of q(z | x)."]
    if explorer.space.limits is not None:
        notes.append(explorer.space.limits)
    if explorer.terms.log_w is None:
        notes.append("q(z | x) has no density, so that rows have no log w and no rate.")
    if explorer.needs_context:
        what = "the covariates" if explorer.fitted.schema.covariates else "the class"
        notes.append(f"The decoder is also given {what}: those of the row that is chosen, of the first row before.")
    return [*notes, *explorer.fitted.notes]


def _latents(explorer: Explorer) -> list[dict[str, Any]]:
    """Each latent with its activity and its mean rate (nats), where that is known."""
    rates, activity, silent = explorer.terms.rates, explorer.activity, explorer.silent
    mean = None if rates is None or rates.shape[1] != len(activity) else rates.mean(0, dtype=np.float64)
    rate = [None] * len(activity) if mean is None else [_number(value) for value in mean]
    return [
        {"activity": _number(activity[d]), "rate": rate[d], "silent": bool(silent[d])} for d in range(len(activity))
    ]


def _principal(directions: Any, shares: tuple[float, float]) -> dict[str, Any]:
    return {"origin": encoded(directions.origin), "basis": encoded(directions.basis), "shares": shares}


def _cells_for_form(explorer: Explorer, row: int) -> Any:
    """The row as the form takes it, so that a user can change it and encode it again; None for drawings."""
    form, x = explorer.form, np.asarray(explorer.rows.x[row : row + 1])
    if form["kind"] == "fields":
        from lowerbound.explorer.views import cells_of

        return dict(cells_of(x, explorer.fitted.schema)[0])
    if form["kind"] == "numbers":
        return [_number(value) for value in x.ravel()]
    if form["kind"] == "text":
        return explorer.originals([row])[0]["text"]
    return None


def _number(value: Any) -> float | None:
    if value is None or not math.isfinite(value):
        return None
    return float(f"{float(value):.6g}")


def _short(line: np.ndarray) -> np.ndarray:
    return np.round(line, _DIGITS)
