"""Features of every position that are a function of some positions before it, by dilated convolutions.

    h⁰_i = W u_{i−1},    h^{l+1}_i = h^l_i + V silu(Σ_{j<k} K_j norm(h^l)_{i − j 2^l} + U c)

with zeros before the first position. A layer reaches (k − 1) 2^l positions back, so that L layers of kernel k see the
last (k − 1)(2^L − 1) + 1 positions. How far they see decides how much is left for the context to say (Yang et al. 2017,
arXiv:1702.08139, §3; the layers are those of van den Oord et al. 2016, arXiv:1609.03499, without gates).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad, silu

__all__ = ["DilatedConvolution"]


class DilatedConvolution(nn.Module):
    """A causal trunk for sequences of any length (`site_net.CausalTrunk`).

    Arguments:
        inputs: numbers at each position.
        features: width of every layer.
        layers: how many; the l-th reaches (kernel − 1) 2^l positions back.
        kernel: taps of each.
        context: M, the length of the context; 0 for none.

    Raises:
        ValueError: sizes below one.
    """

    cites: ClassVar[tuple[str, ...]] = ("yang2017improved", "vandenoord2016wavenet")

    def __init__(self, inputs: int, features: int, layers: int = 4, kernel: int = 3, context: int = 0):
        super().__init__()
        if min(inputs, features, layers, kernel) < 1:
            raise ValueError(
                f"DilatedConvolution got inputs={inputs}, features={features}, layers={layers}, kernel={kernel} and "
                "needs at least 1 of each."
            )
        self.inputs, self.features = inputs, features
        self.embedding = nn.Linear(inputs, features)
        self.blocks = nn.ModuleList(_Block(features, kernel, 2**depth, context) for depth in range(layers))

    def forward(
        self, seen: Float[Tensor, "row position input"], context: Float[Tensor, "row context"] | None
    ) -> Float[Tensor, "row position feature"]:
        """The features of every position."""
        h = self.embedding(pad(seen, (0, 0, 1, -1)))
        for block in self.blocks:
            h = block(h, context)
        return h

    def begin(self, num: int, context: Tensor | None) -> _Cache:
        """An empty past of every layer, and the terms of the context."""
        blocks = [cast(_Block, block) for block in self.blocks]
        return _Cache(blocks, [block.of_context(context) for block in blocks], [[] for _ in blocks], num)

    def advance(self, cache: _Cache, position: int, before: Tensor | None) -> Float[Tensor, "row feature"]:
        """The features of one position, from what is seen at the one before it."""
        zeros = self.embedding.weight.new_zeros(cache.num, self.inputs)
        h = self.embedding(zeros if before is None else before)
        for block, term, past in zip(cache.blocks, cache.terms, cache.past, strict=True):
            h = block.at_position(h, term, past)
        return h


@dataclass
class _Cache:
    blocks: list[_Block]
    terms: list[Tensor | None]
    past: list[list[Tensor]]  # normalised inputs of each layer, (N, features) for each position
    num: int


class _Block(nn.Module):
    """A causal convolution and a linear map, added to what they read."""

    def __init__(self, features: int, kernel: int, dilation: int, context: int):
        super().__init__()
        self.kernel, self.dilation = kernel, dilation
        self.norm = nn.LayerNorm(features)
        self.taps = nn.ModuleList(nn.Linear(features, features, bias=j == 0) for j in range(kernel))
        self.context = nn.Linear(context, features, bias=False) if context else None
        self.out = nn.Linear(features, features)

    def forward(self, h: Tensor, context: Tensor | None) -> Tensor:
        """From (N, T, features) to the same shape."""
        a, term = self.norm(h), self.of_context(context)
        total = self.taps[0](a) if term is None else self.taps[0](a) + term[:, None]
        for j in range(1, self.kernel):
            back = j * self.dilation
            if back < a.shape[1]:
                total = total + pad(self.taps[j](a[:, :-back]), (0, 0, back, 0))
        return h + self.out(silu(total))

    def of_context(self, context: Tensor | None) -> Tensor | None:
        """U c (N, features)."""
        return None if self.context is None else self.context(context)

    def at_position(self, h: Tensor, term: Tensor | None, past: list[Tensor]) -> Tensor:
        """The output at the next position, which is appended to the past."""
        past.append(self.norm(h))
        total = self.taps[0](past[-1]) if term is None else self.taps[0](past[-1]) + term
        for j in range(1, self.kernel):
            back = j * self.dilation
            if back < len(past):
                total = total + self.taps[j](past[-1 - back])
        return h + self.out(silu(total))
