"""p(x | z) of a table row with columns of different kinds, missing entries marginalised out.

    log p(x_observed | z) = Σ_{d observed} log p_d(x_d | z)

Given z the columns are independent, so integrating a missing entry out leaves its factor at 1: the sum runs over the
observed columns only (Nazábal et al. 2020, "Handling incomplete heterogeneous data using VAEs", arXiv:1807.03653). A
missing entry is NaN in x. It is replaced by a harmless value before anything is computed, because 0 · NaN would make
every gradient NaN. The inference network gets the same NaN and must replace it too.

`columns` lists the kinds in order: "continuous", "positive", "count", "heteroscedastic-count", "categorical-K",
"ordinal-K" and "small-count-K". "n*" in front repeats a kind, and "+" joins kinds to one string: "3*continuous +
categorical-4 + 2*count". The module `columns` describes each kind; ordered classes are those of McCullagh (1980). The
net gives one vector: the parameters of the first kind to appear, column by column, then those of the next kind.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.types import _size

from lowerbound.hooks import Turn
from lowerbound.likelihoods.categorical import CategoricalDistribution
from lowerbound.likelihoods.columns import (
    CategoricalColumns,
    Columns,
    ContinuousColumns,
    CountColumns,
    HeteroscedasticCountColumns,
    OrdinalColumns,
    PositiveColumns,
    SmallCountColumns,
)
from lowerbound.likelihoods.outputs import output_bias_of
from lowerbound.nets.parameters import parameters_of
from lowerbound.nets.shapes import Shape, as_shape, out_shape_of
from lowerbound.protocols import Context
from lowerbound.support import LikelihoodFacts, Support, by_column, with_missing

__all__ = ["Missingness", "Mixed", "MixedDistribution", "kinds_of_columns", "observed_log_prob"]

_KIND = re.compile(
    r"(?:(\d+)\*)?(?:(continuous|positive|count|heteroscedastic-count)|(categorical|ordinal|small-count)-(\d+))"
)
_Kind = tuple[str, int]  # its name, and K (0 where it has none)


@runtime_checkable
class Missingness(Protocol):
    """p(s | x), of which entries of a row are missing: a module of the package `missingness`."""

    @property
    def sentence(self) -> str:
        """What it assumes and means, for the user."""
        ...

    def __call__(self, values: MixedDistribution) -> MixedDistribution:
        """From the distribution of values to p(x_obs, s | context), which is a `hooks.KnowsWhyMissing`."""
        ...

    def initialize(self, x: Tensor, order: Tensor) -> None:
        """Start from rows (N, D), whose columns are put into the order of the groups."""
        ...


class Mixed(nn.Module):
    """Columns of mixed kinds, independent given the context, whose parameters are computed by a net.

    Arguments:
        net: from a context (..., latent_dim) to `parameter_shape(event_shape, columns)`, a vector.
        columns: the kind of each column, in order, as strings or as one string joined by "+".
        event_shape: (D,), checked against the number of columns if given.

    Returns (when called):
        A distribution over rows x (..., D), NaN where missing; log-probabilities are nats per row, in the units of x.

    `missingness` is p(s | x) where gaps depend on the values that they hide (`take_missingness`), else None: gaps are
    then ignored, which is right if they are missing at random.

    `initialize` sets the units of continuous and positive columns; they are saved with the weights.

    Raises:
        ValueError: no columns, an unknown kind, fewer than two classes, or a net of the wrong output shape.

    >>> Mixed.parameter_shape(4, "2*continuous + categorical-5 + count")
    (10,)
    """

    cites: ClassVar[tuple[str, ...]] = ("nazabal2020handling", "mccullagh1980regression")

    facts: LikelihoodFacts = LikelihoodFacts(
        domain="columns", discrete=False, encoder_view="columns", from_data=("columns",)
    )

    def __init__(self, net: nn.Module, columns: str | Sequence[str], event_shape: Shape | None = None):
        super().__init__()
        kinds = kinds_of_columns(columns)
        expected = self.parameter_shape(len(kinds) if event_shape is None else event_shape, columns)
        stated = out_shape_of(net, getattr(net, "out_shape", expected), owner="Mixed", argument="event_shape")
        if stated != expected:
            raise ValueError(
                f"Mixed got a net of output shape {stated} and expected {expected} for its {len(kinds)} columns; "
                "build the net with Mixed.parameter_shape(event_shape, columns)."
            )
        self.net, self.columns, self.event_shape = net, columns, (len(kinds),)
        places = {kind: [i for i, other in enumerate(kinds) if other == kind] for kind in dict.fromkeys(kinds)}
        self.groups = nn.ModuleList(_group(kind, len(places[kind])) for kind in places)
        self.sizes = [len(place) for place in places.values()]
        if all(group.discrete for group in self.groups):
            self.facts = replace(self.facts, discrete=True)
        order = torch.tensor([i for place in places.values() for i in place])
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("restore", order.argsort(), persistent=False)
        self._places = order.argsort().tolist()  # as numbers, which a compiled graph takes for constants
        self.missingness: Missingness | None = None

    order: Tensor  # column of the table at each grouped position
    restore: Tensor  # grouped position of each column of the table

    @staticmethod
    def parameter_shape(event_shape: Shape, columns: str | Sequence[str]) -> tuple[int, ...]:
        """What its net must output per datum."""
        kinds = kinds_of_columns(columns)
        if as_shape(event_shape) != (len(kinds),):
            raise ValueError(
                f"Mixed got event_shape={event_shape} and {len(kinds)} columns; name the kind of each column."
            )
        outputs = {kind: _group(kind, 1).num_outputs for kind in dict.fromkeys(kinds)}
        return (sum(outputs[kind] for kind in kinds),)

    @property
    def works(self) -> tuple[str, ...]:
        """Ordered classes only where there are columns of them."""
        ordered = any(isinstance(group, OrdinalColumns) for group in self.groups)
        return self.cites if ordered else self.cites[:1]

    @property
    def support(self) -> Support:
        """The values of the kind of each column; NaN where an entry is missing."""
        grouped = [cast(Columns, g).support for g, n in zip(self.groups, self.sizes, strict=True) for _ in range(n)]
        return with_missing(by_column([grouped[i] for i in self._places]))

    def forward(self, context: Context) -> MixedDistribution:
        """p(x | context)."""
        size = sum(n * cast(Columns, group).num_outputs for n, group in zip(self.sizes, self.groups, strict=True))
        values = self.given(parameters_of(self.net, context, (size,)))
        return values if self.missingness is None else self.missingness(values)

    def given(self, parameters: Tensor) -> MixedDistribution:
        """p(x) of parameters (*batch, outputs) that its net has given."""
        groups = [cast(Columns, group) for group in self.groups]
        widths = [n * group.num_outputs for n, group in zip(self.sizes, groups, strict=True)]
        parts = [
            group(part.unflatten(-1, (n, group.num_outputs)))
            for group, n, part in zip(groups, self.sizes, parameters.split(widths, -1), strict=True)
        ]
        return MixedDistribution(groups, parts, self.order, self.restore)

    def take_missingness(self, missingness: Missingness) -> None:
        """Make it p(x_obs, s | context), where s is which entries are NaN."""
        self.missingness = missingness

    def of_values(self) -> Mixed:
        """The same without the missingness, p(x_obs | context); parameters are shared."""
        if self.missingness is None:
            return self
        alone = copy.copy(self)
        alone._modules = {name: part for name, part in self._modules.items() if name != "missingness"}
        alone.missingness = None
        return alone

    @torch.no_grad()
    def initialize(self, x: Tensor) -> None:
        """Start every column at the fit to its observed entries; the output bias of the net gets the parameters that it
        computes.
        """
        like = next(iter(self.parameters()), x)
        columns = x.to(like)[..., self.order].split(self.sizes, -1)
        starts = [cast(Columns, group).start(part).flatten() for group, part in zip(self.groups, columns, strict=True)]
        bias = output_bias_of(self.net)
        if bias is not None:
            bias.copy_(torch.cat(starts))
        if self.missingness is not None:
            self.missingness.initialize(x.to(like), self.order)


class MixedDistribution(Distribution):
    """A row of columns of mixed kinds; NaN marks a missing entry.

    Arguments:
        groups: the columns of each group.
        parts: the distribution of each group, batch shape (*batch, n).
        order: the column at each grouped position, (D,).
        restore: the grouped position of each column, (D,).
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    has_rsample = False

    def __init__(self, groups: Sequence[Columns], parts: Sequence[Distribution], order: Tensor, restore: Tensor):
        self.groups, self.parts, self.order, self.restore = groups, parts, order, restore
        super().__init__(parts[0].batch_shape[:-1], order.shape, validate_args=False)

    def expand(self, batch_shape: _size, _instance: Distribution | None = None) -> Distribution:
        """The same distribution with its parameters expanded to a larger batch shape."""
        parts = [part.expand((*batch_shape, part.batch_shape[-1])) for part in self.parts]
        return MixedDistribution(self.groups, parts, self.order, self.restore)

    @property
    def mean(self) -> Tensor:
        """The mean of each column; the most probable class for categorical ones, which have no mean."""
        centres = [group.centre(part) for group, part in zip(self.groups, self.parts, strict=True)]
        return torch.cat(centres, -1).index_select(-1, self.restore)

    def log_prob(self, value: Tensor) -> Tensor:
        """log p of the observed entries, nats per row; value (..., *batch_shape, D) -> (..., *batch_shape)."""
        return self.log_prob_per_column(value).sum(-1)

    def log_prob_per_column(self, value: Tensor) -> Tensor:
        """log p of each entry, nats, 0 where it is missing: (..., *batch_shape, D)."""
        terms = [observed_log_prob(group, part, x) for group, part, x in self.by_group(value)]
        return torch.cat(terms, -1).index_select(-1, self.restore)

    def by_group(self, value: Tensor) -> list[tuple[Columns, Distribution, Tensor]]:
        """What each group is, its distribution, and its columns of value (..., D)."""
        sizes = [part.batch_shape[-1] for part in self.parts]
        columns = value.index_select(-1, self.order).split(sizes, -1)
        return list(zip(self.groups, self.parts, columns, strict=True))

    def in_turn(self, rows: int) -> Generator[Turn, Tensor, None]:
        """See `hooks.ComesInTurn`; batch axes after the first are steps of a series, each of all columns."""
        steps, first = self.batch_shape[1:], 0
        starts = len(self.order) * torch.arange(steps.numel())[:, None]
        for part in self.parts:
            end = first + part.batch_shape[-1]
            yield part.expand((rows, *steps, end - first)), (starts + self.order[first:end].cpu()).flatten()
            first = end

    def classes(self) -> list[tuple[Tensor, Tensor]]:
        """Of each group of columns of classes: which n columns they are, and p of each class (*batch_shape, n, K)."""
        sizes = [part.batch_shape[-1] for part in self.parts]
        return [
            (columns, part.log_probs.exp())
            for columns, part in zip(self.order.split(sizes), self.parts, strict=True)
            if isinstance(part, CategoricalDistribution)
        ]

    @torch.no_grad()
    def sample(self, sample_shape: _size = ()) -> Tensor:
        """Draw complete rows: (*sample_shape, *batch_shape, D)."""
        draws = [part.sample(torch.Size(sample_shape)) for part in self.parts]
        return torch.cat(draws, -1).index_select(-1, self.restore)


def classes_by_column(groups: list[tuple[Tensor, Tensor]], num_columns: int) -> Tensor | None:
    """p (B, D, K) of the classes of all columns, 0 elsewhere, of groups (n,), (B, n, K); None if there are none."""
    if not groups:
        return None
    first = groups[0][1]
    found = first.new_zeros(len(first), num_columns, max(p.shape[-1] for _, p in groups))
    for columns, p in groups:
        found[:, columns, : p.shape[-1]] = p
    return found


def observed_log_prob(group: Columns, distribution: Distribution, x: Tensor) -> Tensor:
    """log p of each entry of the columns of a group, nats, 0 where it is missing; x broadcasts."""
    missing = x.isnan()
    log_prob = distribution.log_prob(torch.where(missing, group.fill, x))
    return torch.where(missing, 0.0, log_prob)


def kinds_of_columns(columns: str | Sequence[str]) -> list[_Kind]:
    """The kind of each column, in order, and its number of classes (0 where it has none)."""
    entries = columns.split("+") if isinstance(columns, str) else columns
    if not entries:
        raise ValueError('Mixed got no columns; name the kind of each, as in "3*continuous + categorical-4".')
    kinds: list[_Kind] = []
    for entry in entries:
        found = _KIND.fullmatch(entry.strip())
        if found is None or (found[4] is not None and int(found[4]) < 2) or found[1] == "0":
            raise ValueError(
                f"Mixed got a column {entry.strip()!r} and expected continuous, positive, count, "
                "heteroscedastic-count, categorical-K, ordinal-K or small-count-K with K at least 2, or n* before one "
                "of them."
            )
        kinds += [(found[2] or found[3], int(found[4] or 0))] * int(found[1] or 1)
    return kinds


def _group(kind: _Kind, num_columns: int) -> Columns:
    name, num_classes = kind
    if name == "categorical":
        return CategoricalColumns(num_columns, num_classes)
    if name == "ordinal":
        return OrdinalColumns(num_columns, num_classes)
    if name == "small-count":
        return SmallCountColumns(num_columns, num_classes)
    simple = {
        "continuous": ContinuousColumns,
        "positive": PositiveColumns,
        "count": CountColumns,
        "heteroscedastic-count": HeteroscedasticCountColumns,
    }
    return simple[name](num_columns)
