"""What the named models share: the net of a conditional, the encoder's view of x, nonlinearities by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

from torch import nn

from lowerbound import likelihoods
from lowerbound.likelihoods.mixed import kinds_of_columns
from lowerbound.nets.shapes import Shape, as_shape
from lowerbound.nets.views import BagOfTokens, ColumnsView, Log1p, OneHot, Seen
from lowerbound.spelling import check_given, check_options, find, outputs_of, parse
from lowerbound.support import LikelihoodFacts

__all__ = ["Activation", "nonlinearity", "of_one_element", "outputs_of", "seen_by", "view_of", "widths_of"]

Activation: TypeAlias = Literal["relu", "tanh", "elu", "silu", "softplus"]
_ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "elu": nn.ELU, "silu": nn.SiLU, "softplus": nn.Softplus}
_DENSE, _FIRST, _MOST, _COARSE = (256, 256), 32, 256, 7


def of_one_element(likelihood: str) -> str:
    """The words of the likelihood whose facts hold: that of the elements of an autoregressive one, else itself.

    >>> of_one_element("autoregressive:site=categorical(num_classes=4),layers=3")
    'categorical:num_classes=4'
    """
    name, options = parse(likelihood)
    same = getattr(find(likelihoods, name), "same_facts_as", None)
    return likelihood if same is None else same(**options)


def view_of(likelihood: str | nn.Module, shape: Shape) -> nn.Module | None:
    """How an encoder should see data under a likelihood: a layer with an `out_shape`; None for x as it is.

    Arguments:
        likelihood: in words, or the module itself.
        shape: of one datum.
    """
    words = of_one_element(likelihood) if isinstance(likelihood, str) else None
    name, options = ("", vars(likelihood)) if words is None else parse(words)
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
        case "tokens":
            check_given(name, options, "num_symbols")
            return BagOfTokens(options["num_symbols"])
        case "columns":
            check_given(name, options, "columns")
            return ColumnsView(kinds_of_columns(options["columns"]))
    return None


def seen_by(view: nn.Module | None, make: Callable[[tuple[int, ...]], nn.Module], shape: Shape) -> nn.Module:
    """The net of an encoder behind a view.

    Arguments:
        view: see `view_of`.
        make: from the shape of its input to the net.
        shape: of one datum.
    """
    return make(as_shape(shape)) if view is None else Seen(view, make(as_shape(view.out_shape)))  # type: ignore[arg-type]


def widths_of(network: object, event_shape: Sequence[int]) -> tuple[int, ...]:
    """The hidden layers from the data to z where none are said: widths 256 and 256, or channels of a convolution.

    A convolution of c channels costs a product per weight at every place of the picture, so that the widths of a
    perceptron would make it a hundred times slower. The channels are 32, 64, … up to 256, one stage for each halving of
    the picture: two at least, and as many as leave it at most 7 wide.

    Arguments:
        network: "convolution", or another.
        event_shape: of one datum.

    >>> widths_of("convolution", (28, 28)), widths_of("convolution", (3, 64, 64)), widths_of("mlp", (28, 28))
    ((32, 64), (32, 64, 128, 256), (256, 256))
    """
    if network != "convolution":
        return _DENSE
    stages, side = 0, max(event_shape[-2:])
    while stages < 2 or side > _COARSE:
        stages, side = stages + 1, (side + 1) // 2
    return tuple(min(_MOST, _FIRST * 2**stage) for stage in range(stages))


def nonlinearity(activation: Activation) -> type[nn.Module]:
    """The module of a name.

    Raises:
        ValueError: an unknown name.
    """
    if activation not in _ACTIVATIONS:
        raise ValueError(f"activation is {activation!r}; choose one of {', '.join(_ACTIVATIONS)}.")
    return _ACTIVATIONS[activation]
