"""What a plan needs of memory, told before any of it is asked for.

The model is made on torch's meta device, where tensors have shapes and no numbers; makers that look at numbers (masks
of flows) are run as they are. Both under a count of what they ask for, which stops at the request that is too much. The
estimate is one from below: parameters, gradients, moments and the copies of the weights that training keeps, and the
output of each layer for one batch. What it refuses would not fit; what it lets through may still not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from lowerbound.data.memory import available_memory, size_in_words
from lowerbound.hooks import EndsInState
from lowerbound.model import LatentVariableModel
from lowerbound.models.recipe import Recipe
from lowerbound.nets.residual import Bottleneck
from lowerbound.nets.shapes import Shape, as_shape
from lowerbound.randomness import forked

__all__ = ["StepSize", "check_draws", "check_model", "layer_outputs"]

_MOST_TENSORS = 10_000
_BYTES = 4
_WEIGHT, _TRAINED = 1, 8  # numbers for each parameter: itself; with gradient, two moments, the best and the last good
_CONVOLVED = 8  # strided layers have so many times fewer places than the image
_RANGES = {torch.arange, torch.randperm}
_SIZED = {torch.empty, torch.zeros, torch.ones, torch.rand, torch.randn, torch.full, torch.eye, *_RANGES}


@dataclass(frozen=True, kw_only=True)
class StepSize:
    """What a step holds at once.

    Attributes:
        rows: of a batch, or of the part of it that is computed at a time.
        num_samples: latents of each.
        solved: whether the model is solved without steps, and so keeps no moments.
    """

    rows: int
    num_samples: int
    solved: bool = False


def check_model(recipe: Recipe, options: dict[str, Any], event_shape: Shape, training: StepSize | None = None) -> None:
    """Refuse a model that memory cannot hold.

    Arguments:
        recipe: makes the model.
        options: its keyword values.
        event_shape: shape of one datum.
        training: what a step holds; None for a model that is only opened.

    Raises:
        ValueError: with the bytes that it needs at least and those that are free; or what the recipe refuses.
    """
    per_parameter = _WEIGHT if training is None or training.solved else _TRAINED
    limit = available_memory()
    model = _made(lambda: recipe.model(event_shape, options), limit, per_parameter * _BYTES)
    count = sum(p.numel() for p in model.parameters())
    needed = count * per_parameter * _BYTES
    if training is not None and not training.solved:
        outputs = layer_outputs(model.posterior, event_shape)
        outputs += training.num_samples * layer_outputs(model.likelihood, event_shape)
        if isinstance(model.prior, EndsInState):  # which the decoder is
            outputs += training.num_samples * layer_outputs(model.prior, event_shape)
        needed += training.rows * (outputs + math.prod(as_shape(event_shape))) * _BYTES
    _require(needed, limit, f"{count:,} parameters{_step(training)}")


def check_draws(count: int, model: LatentVariableModel, event_shape: Shape) -> None:
    """Refuse more draws than memory holds at once.

    Raises:
        ValueError: with the bytes that they need at least and those that are free.
    """
    needed = count * (layer_outputs(model.likelihood, event_shape) + 3 * math.prod(as_shape(event_shape))) * _BYTES
    _require(needed, available_memory(), f"{count:,} draws", "ask for fewer at a time")


def layer_outputs(part: object, event_shape: Shape) -> int:
    """Numbers that the layers of a part give for one row, from below: those of nets of full layers and convolutions."""
    if not isinstance(part, nn.Module):
        return 0
    places = max(1, math.prod(as_shape(event_shape)) // _CONVOLVED)
    stated = {layer: m.places for m in part.modules() if isinstance(m, Bottleneck) for layer in m.layers}
    return sum(
        m.out_features if isinstance(m, nn.Linear) else m.out_channels * stated.get(m, places)
        for m in part.modules()
        if isinstance(m, nn.Linear | nn.modules.conv._ConvNd)
    )


def _made(make: Callable[[], LatentVariableModel], limit: int, per_number: int) -> LatentVariableModel:
    """The model without its numbers, where it can be made so."""
    with torch.no_grad(), forked(torch.device("cpu"), 0):
        try:
            with torch.device("meta"), _Counting(limit, per_number):
                return make()
        except (RuntimeError, NotImplementedError):  # it looks at numbers
            with _Counting(limit, per_number):
                return make()


class _Counting(TorchFunctionMode):
    """Adds up what is asked for and refuses the request that goes beyond the limit."""

    def __init__(self, limit: int, per_number: int):
        self.limit, self.per_number = limit, per_number
        self.numbers = self.tensors = 0

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        if func in _SIZED:
            self.numbers += _numel(func, args, kwargs or {})
            self.tensors += 1
            _require(self.numbers * self.per_number, self.limit, f"over {self.numbers:,} parameters")
            if self.tensors > _MOST_TENSORS:
                raise ValueError(
                    f"The model asks for more than {_MOST_TENSORS:,} layers; take smaller numbers of layers or steps."
                )
        return func(*args, **(kwargs or {}))


def _numel(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    """How many numbers are asked for."""
    given = args or (kwargs.get("size", ()),)
    lengths: list[int] = []
    for part in given[:1] if func is torch.full else given:
        lengths += part if isinstance(part, tuple | list) else [part] if isinstance(part, int) else []
    if func in _RANGES:
        return max([0, *lengths])
    return math.prod(lengths * 2 if func is torch.eye and len(lengths) == 1 else lengths)


def _step(training: StepSize | None) -> str:
    if training is None or training.solved:
        return ""
    return f" with their moments, steps of {training.rows:,} rows and {training.num_samples:,} samples"


def _require(
    needed: int,
    limit: int,
    what: str,
    remedy: str = "take smaller layers, latent_dim, batch_size or num_samples",
) -> None:
    if needed > limit:
        raise ValueError(
            f"The plan needs at least {size_in_words(needed)} of memory ({_short(what)}) and {size_in_words(limit)} "
            f"are free; {remedy}."
        )


def _short(what: str) -> str:
    return what if len(what) <= 110 else f"{what[:107]}..."
