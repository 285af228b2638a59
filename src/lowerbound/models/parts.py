"""What the named models share: the net of a conditional, the encoder's view of x, nonlinearities by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, Literal, TypeAlias

from torch import nn

from lowerbound import likelihoods
from lowerbound.likelihoods.mixed import kinds_of_columns
from lowerbound.nets.shapes import Shape, as_shape
from lowerbound.nets.views import ColumnsView, Log1p, OneHot, Seen
from lowerbound.spelling import check_options, find, parse
from lowerbound.support import LikelihoodFacts

__all__ = ["Activation", "nonlinearity", "outputs_of", "seen_by", "view_of"]

Activation: TypeAlias = Literal["relu", "tanh", "elu", "silu", "softplus"]
_ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "elu": nn.ELU, "silu": nn.SiLU, "softplus": nn.Softplus}


def outputs_of(package: ModuleType, text: str, size: int | tuple[int, ...]) -> tuple[int, ...]:
    """The output shape that a conditional needs from its net, given the options that decide it.

    Arguments:
        package: `posteriors` or `likelihoods`.
        text: the choice in words (see `spelling`).
        size: latent_dim, or the shape of one datum.

    Raises:
        ValueError: an unknown name, a missing option, or a conditional that cannot be chosen by words.

    >>> from lowerbound import posteriors
    >>> outputs_of(posteriors, "diagonal-normal", 3)
    (2, 3)
    """
    name, options = parse(text)
    chosen = find(package, name)
    shape_of = getattr(chosen, "parameter_shape", None)
    if shape_of is None:
        raise ValueError(
            f"{name!r} has no parameter_shape, which says what its net must output; add that static method to "
            "its class, or build the model in Python."
        )
    deciding = dict(list(inspect.signature(shape_of).parameters.items())[1:])  # the first is the size
    for key, parameter in deciding.items():
        if parameter.default is parameter.empty:
            _check_given(name, options, key)
    options = check_options(name, chosen, options)
    shape = shape_of(size, **{key: value for key, value in options.items() if key in deciding})
    if min(shape, default=1) < 1:
        raise ValueError(f"{text!r} asks its net for numbers of the shape {shape}; give larger options.")
    return shape


def view_of(likelihood: str | nn.Module, shape: Shape) -> nn.Module | None:
    """How an encoder should see data under a likelihood: a layer with an `out_shape`; None for x as it is.

    Arguments:
        likelihood: in words, or the module itself.
        shape: of one datum.
    """
    name, options = parse(likelihood) if isinstance(likelihood, str) else ("", vars(likelihood))
    if name:
        options = check_options(name, find(likelihoods, name), options)
    facts = getattr(find(likelihoods, name) if name else likelihood, "facts", None)
    if not isinstance(facts, LikelihoodFacts):
        return None
    match facts.encoder_view:
        case "log1p":
            return Log1p(shape)
        case "one-hot":
            known = "num_classes" in options and not options.get("unit_interval")
            return OneHot(shape, options["num_classes"]) if known else None
        case "columns":
            _check_given(name, options, "columns")
            return ColumnsView(kinds_of_columns(options["columns"]))
    return None


def _check_given(name: str, options: Mapping[str, Any], key: str) -> None:
    """Refuse a choice that lacks a required option."""
    if key not in options:
        raise ValueError(f"{name} needs {key}; write it as {name}:{key}=VALUE.")


def seen_by(view: nn.Module | None, make: Callable[[tuple[int, ...]], nn.Module], shape: Shape) -> nn.Module:
    """The net of an encoder behind a view.

    Arguments:
        view: see `view_of`.
        make: from the shape of its input to the net.
        shape: of one datum.
    """
    return make(as_shape(shape)) if view is None else Seen(view, make(as_shape(view.out_shape)))  # type: ignore[arg-type]


def nonlinearity(activation: Activation) -> type[nn.Module]:
    """The module of a name.

    Raises:
        ValueError: an unknown name.
    """
    if activation not in _ACTIVATIONS:
        raise ValueError(f"activation is {activation!r}; choose one of {', '.join(_ACTIVATIONS)}.")
    return _ACTIVATIONS[activation]
