"""What a frame will look like, from the frames before it: every pixel is fetched from near by.

    x̃_t(i) = Σ_d a_d(i) x̂_{t−1}(i + d)        a(i) = softmax of a net of x̂_{t−1}, …, x̂_{t−k},    |d| ≤ R along each axis
    (μ_t, s_t) = (f(x̃_t), 0) + g(f(x̃_t), z_{t−1}, …, z_{t−k})

x̂ are the frames as the decoder of the model shows their codes z, and f is its encoder: codes of what moved are those of
the moved picture, which a net that sees codes alone would have to learn for every place within a cell. Weights that
differ from pixel to pixel are those of Jia et al. (2016, arXiv:1605.09673) and Finn et al. (2016, arXiv:1605.07157,
§3.1); coding given a prediction in pixels is that of Lu et al. (2019, arXiv:1812.00101).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lowerbound.nets import ToMap

__all__ = ["Motion"]


class Motion(nn.Module):
    """The centre and scale of the codes of a frame, from those before it.

    Arguments:
        encoder: f, from pictures to codes. `Motion` refers to it and to the decoder and does not own them: the model
            lists, saves and moves their parameters, and a deep copy of the model refers to its own.
        decoder: from codes to pictures.
        window: k, the frames that are seen.
        channels: of the layers of both nets, 3×3 convolutions.
        activation: makes the nonlinearity.
        reach: R, how many pixels a pixel may come from along each axis.
        content: numbers, at each position, of a code w of the whole clip that decoder and nets are given; 0 without.
    """

    cites: ClassVar[tuple[str, ...]] = ("jia2016dynamic", "finn2016unsupervised", "lu2019dvc")
    by_name: ClassVar[bool] = False  # a part of `FramesInTurn`

    def __init__(
        self,
        encoder: ToMap,
        decoder: nn.Module,
        *,
        window: int,
        channels: Sequence[int],
        activation: Callable[[], nn.Module] = nn.ReLU,
        reach: int = 2,
        content: int = 0,
    ):
        super().__init__()
        self.__dict__["_encoder"], self.__dict__["_decoder"] = encoder, decoder
        self.reach, self._picture = reach, (1, *encoder.in_shape)[-3:]
        pictures, codes = self._picture[0], encoder.out_shape[-3]
        self.weights = convolutions([4 * window * (pictures + 1), *channels, 4 * (2 * reach + 1) ** 2], activation)
        self.rest = convolutions([codes + window * (codes + 1) + content, *channels, 2 * codes], activation)
        for last in (self.weights[-1], self.rest[-1]):
            nn.init.zeros_(last.weight)  # pyright: ignore[reportArgumentType]
            nn.init.zeros_(last.bias)  # pyright: ignore[reportArgumentType]

    @torch.no_grad()
    def shown(
        self, z: Float[Tensor, "*lead frame code row column"], content: Tensor | None = None
    ) -> Float[Tensor, "*lead frame channel height width"]:
        """x̂ of the codes of frames, given w (*lead, content, row, column), as constants."""
        given = (z,) if content is None else (z, content)
        return self.__dict__["_decoder"](*given).reshape(*z.shape[:-3], *self._picture)

    def forward(self, codes: Tensor, pictures: Tensor, known: Tensor, content: Tensor | None = None) -> Tensor:
        """μ_t and s_t (*lead, 2, code, height, width).

        Arguments:
            codes: z of the frames before (*lead, window, code, height, width), the latest last.
            pictures: x̂ of the same (*lead, window, channel, height, width).
            known: 1 for frames that there are (*lead, window).
            content: w (*lead, content, height, width).
        """
        lead = codes.shape[:-4]
        here = known[..., None, None, None]
        of_pictures = torch.cat([pictures * here, here.expand_as(pictures[..., :1, :, :])], -3)
        fetched = self._fetched(_rows(pictures[..., -1, :, :, :]), _rows(of_pictures.flatten(-4, -3)))
        there: Tensor = self.__dict__["_encoder"](fetched.reshape(-1, *self.__dict__["_encoder"].in_shape))
        of_codes = torch.cat([codes, here.expand_as(codes[..., :1, :, :])], -3)
        beside = [] if content is None else [_rows(content)]
        rest = self.rest(torch.cat([there, _rows(of_codes.flatten(-4, -3)), *beside], -3))
        found = rest.reshape(-1, 2, *there.shape[1:])
        return (found + torch.stack([there, torch.zeros_like(there)], 1)).reshape(*lead, *found.shape[1:])

    def _fetched(self, last: Tensor, seen: Tensor) -> Tensor:
        """x̃ of x̂_{t−1} (n, channel, H, W), from all that is seen (n, …, H, W)."""
        height, width = last.shape[-2:]
        even = nn.functional.pad(seen, (0, width % 2, 0, height % 2))
        logits = nn.functional.pixel_shuffle(self.weights(nn.functional.pixel_unshuffle(even, 2)), 2)
        share = logits[..., :height, :width].softmax(1)
        padded = nn.functional.pad(last, (self.reach,) * 4)
        side = 2 * self.reach + 1
        places = [(i, j) for i in range(side) for j in range(side)]
        parts = [share[:, [n]] * padded[..., i : i + height, j : j + width] for n, (i, j) in enumerate(places)]
        return torch.stack(parts).sum(0)


def _rows(maps: Tensor) -> Tensor:
    """Maps (*lead, channel, height, width), of which `lead` may be (), as rows (n, channel, height, width)."""
    return maps.reshape(-1, *maps.shape[-3:])


def convolutions(sizes: Sequence[int], activation: Callable[[], nn.Module]) -> nn.Sequential:
    """3×3 convolutions of these numbers of channels, with a nonlinearity between each two."""
    layers = list[nn.Module]()
    for fan_in, fan_out in pairwise(sizes):
        layers += [nn.Conv2d(fan_in, fan_out, 3, padding=1), activation()]
    return nn.Sequential(*layers[:-1])
