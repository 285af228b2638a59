"""Features of every position that are a function of the positions before it, by attention.

    h_i = W u_{i−1} + e_i,        h ← h + U c,        h ← h + attend(norm(h))_{≤ i},        h ← h + mlp(norm(h))

with u_{−1} = 0 and e_i learned for each position (Vaswani et al. 2017, arXiv:1706.03762, §3, with the norms in front of
each part). Attention of position i is over positions j ≤ i, whose inputs are the values before j; so it sees values
before i alone. The context enters every layer. When positions are drawn one by one, keys and values are kept.

Or U = 0, and the context is a position h_{−1} = P c of its own in front of the others, which all attend to: a prefix.
It stands where Li et al. (2020, arXiv:2004.04092) put a memory for each layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad, scaled_dot_product_attention

__all__ = ["CausalTransformer"]


class CausalTransformer(nn.Module):
    """A causal trunk over a number of positions (`site_net.CausalTrunk`).

    Arguments:
        num_positions: D.
        inputs: numbers at each position.
        channels: features of each layer, a multiple of `heads`.
        layers: how many.
        heads: of attention.
        context: M, the length of the context, or of the context at each position; 0 for none.
        prefix: whether a context, then a vector, is a position in front of the others, and enters nowhere else.

    Raises:
        ValueError: sizes below one, or channels that the heads do not divide.
    """

    cites: ClassVar[tuple[str, ...]] = ("vaswani2017attention", "li2020optimus")

    def __init__(
        self,
        num_positions: int,
        inputs: int,
        channels: int = 16,
        layers: int = 4,
        heads: int = 4,
        context: int = 0,
        prefix: bool = False,
    ):
        super().__init__()
        if min(channels, layers, heads) < 1 or channels % heads:
            raise ValueError(
                f"CausalTransformer got channels={channels}, layers={layers}, heads={heads} and needs at least 1 of "
                "each and channels that are a multiple of heads."
            )
        self.num_positions, self.features = num_positions, channels
        self.embedding = nn.Linear(inputs, channels)
        self.position = nn.Parameter(0.1 * torch.randn(num_positions, channels))
        of_blocks = 0 if prefix else context
        self.blocks = nn.ModuleList(_Block(channels, heads, of_blocks) for _ in range(layers))
        self.norm = nn.LayerNorm(channels)
        self.prefix = nn.Linear(context, channels) if prefix and context else None

    @property
    def works(self) -> tuple[str, ...]:
        """See `cited.CitesByOptions`."""
        return self.cites[:1] if self.prefix is None else self.cites

    def forward(
        self, seen: Float[Tensor, "row position input"], context: Tensor | None
    ) -> Float[Tensor, "row position feature"]:
        """The features of every position. A context is (N, M), or (N, M, *positions)."""
        h, first = self.embedding(pad(seen, (0, 0, 1, -1))) + self.position[: seen.shape[1]], 0
        context = _by_position(context)
        if self.prefix is not None:
            h, first = torch.cat([self.prefix(context), h], 1), 1
        for block in self.blocks:
            h = block(h, context)
        return self.norm(h[:, first:])

    def begin(self, num: int, context: Tensor | None) -> _Cache:
        """Room for keys and values, the terms of the context, and what is kept of a prefix."""
        context, blocks = _by_position(context), [cast(_Block, block) for block in self.blocks]
        first = 0 if self.prefix is None else 1
        shape = (2, num, blocks[0].heads, first + self.num_positions, self.features // blocks[0].heads)
        kept = [self.position.new_empty(shape) for _ in blocks]
        cache = _Cache(blocks, [block.of_context(context) for block in blocks], kept, first)
        if self.prefix is not None:
            self._through(self.prefix(context), cache, 0)
        return cache

    def advance(self, cache: _Cache, position: int, before: Tensor | None) -> Float[Tensor, "row feature"]:
        """The features of one position, when those before it are known."""
        num = cache.kept[0].shape[1]
        seen = self.position.new_zeros(num, self.embedding.in_features) if before is None else before
        h = self.embedding(seen)[:, None] + self.position[position]
        return self.norm(self._through(h, cache, cache.first + position))[:, 0]

    def _through(self, h: Tensor, cache: _Cache, place: int) -> Tensor:
        """What all layers make of one position (N, 1, channels)."""
        for block, kept, term in zip(cache.blocks, cache.kept, cache.contexts, strict=True):
            h = block.at_position(h, kept, term, place)
        return h


@dataclass
class _Cache:
    """Of each layer the term of the context (N, D or 1, channels), and keys and values (2, N, head, D, C / head).

    Those of a prefix stand first.
    """

    blocks: list[_Block]
    contexts: list[Tensor | None]
    kept: list[Tensor]
    first: int  # the place of the first position


class _Block(nn.Module):
    """Attention and a perceptron, each added to what it reads."""

    def __init__(self, channels: int, heads: int, context: int):
        super().__init__()
        self.heads = heads
        self.context = nn.Linear(context, channels, bias=False) if context else None
        self.norm, self.attention = nn.LayerNorm(channels), nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)
        self.perceptron = nn.Sequential(
            nn.LayerNorm(channels), nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels)
        )

    def forward(self, h: Tensor, context: Tensor | None) -> Tensor:
        """From (N, D, channels) to the same shape."""
        term = self.of_context(context)
        h = h if term is None else h + term
        q, k, v = self._heads(h)
        return self._joined(h, scaled_dot_product_attention(q, k, v, is_causal=True))

    def of_context(self, context: Tensor | None) -> Tensor | None:
        """What the context adds."""
        return None if self.context is None else self.context(context)

    def at_position(self, h: Tensor, kept: Tensor, term: Tensor | None, position: int) -> Tensor:
        """As `forward` for one position (N, 1, channels), which attends to those kept and itself."""
        if term is not None:
            h = h + (term if term.shape[1] == 1 else term[:, position : position + 1])
        q, k, v = self._heads(h)
        kept[0, :, :, position : position + 1], kept[1, :, :, position : position + 1] = k, v
        keys, values = kept[:, :, :, : position + 1]
        return self._joined(h, scaled_dot_product_attention(q, keys, values))

    def _heads(self, h: Tensor) -> tuple[Tensor, ...]:
        """Queries, keys and values (N, head, position, channels / heads)."""
        return self.attention(self.norm(h)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)

    def _joined(self, h: Tensor, attended: Tensor) -> Tensor:
        h = h + self.out(attended.transpose(1, 2).flatten(2))
        return h + self.perceptron(h)


def _by_position(context: Tensor | None) -> Tensor | None:
    """(N, D, M), or (N, 1, M) of a vector."""
    return None if context is None else context.flatten(2).transpose(1, 2) if context.ndim > 2 else context[:, None]
