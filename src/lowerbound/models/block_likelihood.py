"""p(x_1, …, x_M | z) = Π_m p(x_m | z): one likelihood for each block of columns, missing blocks marginalised out.

    log p(x_A | z) = Σ_{m ∈ A} log p(x_m | z)

Given z the blocks are independent, so that the factor of a missing one integrates to 1 (Wu & Goodman 2018,
arXiv:1802.05335, sec. 2). A block is missing where all its entries are NaN. A likelihood that takes gaps (`Mixed`)
also marginalises single entries; under any other one a block is there whole, or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.types import _size

from lowerbound.protocols import Conditional, Context, InitializedFromData
from lowerbound.shown import shown
from lowerbound.support import LikelihoodFacts, StatesFacts, Support, by_column, reals

__all__ = ["BlockDistribution", "BlockLikelihood", "block_numbers", "fill_of", "start_from_block"]

_TRIED = (0.0, 1.0, 0.5)  # one of them is in the support of every likelihood


@dataclass(frozen=True, kw_only=True)
class _OfBlocks(Support):
    """The values of each column; a gap is in it only where its block may have one."""

    whole: tuple[tuple[int, ...], ...] = ()

    def check(self, x: Tensor) -> Tensor:
        """True where an element is in the set of its column, or missing with its whole block."""
        inside, gap = super().check(x), x.isnan()
        for columns in self.whole:
            part = gap[..., columns]
            inside[..., columns] &= ~part | part.all(-1, keepdim=True)
        return inside


class BlockLikelihood(nn.Module):
    """A likelihood for each block of columns.

    Arguments:
        likelihoods: from z to p(x_m | z), over vectors (d_m,), by the name of the block.
        columns: the numbers of the columns of each block, which together are all columns.

    Returns (when called):
        A distribution over rows x (..., D), NaN where missing; log-probabilities are nats per row.

    Raises:
        ValueError: a block without a likelihood.
    """

    facts: LikelihoodFacts = LikelihoodFacts(domain="columns", discrete=False, encoder_view="columns")
    order: Tensor
    restore: Tensor

    def __init__(self, likelihoods: Mapping[str, nn.Module], columns: Mapping[str, Sequence[int]]):
        super().__init__()
        lacking = [name for name in columns if name not in likelihoods]
        if lacking:
            raise ValueError(
                f"The block {lacking[0]!r} has no likelihood; give one for each of {', '.join(columns)}, and no other."
            )
        self.names, self.columns = tuple(columns), {name: tuple(numbers) for name, numbers in columns.items()}
        self.parts = nn.ModuleList(likelihoods[name] for name in columns)
        self.event_shape = (sum(map(len, columns.values())),)
        self.fills = [fill_of(part) for part in self.parts]
        if all(_facts(part).discrete for part in self.parts):
            self.facts = replace(self.facts, discrete=True)
        order = torch.tensor([i for numbers in columns.values() for i in numbers])
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("restore", order.argsort(), persistent=False)

    @property
    def support(self) -> Support:
        """The values of each column, or NaN: for all of a block, and for any entry where its likelihood takes gaps."""
        supports: list[Support] = [reals] * self.event_shape[0]
        whole = []
        for part, (name, numbers) in zip(self.parts, self.columns.items(), strict=True):
            own = part.support if isinstance(part, StatesFacts) else reals
            if not own.allows_missing:
                whole.append(numbers)
            for place, i in enumerate(numbers):
                of_column = own if own.columns is None else own.columns[place]
                gaps = "" if own.allows_missing else f", or a gap in all of block '{name}'"
                supports[i] = replace(of_column, allows_missing=True, description=of_column.description + gaps)
        return _OfBlocks(
            description="values of the kind of each column",
            contains=by_column(supports).contains,
            allows_missing=True,
            columns=tuple(supports),
            whole=tuple(whole),
        )

    def forward(self, context: Context) -> BlockDistribution:
        """p(x | z)."""
        parts = [cast(Conditional, part)(context) for part in self.parts]
        sizes = [len(numbers) for numbers in self.columns.values()]
        return BlockDistribution(parts, self.fills, sizes, self.order, self.restore)

    def initialize(self, x: Float[Tensor, "row column"]) -> None:
        """Show every likelihood the rows that have its block."""
        for part, numbers in zip(self.parts, self.columns.values(), strict=True):
            start_from_block(part, x[:, list(numbers)])


class BlockDistribution(Distribution):
    """A row of blocks, independent given z.

    Arguments:
        parts: p(x_m | z) of each block, event shape (d_m,).
        fills: a value that stands for a missing block while log p is computed; None where NaN may stand.
        sizes: d_m.
        order: the column at each place of the blocks one after another (D,).
        restore: the place of each column (D,).
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    has_rsample = False

    def __init__(
        self,
        parts: Sequence[Distribution],
        fills: Sequence[float | None],
        sizes: Sequence[int],
        order: Tensor,
        restore: Tensor,
    ):
        self.parts, self.fills, self.sizes, self.order, self.restore = list(parts), fills, list(sizes), order, restore
        super().__init__(parts[0].batch_shape, order.shape, validate_args=False)

    def expand(self, batch_shape: _size, _instance: Distribution | None = None) -> Distribution:
        """The same distribution with its parameters expanded to a larger batch shape."""
        parts = [part.expand(batch_shape) for part in self.parts]
        return BlockDistribution(parts, self.fills, self.sizes, self.order, self.restore)

    @property
    def mean(self) -> Tensor:
        """What each block shows: its mean, and the most probable class where there is no mean (*batch, D)."""
        return self._joined([shown(part).values for part in self.parts])

    def log_prob(self, value: Tensor) -> Tensor:
        """log p of the blocks that are there, nats; value (..., *batch, D) -> (..., *batch)."""
        return self.log_prob_per_block(value).sum(-1)

    def log_prob_per_block(self, value: Tensor) -> Tensor:
        """log p(x_m | z) of each block, nats, 0 where it is missing: (..., *batch, block)."""
        blocks = value.index_select(-1, self.order).split(self.sizes, -1)
        terms = [_log_prob(*part) for part in zip(self.parts, self.fills, blocks, strict=True)]
        return torch.stack(torch.broadcast_tensors(*terms), -1)

    @torch.no_grad()
    def sample(self, sample_shape: _size = ()) -> Tensor:
        """Draw complete rows: (*sample_shape, *batch, D)."""
        return self._joined([part.sample(torch.Size(sample_shape)) for part in self.parts])

    def _joined(self, parts: Sequence[Tensor]) -> Tensor:
        return torch.cat(list(parts), -1).index_select(-1, self.restore)


def block_numbers(columns: Mapping[str, Sequence[int]]) -> Tensor:
    """The number of the block of each column (D,)."""
    found = torch.zeros(sum(map(len, columns.values())), dtype=torch.long)
    for number, numbers in enumerate(columns.values()):
        found[list(numbers)] = number
    return found


def start_from_block(part: nn.Module, x: Float[Tensor, "row column"]) -> None:
    """Let the parts of a conditional that start from data see the rows of a block that are there."""
    there = x[~x.isnan().all(-1)]
    for starting in _outermost(part):
        if len(there):
            starting.initialize(there)


def _outermost(part: nn.Module) -> Iterator[InitializedFromData]:
    if isinstance(part, InitializedFromData):
        yield part
        return
    for child in part.children():
        yield from _outermost(child)


def _facts(part: nn.Module) -> LikelihoodFacts:
    return part.facts if isinstance(part, StatesFacts) else LikelihoodFacts(domain="reals", discrete=False)


def fill_of(part: nn.Module) -> float | None:
    """A value that a likelihood takes, to stand for a missing block; None where it takes NaN."""
    own = part.support if isinstance(part, StatesFacts) else reals
    if own.allows_missing:
        return None
    return next(value for value in _TRIED if bool(own.contains(torch.tensor([value])).all()))


def _log_prob(p: Distribution, fill: float | None, x: Tensor) -> Tensor:
    """log p(x_m | z), 0 where the block is missing; a harmless value is put in, as 0 · NaN would spoil gradients."""
    if fill is None:
        return p.log_prob(x)
    missing = x.isnan().all(-1)
    log_prob = p.log_prob(torch.where(missing.unsqueeze(-1), fill, x))
    return torch.where(missing, 0.0, log_prob)
