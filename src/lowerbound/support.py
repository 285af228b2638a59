"""What a likelihood states about itself, so that no other part needs to know its name.

`LikelihoodFacts` belong to the class. They tell a plan, before the likelihood is made, which kind of numbers it is for,
whether log p(x | z) is the logarithm of a probability (which may be given in bits) or of a density, whether columns are
standardised, how the encoder should see x, and the baselines. If an option changes them, `facts` of the instance differ
from those of its class: `Mixed` is discrete if every column of it is.

A `Support` belongs to the instance, because it may depend on options (classes, levels, columns). It is a set of values
of x, checked elementwise. `require_support` is called wherever x enters (fit, score, encode, the first batch of a
loss), with the same message everywhere. NaN is in no support, except if the likelihood marginalises missing entries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import torch
from jaxtyping import Bool, Shaped
from torch import Tensor

from lowerbound.row_numbers import row_number

__all__ = [
    "Domain",
    "EncoderView",
    "LikelihoodFacts",
    "StatesFacts",
    "Support",
    "by_column",
    "classes",
    "counts",
    "levels",
    "open_unit_interval",
    "place_of",
    "positive",
    "reals",
    "require_support",
    "unit_interval",
    "with_missing",
]

Domain: TypeAlias = Literal["reals", "unit interval", "levels", "counts", "classes", "tokens", "bag", "columns"]
"""The meaning of one element of x; "tokens" of texts that end before their row; "bag" of counts given their sum;
"columns" if each column has its own kind."""

EncoderView: TypeAlias = Literal["identity", "log1p", "one-hot", "tokens", "columns"]
"""How the encoder sees x: unchanged; as log(1 + x); as one-hot classes; as counts of tokens; or each column by its
kind, with a mask of gaps."""

_LEVEL_TOLERANCE = 1e-3  # of one level: what rounding to float32 does to k / (K − 1), with room


@dataclass(frozen=True, kw_only=True)
class LikelihoodFacts:
    """Facts about a likelihood class for plans, scores and reports.

    Attributes:
        domain: the meaning of one element of x.
        discrete: whether log p(x | z) is the logarithm of a probability, so that bits per dimension are meaningful.
        standardized: whether columns of a table are brought to mean 0 and standard deviation 1 for it.
        encoder_view: how the encoder should see x.
        baselines: functions of `evaluate.baselines` to compare with, besides independent elements of the same family,
            which are always used.
        richer: likelihoods to try if this one does not fit, as `spelling` spells them.
        any_real: whether its net has to reach all real numbers (logits), so that a net that ends in a Sigmoid, a
            Softmax or another function of bounded range is a mistake.
        from_data: options that the data decide where nobody says them: "columns", "num_classes", "num_levels",
            "num_symbols", "points".
        has_mean: whether E[x | z] has a closed form; if not, means along a draw are shown in its place (`shown`).
    """

    domain: Domain
    discrete: bool
    standardized: bool = False
    encoder_view: EncoderView = "identity"
    baselines: tuple[str, ...] = ()
    richer: tuple[str, ...] = ()
    any_real: bool = False
    from_data: tuple[str, ...] = ()
    has_mean: bool = True


@dataclass(frozen=True, kw_only=True)
class Support:
    """A set of values, elementwise.

    A number whose square is not finite is in no support of real numbers: its log-density would be no number either.

    Attributes:
        description: its words in messages such as "Poisson takes …": "counts 0, 1, 2, …".
        contains: from x to a mask of the same shape: True where an element lies in the set. It is a function of a
            module, so that a fitted estimator can be pickled.
        allows_missing: whether NaN marks an unknown entry and is ignored.
        grid: values spread evenly over a bounded set: all values of a finite set; None if unbounded.
        table: of counts whose likelihood has a table of probabilities, one value for each of them; else None.
        columns: the sets of the entries of the last axis if they differ; None if all are the same.
    """

    description: str
    contains: Callable[[Tensor], Tensor]
    allows_missing: bool = False
    grid: tuple[float, ...] | None = None
    columns: tuple[Support, ...] | None = None
    table: tuple[float, ...] | None = None

    def check(self, x: Shaped[Tensor, "*shape"]) -> Bool[Tensor, "*shape"]:
        """True where an element is in the set, or is missing and allowed to be."""
        inside = self.contains(x)
        return inside | x.isnan() if self.allows_missing and x.is_floating_point() else inside


@runtime_checkable
class StatesFacts(Protocol):
    """A likelihood that states its support, like all of the library. Foreign ones that do not are not checked."""

    @property
    def facts(self) -> LikelihoodFacts:
        """The facts of the class; a class attribute, so that it can be read without an instance."""
        ...

    @property
    def support(self) -> Support:
        """The set of values that have a probability."""
        ...


def _is_squarable(x: Tensor) -> Tensor:
    if not x.is_floating_point():
        return torch.ones_like(x, dtype=torch.bool)
    return x.abs() <= torch.finfo(x.dtype).max ** 0.45  # 4e17 in float32: squares of it, and sums of those, are finite


reals = Support(description="finite numbers whose squares are finite as well", contains=_is_squarable)


def _is_positive(x: Tensor) -> Tensor:
    return (x > 0) & torch.isfinite(x)


def _is_within(x: Tensor) -> Tensor:
    return (x >= 0) & (x <= 1)


def _is_strictly_within(x: Tensor) -> Tensor:
    return (x > 0) & (x < 1)


def _is_count(x: Tensor) -> Tensor:
    return (x >= 0) & torch.isfinite(x) & (x == x.round())


def _is_class(x: Tensor, *, num_classes: int) -> Tensor:
    return (x >= 0) & (x <= num_classes - 1) & (x == x.round())


def _is_level(x: Tensor, *, num_levels: int) -> Tensor:
    k = x * (num_levels - 1)
    return (x >= 0) & (x <= 1) & ((k - k.round()).abs() <= _LEVEL_TOLERANCE)


def _is_of_its_column(x: Tensor, *, columns: tuple[Support, ...]) -> Tensor:
    return torch.stack([support.check(part) for support, part in zip(columns, x.unbind(-1), strict=True)], -1)


positive = Support(description="positive numbers", contains=_is_positive)
_MIDDLES = tuple((k + 0.5) / 10 for k in range(10))
unit_interval = Support(description="numbers in [0, 1]", contains=_is_within, grid=_MIDDLES)
open_unit_interval = Support(
    description="numbers strictly between 0 and 1", contains=_is_strictly_within, grid=_MIDDLES
)
counts = Support(description="counts 0, 1, 2, …", contains=_is_count)


def classes(num_classes: int) -> Support:
    """The class numbers 0, …, K − 1.

    >>> classes(3).check(torch.tensor([0.0, 2.0, 3.0, 0.5]))
    tensor([ True,  True, False, False])
    """
    return Support(
        description=f"class numbers 0, …, {num_classes - 1}",
        contains=partial(_is_class, num_classes=num_classes),
        grid=tuple(float(k) for k in range(num_classes)),
    )


def levels(num_levels: int) -> Support:
    """The levels k / (K − 1) in [0, 1], to the rounding of float32."""
    top = num_levels - 1
    grid = tuple(k / top for k in range(num_levels))
    contains = partial(_is_level, num_levels=num_levels)
    return Support(description=f"levels k/{top} with k = 0, …, {top}", contains=contains, grid=grid)


def by_column(columns: Sequence[Support]) -> Support:
    """A support for each column of the last axis."""
    each = tuple(columns)
    contains = partial(_is_of_its_column, columns=each)
    return Support(description="values of the kind of each column", contains=contains, columns=each)


def with_missing(support: Support) -> Support:
    """The same set, with NaN allowed for unknown entries."""
    return replace(support, allows_missing=True)


def require_support(
    likelihood: Any,
    x: Shaped[Tensor, "row *event"],
    *,
    what: str = "x",
    columns: Sequence[str] | None = None,
    given: Shaped[Tensor, "row *event"] | None = None,
) -> None:
    """Refuse values outside the support of a likelihood.

    Arguments:
        likelihood: the module; one without a stated support takes everything.
        x: rows as the likelihood scores them.
        what: the name of x in the message.
        columns: names of the last axis, used to say where.
        given: the same rows in the user's units, whose number the message then gives.

    Raises:
        ValueError: giving the first such value and its place.

    >>> from lowerbound.likelihoods import Poisson
    >>> from lowerbound.nets import MLP
    >>> require_support(Poisson(MLP(2, [4], 3)), torch.tensor([[1.0, 2.0, 0.5]]))
    Traceback (most recent call last):
    ValueError: x holds 0.5 at row 0, column 2; Poisson takes counts 0, 1, 2, …: give such values or choose ...
    """
    support = getattr(likelihood, "support", None)
    if not isinstance(support, Support):
        return
    inside = support.check(x)
    if bool(inside.all()):
        return
    index = tuple(int(i) for i in (~inside).nonzero()[0])
    value = (x if given is None else given)[index].item()
    taken = support.description if support.columns is None else f"{support.columns[index[-1]].description} there"
    remedy = "give such values or choose another likelihood"
    if value != value:
        remedy = (
            "gaps are taken by the recipe hidden-markov in series, and by latent-classes and the likelihood mixed in "
            "tables"
        )
    raise ValueError(
        f"{what} holds {value:g} at {place_of(index, columns)}; {type(likelihood).__name__} takes {taken}: {remedy}."
    )


def place_of(index: tuple[int, ...], columns: Sequence[str] | None) -> str:
    """Where an entry of rows is, in words; `columns` are the names of the last axis."""
    row = row_number(index[0])
    if len(index) == 2:
        column = index[1] if columns is None else repr(columns[index[1]])
        return f"row {row}, column {column}"
    return f"row {row}" + (f", element {index[1:]}" if len(index) > 1 else "")
