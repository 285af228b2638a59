"""What the named models share: which net a conditional asks for, and the words for nonlinearities."""

from __future__ import annotations

import inspect
from types import ModuleType
from typing import Literal, TypeAlias

from torch import nn

from lowerbound.spelling import find, parse

__all__ = ["Activation", "nonlinearity", "outputs_of"]

Activation: TypeAlias = Literal["relu", "tanh", "elu", "silu", "softplus"]
_ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "elu": nn.ELU, "silu": nn.SiLU, "softplus": nn.Softplus}


def outputs_of(package: ModuleType, text: str, size: int | tuple[int, ...]) -> tuple[int, ...]:
    """What the net of a conditional must output, given those of its options that decide it.

    Arguments:
        package: `posteriors` or `likelihoods`.
        text: the choice in words (see `spelling`).
        size: latent_dim, or the shape of one datum.

    Raises:
        ValueError: an unknown name, a missing option, or a conditional whose net has no shape to be told by words.

    >>> from lowerbound import posteriors
    >>> outputs_of(posteriors, "diagonal-normal", 3)
    (2, 3)
    """
    name, options = parse(text)
    shape_of = getattr(find(package, name), "parameter_shape", None)
    if shape_of is None:
        raise ValueError(f"{name!r} needs a net of its own; build it in Python.")
    deciding = inspect.signature(shape_of).parameters
    for key, parameter in list(deciding.items())[1:]:
        if parameter.default is parameter.empty and key not in options:
            raise ValueError(f"{name} needs {key}; write it as {name}:{key}=VALUE.")
    return shape_of(size, **{key: value for key, value in options.items() if key in deciding})


def nonlinearity(activation: Activation) -> type[nn.Module]:
    """The module of a name.

    Raises:
        ValueError: an unknown name.
    """
    if activation not in _ACTIVATIONS:
        raise ValueError(f"activation is {activation!r}; choose one of {', '.join(_ACTIVATIONS)}.")
    return _ACTIVATIONS[activation]
