"""Run folders of format 1: settings with defaults still open, and no schema.

Open settings are filled in with the decisions of that version, not with those of today. Names of columns and classes
were not saved: `Run.fitted` takes them from the data if these still exist. In that version all columns of a table were
continuous and none was left out.
"""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import safetensors

from lowerbound.recipes import recipe_named

__all__ = ["from_format_1"]

_NOT_IN_PLAN = ("epochs",)


def from_format_1(path: Path, config: dict[str, Any]) -> dict[str, Any]:
    """Convert the content of a run.json from format 1 to format 2; its `format` stays 1.

    Raises:
        KeyError, TypeError, AttributeError, ValueError: it was altered.
    """
    settings, shape = dict(config["settings"]), list(config["event_shape"])
    recipe = recipe_named(settings["recipe"])
    open_to_recipe = {
        name: parameter.default
        for name, parameter in inspect.signature(recipe.make).parameters.items()
        if name in recipe.options
    }
    transform = _transform(path)
    is_image = len(shape) > 1 or transform.get("kind") == "pixels"
    settings["binarization"] = transform.get("binarization", "none")
    settings["standardize"] = transform.get("kind") == "standardize"
    settings["model"] = {**open_to_recipe, **settings["model"]}
    settings["recipe"] = recipe.name
    if settings["steps"] is None:
        settings["steps"] = _last_step(path)
    plan = {name: value for name, value in settings.items() if name not in _NOT_IN_PLAN}
    schema: dict[str, Any] = {
        "kind": "image" if is_image else "table",
        "event_shape": shape,
        "label": config["data"].get("label"),
        "pixel_levels": 256 if transform.get("scale") == 255.0 else None,
    }
    data = dict(config["data"])
    if not is_image:
        schema["columns"] = [{"name": str(i), "kind": "continuous"} for i in range(shape[0])]
        data |= {"kind": "table", "columns": {"*": "continuous"}}
    return {**config, "name": path.name, "data": data, "plan": plan, "schema": schema}


def _transform(path: Path) -> dict[str, Any]:
    """The description of the data transform; empty for a run that did not finish."""
    try:
        with safetensors.safe_open(str(path / "model.safetensors"), framework="pt") as file:
            return dict(json.loads((file.metadata() or {})["transform"]))
    except (OSError, safetensors.SafetensorError, KeyError, ValueError, TypeError):
        return {}


def _last_step(path: Path) -> int:
    """The steps that a finished run took."""
    try:
        return int(json.loads((path / "metrics.jsonl").read_text().splitlines()[-1])["step"])
    except (OSError, IndexError, KeyError, ValueError):
        raise ValueError("it did not finish and does not say its number of steps; start it anew") from None
