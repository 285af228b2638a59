"""Features of every pixel that are a function of the pixels before it in raster order, by two stacks of convolutions.

The vertical stack v sees the rows above, the horizontal stack h the pixels to the left, and v feeds h (van den Oord et
al. 2016, arXiv:1606.05328, §2.2 and Fig. 2). For layer l, with a gate g(y) = tanh(y_1) ⊙ σ(y_2),

    y^v_ij = Σ_{a ≤ 0, |b| ≤ r} K^v_ab v_{i+a, j+b} + U^v c_ij              v ← g(y^v)
    y^h_ij = Σ_{b ≤ 0} K^h_b h_{i, j+b} + L y^v_ij + U^h c_ij               h ← h + O g(y^h)

(y^v enters L before its context term). In the first layer both read the pixels themselves and the sums are strict,
a < 0 and b < 0; there is no residual. A single masked stack would never see some pixels to the upper right, its blind
spot.

When pixels are drawn one by one, rows of v are computed when the row above is known, and each h_ij once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

__all__ = ["MaskedConvolution"]

_FIRST_KERNEL = 7


class MaskedConvolution(nn.Module):
    """A causal trunk over maps of any size (`site_net.CausalTrunk`).

    Arguments:
        positions: (height, width).
        inputs: numbers at each pixel.
        channels: features of each layer.
        layers: how many.
        kernel: an odd width of the kernels after the first layer, whose width is 7, or as large as the map has pixels
            for.
        context: M, the length of the context, or of the context at each pixel; 0 for none.

    Raises:
        ValueError: sizes below one, an even kernel, or one that reaches beyond every pixel of the map.
    """

    cites: ClassVar[tuple[str, ...]] = ("vandenoord2016conditional",)

    def __init__(
        self,
        positions: tuple[int, int],
        inputs: int,
        channels: int = 16,
        layers: int = 4,
        kernel: int = 3,
        context: int = 0,
    ):
        super().__init__()
        if channels < 1 or layers < 1 or kernel < 1 or kernel % 2 == 0:
            raise ValueError(
                f"MaskedConvolution got channels={channels}, layers={layers}, kernel={kernel} and needs at least 1 of "
                "each and an odd kernel."
            )
        farthest = max(positions) - 1
        if farthest < 1 or kernel // 2 > farthest:
            raise ValueError(
                f"MaskedConvolution got kernel={kernel} for a map of {positions[0]} × {positions[1]}, where no pixel "
                f"has a neighbour so far away; take kernel={max(1, 2 * farthest + 1)} or less, on a map of 2 pixels or "
                "more."
            )
        self.positions, self.features = positions, channels
        first = min(_FIRST_KERNEL // 2, farthest)
        self.layers = nn.ModuleList(
            [
                _Gated(inputs, channels, first, True, context),
                *[_Gated(channels, channels, kernel // 2, False, context) for _ in range(layers - 1)],
            ]
        ).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(
        self, seen: Float[Tensor, "row position input"], context: Tensor | None
    ) -> Float[Tensor, "row position feature"]:
        """The features of every pixel. A context is (N, M), or a map (N, M, height, width)."""
        v = h = seen.transpose(1, 2).unflatten(2, self.positions)
        context = _as_map(context)
        for layer in self.layers:
            v, h = layer(v, h, context)
        return h.flatten(2).transpose(1, 2)

    def begin(self, num: int, context: Tensor | None) -> _Cache:
        """Empty maps with their borders, and the terms of the context."""
        (height, width), layers = self.positions, [cast(_Gated, layer) for layer in self.layers]
        weight, context = layers[0].horizontal.weight, _as_map(context)
        v = [weight.new_zeros(num, l.inputs, height + l.reach, width + 2 * l.reach) for l in layers]
        h = [weight.new_zeros(num, l.inputs, width + l.reach) for l in layers]
        return _Cache(layers, [l.of_context(context) for l in layers], v, h, [weight.new_zeros(())] * len(layers))

    def advance(self, cache: _Cache, position: int, before: Tensor | None) -> Float[Tensor, "row feature"]:
        """The features of one pixel, when those before it are known."""
        row, column = divmod(position, self.positions[1])
        if before is not None:
            i, j = divmod(position - 1, self.positions[1])
            reach = cache.layers[0].reach
            cache.v[0][:, :, i + reach, j + reach] = before
            cache.h[0][:, :, j + reach] = before
        if column == 0:
            self._row(cache, row)
        y: Tensor | None = None
        for l, layer in enumerate(cache.layers):
            if y is not None:
                cache.h[l][:, :, column + layer.reach] = y
            y = layer.at_pixel(cache.h[l], cache.row[l], column, y)
        assert y is not None
        return y

    def _row(self, cache: _Cache, row: int) -> None:
        """The vertical stack at one row, and what it gives to the horizontal one."""
        above: Tensor | None = None
        for l, layer in enumerate(cache.layers):
            cache.h[l].zero_()
            if above is not None:
                cache.v[l][:, :, row + layer.reach, layer.reach : layer.reach + self.positions[1]] = above
            above, cache.row[l] = layer.at_row(cache.v[l], cache.contexts[l], row)


@dataclass
class _Cache:
    """The inputs of every layer, with zeros around: v (N, inputs, height + r, width + 2r), h of one row (N, inputs,
    width + r); what v and the context give to h in this row (N, 2 channels, width); the context of every layer.
    """

    layers: list[_Gated]
    contexts: list[tuple[Tensor, Tensor] | None]
    v: list[Tensor]
    h: list[Tensor]
    row: list[Tensor]


class _Gated(nn.Module):
    """One layer of both stacks.

    Arguments:
        inputs, channels: before and after.
        reach: r, how far it sees.
        first: whether it reads the pixels themselves, and so must leave out its own row and pixel.
        context: M.
    """

    def __init__(self, inputs: int, channels: int, reach: int, first: bool, context: int):
        super().__init__()
        self.inputs, self.reach, self.first = inputs, reach, first
        self.own = 0 if first else 1
        self.vertical = nn.Conv2d(inputs, 2 * channels, (reach + self.own, 2 * reach + 1))
        self.horizontal = nn.Conv2d(inputs, 2 * channels, (1, reach + self.own))
        self.down = nn.Conv2d(2 * channels, 2 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)
        self.context = nn.Conv2d(context, 4 * channels, 1, bias=False) if context else None

    def forward(self, v: Tensor, h: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """v and h (N, channels, height, width) of the next layer."""
        r, less = self.reach, self.own - 1
        above = self.vertical(pad(v, (r, r, r, less)))
        left = self.horizontal(pad(h, (r, less, 0, 0))) + self.down(above)
        terms = self.of_context(context)
        if terms is not None:
            above, left = above + terms[0], left + terms[1]
        g = self.out(_gate(left))
        return _gate(above), g if self.first else h + g

    def of_context(self, context: Tensor | None) -> tuple[Tensor, Tensor] | None:
        """The terms of the context in v and h."""
        if self.context is None:
            return None
        v, h = self.context(context).chunk(2, 1)
        return v, h

    def at_row(self, v: Tensor, context: tuple[Tensor, Tensor] | None, row: int) -> tuple[Tensor, Tensor]:
        """The next v (N, channels, width) at a row, and what h gets from above (N, 2 channels, width)."""
        window = v[:, :, row : row + self.reach + self.own]
        above = conv2d(window, self.vertical.weight, self.vertical.bias)
        left = self.down(above)
        if context is not None:
            at = slice(None) if context[0].shape[2] == 1 else slice(row, row + 1)
            above, left = above + context[0][:, :, at], left + context[1][:, :, at]
        assert self.horizontal.bias is not None
        return _gate(above).squeeze(2), left.squeeze(2) + self.horizontal.bias[:, None]

    def at_pixel(self, h: Tensor, row: Tensor, column: int, below: Tensor | None) -> Tensor:
        """The next h (N, channels) at a pixel; `below` is the h of this layer's input there."""
        window = h[:, :, column : column + self.reach + self.own].flatten(1)
        left = torch.addmm(row[:, :, column], window, self.horizontal.weight.flatten(1).T)
        g = torch.addmm(self.out.bias, _gate(left), self.out.weight.flatten(1).T)  # type: ignore[arg-type]
        return g if self.first or below is None else below + g


def _gate(y: Tensor) -> Tensor:
    a, b = y.chunk(2, 1)
    return torch.tanh(a) * torch.sigmoid(b)


def _as_map(context: Tensor | None) -> Tensor | None:
    """A vector as a map of one pixel."""
    return context[..., None, None] if context is not None and context.ndim == 2 else context
