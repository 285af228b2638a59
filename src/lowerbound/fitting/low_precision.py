"""Whether the products of nets are computed in bfloat16 where the user did not say.

They are on a CPU that has instructions for it (AVX512-BF16, AMX), for wide perceptrons, and for those choices with
which training was compared to float32 over seeds and the bound was the same (`benchmarks/precision.py`). All else is
float32: IWAE, which lost a third of a nat with each seed; narrow nets, which were not compared;
other likelihoods, because a location has eight bits in bfloat16, an error of up to 0.4 % of its distance from 0, which
is large beside a small scale. A logit bears it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lowerbound.nets.precision import multiplies_bf16
from lowerbound.spelling import parse
from lowerbound.training.engine import Engine

__all__ = ["WIDE", "reason_for_bf16"]

WIDE = 256
"""The least width of columns and hidden layers with which training was compared."""

_COMPARED: Mapping[str, tuple[Any, ...]] = {
    "network": ("mlp",),
    "prior": ("standard-normal",),
    "likelihood": ("bernoulli",),
    "posterior": ("diagonal-normal",),
    "objective": ("elbo",),
    "gradient": ("pathwise",),
    "loss": ("variational",),
    "penalty": (None,),
    "inference": (None,),
}


def reason_for_bf16(recipe: str, event_shape: tuple[int, ...], settings: Mapping[str, Any]) -> str | None:
    """Why a fit is computed in bfloat16, or None if it is computed in float32.

    Arguments:
        recipe: its name.
        event_shape: of one datum.
        settings: all settings of the plan and options of the recipe.
    """
    if recipe != "vae" or not _on_cpu(settings["device"]) or not multiplies_bf16():
        return None
    compared = all(_name(settings.get(setting)) in names for setting, names in _COMPARED.items())
    widths = [math.prod(event_shape), *(settings["hidden"] or ())]
    if not compared or len(widths) < 2 or min(widths) < WIDE:
        return None
    return f"this processor multiplies in bfloat16, and the layers are {min(widths)} wide or more"


def _on_cpu(device: str) -> bool:
    return device == "cpu" or (device == "auto" and Engine().accelerator == "cpu")


def _name(choice: Any) -> Any:
    return parse(choice)[0] if isinstance(choice, str) else choice
