"""Whether the products of nets are computed in bfloat16 where the user did not say.

They are on a CPU that has instructions for it (AVX512-BF16, AMX), for wide perceptrons and for LSTMs of text with many
symbols, and for those choices with which training was compared to float32 over seeds and the bound was the same
(`benchmarks/precision.py`). An LSTM itself stays float32. All else is float32: IWAE, which lost a third of a nat with
each seed; narrow nets, which were not compared; other likelihoods, because a location has eight bits in bfloat16, an
error of up to 0.4 % of its distance from 0, which is large beside a small scale. A logit bears it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lowerbound.nets.precision import multiplies_bf16
from lowerbound.spelling import parse
from lowerbound.training.engine import Engine

__all__ = ["MANY_SYMBOLS", "WIDE", "reason_for_bf16"]

WIDE = 256
"""The least width of hidden layers with which training was compared; rows are asked to be as wide."""

MANY_SYMBOLS, _WIDE_OF_TEXT = 4096, 128
"""The fewest symbols of text, and the least width of embedding and layers; compared with 10,000, 128 and 256."""

_COMPARED: Mapping[str, tuple[Any, ...]] = {
    "posterior": ("diagonal-normal", None),
    "prior": ("standard-normal", None),
    "gradient": ("pathwise",),
    "loss": ("variational",),
    "penalty": (None,),
    "inference": (None,),
}
_OF_PERCEPTRONS = {**_COMPARED, "network": ("mlp",), "likelihood": ("bernoulli",), "objective": ("elbo",)}
_OF_TEXT = {
    **_COMPARED,
    "decoder": ("lstm",),
    "encoder": ("lstm", None),
    "context_at": ("every-step",),
    "softmax": ("full",),
    "likelihood": ("tokens",),
    "objective": ("elbo", "beta-elbo"),
}


def reason_for_bf16(recipe: str, event_shape: tuple[int, ...], settings: Mapping[str, Any]) -> str | None:
    """Why a fit is computed in bfloat16, or None if it is computed in float32.

    Arguments:
        recipe: its name.
        event_shape: of one datum.
        settings: all settings of the plan and options of the recipe.
    """
    if not _on_cpu(settings["device"]) or not multiplies_bf16():
        return None
    if recipe == "vae":
        return _for_perceptrons(event_shape, settings)
    return _for_text(settings) if recipe in ("language-model", "sentence-vae") else None


def _for_perceptrons(event_shape: tuple[int, ...], settings: Mapping[str, Any]) -> str | None:
    widths = [math.prod(event_shape), *(settings["hidden"] or ())]
    if not _were_compared(_OF_PERCEPTRONS, settings) or len(widths) < 2 or min(widths) < WIDE:
        return None
    return f"this processor multiplies in bfloat16, and the layers are {min(widths)} wide or more"


def _for_text(settings: Mapping[str, Any]) -> str | None:
    if not _were_compared(_OF_TEXT, settings) or min(settings["embedding_dim"], settings["width"]) < _WIDE_OF_TEXT:
        return None
    options, (objective, weights) = parse(settings["likelihood"])[1], parse(settings["objective"])
    count = options.get("num_symbols", 0)
    is_bound = objective == "elbo" or weights.get("beta") == 1  # others were not compared
    if set(options) != {"num_symbols"} or count < MANY_SYMBOLS or not is_bound:
        return None
    return f"this processor multiplies in bfloat16, and the scores of {count:,} symbols are most of a step"


def _were_compared(compared: Mapping[str, tuple[Any, ...]], settings: Mapping[str, Any]) -> bool:
    return all(_name(settings.get(setting)) in names for setting, names in compared.items())


def _on_cpu(device: str) -> bool:
    return device == "cpu" or (device == "auto" and Engine().accelerator == "cpu")


def _name(choice: Any) -> Any:
    return parse(choice)[0] if isinstance(choice, str) else choice
