"""What a frame will look like, from the frames before it: every pixel is fetched from near by, twice.

    x̃(i)  = Σ_d a_d(i) x̂_{t−1}(i + d)        a(i) = softmax of a net of x̂_{t−1}, …, x̂_{t−k},    |d| ≤ R along each axis
    (μ_t, s_t) = (f(x̃), 0) + g(f(x̃), z_{t−1}, …, z_{t−k})

x̂ are the frames as the decoder of the model shows their codes z, and f is its encoder: codes of what moved are those of
the moved picture, which a net that sees codes alone would have to learn for every place within a cell.

Where things move to is not known from the past alone, and all numbers of a code depend on it: with one distribution for
each of them, what is not known is paid in each. So the first channels of a code are coded first, and pixels are fetched
again for the others, by a net a′ that sees how far those lie from f(x̃), in place of a motion vector that is coded
(Lu et al. 2019). They say where to fetch from, and nothing else of the frame: g′ is given f(x̃′) and the past as g is.

Weights that differ from pixel to pixel are those of Jia et al. (2016, arXiv:1605.09673) and Finn et al. (2016,
arXiv:1605.07157, §3.1); coding given a prediction in pixels is that of Lu et al. (2019, arXiv:1812.00101), and channels
that come in turn are those of Minnen & Singh (2020, arXiv:2007.08739).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lowerbound.nets import ToMap

__all__ = ["Motion", "Seen"]

_STAYS = 2.0
"""Of the logit of the pixel at the same place before training: a frame begins as the last one."""


@dataclass(frozen=True, eq=False)
class Seen:
    """What the code of a frame is predicted from, in rows (n, …).

    Attributes:
        last: x̂_{t−1} (n, channel, H, W).
        pictures: x̂ of the frames before and which of them there are, four pixels in a place (n, …, ⌈H/2⌉, ⌈W/2⌉).
        codes: z of the frames before, and w (n, …, height, width).
        fetched: x̃ (n, channel, H, W).
        there: f(x̃) (n, code, height, width).
    """

    last: Tensor
    pictures: Tensor
    codes: Tensor
    fetched: Tensor
    there: Tensor


class Motion(nn.Module):
    """The centre and scale of the codes of a frame, from those before it.

    Arguments:
        encoder: f, from pictures to codes of two channels at least. `Motion` refers to it and to the decoder and does
            not own them: the model lists, saves and moves their parameters, and a deep copy of the model refers to its
            own.
        decoder: from codes to pictures.
        window: k, the frames that are seen.
        channels: of the layers of all nets, 3×3 convolutions.
        activation: makes the nonlinearity.
        reach: R, how many pixels a pixel may come from along each axis.
        content: numbers, at each position, of a code w of the whole clip that decoder and nets are given; 0 without.

    Raises:
        ValueError: codes of one channel.
    """

    cites: ClassVar[tuple[str, ...]] = ("jia2016dynamic", "finn2016unsupervised", "lu2019dvc", "minnen2020channelwise")
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
        if codes < 2:
            raise ValueError("prior=motion got code_channels=1 and codes a frame in two turns; give 2 or more.")
        early = max(1, codes // 4)
        self.widths = (early, codes - early)
        seen, places = 4 * window * (pictures + 1), 4 * (2 * reach + 1) ** 2
        given = codes + window * (codes + 1) + content
        self.weights = _from_zero([seen, *channels, places], activation)
        self.weights_again = _from_zero([seen + 4 * pictures + 2 * early, *channels, places], activation)
        self.rest = _from_zero([given, *channels, 2 * early], activation)
        self.rest_again = _from_zero([given, *channels, 2 * (codes - early)], activation)
        for net in (self.weights, self.weights_again):
            with torch.no_grad():
                net[-1].bias.view(-1, 4)[places // 8] = _STAYS  # pyright: ignore

    @torch.no_grad()
    def shown(
        self, z: Float[Tensor, "*lead frame code row column"], content: Tensor | None = None
    ) -> Float[Tensor, "*lead frame channel height width"]:
        """x̂ of the codes of frames, given w (*lead, content, row, column), as constants."""
        given = (z,) if content is None else (z, content)
        return self.__dict__["_decoder"](*given).reshape(*z.shape[:-3], *self._picture)

    def forward(self, codes: Tensor, pictures: Tensor, known: Tensor, content: Tensor | None = None) -> Seen:
        """What is seen before anything of the frame is known.

        Arguments:
            codes: z of the frames before (*lead, window, code, height, width), the latest last.
            pictures: x̂ of the same (*lead, window, channel, height, width).
            known: 1 for frames that there are (*lead, window).
            content: w (*lead, content, height, width).
        """
        here = known[..., None, None, None]
        of_pictures = torch.cat([pictures * here, here.expand_as(pictures[..., :1, :, :])], -3)
        of_codes = _rows(torch.cat([codes, here.expand_as(codes[..., :1, :, :])], -3).flatten(-4, -3))
        beside = of_codes if content is None else torch.cat([of_codes, _rows(content)], -3)
        last, halved = _rows(pictures[..., -1, :, :, :]), _halved(_rows(of_pictures.flatten(-4, -3)))
        fetched = self._fetched(last, self.weights(halved))
        return Seen(last=last, pictures=halved, codes=beside, fetched=fetched, there=self._encoded(fetched))

    def first(self, seen: Seen) -> Float[Tensor, "row 2 code height width"]:
        """μ and s of the first channels."""
        return self._beside(seen.there[:, : self.widths[0]], self.rest, seen.there, seen.codes)

    def others(self, seen: Seen, early: Float[Tensor, "*lead code height width"]) -> Tensor:
        """μ and s of the other channels (row, 2, code, height, width), given the first ones."""
        early = _rows(early)
        off = torch.cat([early - seen.there[:, : self.widths[0]], early], 1)
        nearer = nn.functional.interpolate(off, size=seen.pictures.shape[-2:])
        inputs = torch.cat([seen.pictures, _halved(seen.fetched), nearer], 1)
        there = self._encoded(self._fetched(seen.last, self.weights_again(inputs)))
        return self._beside(there[:, self.widths[0] :], self.rest_again, there, seen.codes)

    def _beside(self, centre: Tensor, net: nn.Module, there: Tensor, codes: Tensor) -> Tensor:
        found = net(torch.cat([there, codes], -3)).reshape(-1, 2, *centre.shape[1:])
        return found + torch.stack([centre, torch.zeros_like(centre)], 1)

    def _encoded(self, pictures: Tensor) -> Tensor:
        return self.__dict__["_encoder"](pictures.reshape(-1, *self.__dict__["_encoder"].in_shape))

    def _fetched(self, last: Tensor, weights: Tensor) -> Tensor:
        """x̃ of x̂_{t−1} (n, channel, H, W) and the logits of a (n, 4 places, ⌈H/2⌉, ⌈W/2⌉)."""
        height, width = last.shape[-2:]
        share = nn.functional.pixel_shuffle(weights, 2)[..., :height, :width].softmax(1)
        padded = nn.functional.pad(last, (self.reach,) * 4)
        side = 2 * self.reach + 1
        places = [(i, j) for i in range(side) for j in range(side)]
        parts = [share[:, [n]] * padded[..., i : i + height, j : j + width] for n, (i, j) in enumerate(places)]
        return torch.stack(parts).sum(0)


def _halved(pictures: Tensor) -> Tensor:
    """Four pixels side by side in one place: (n, 4 channel, ⌈H/2⌉, ⌈W/2⌉)."""
    height, width = pictures.shape[-2:]
    return nn.functional.pixel_unshuffle(nn.functional.pad(pictures, (0, width % 2, 0, height % 2)), 2)


def _rows(maps: Tensor) -> Tensor:
    """Maps (*lead, channel, height, width), of which `lead` may be (), as rows (n, channel, height, width)."""
    return maps.reshape(-1, *maps.shape[-3:])


def _from_zero(sizes: Sequence[int], activation: Callable[[], nn.Module]) -> nn.Sequential:
    """Convolutions that begin as 0."""
    net = convolutions(sizes, activation)
    nn.init.zeros_(net[-1].weight)  # pyright: ignore
    nn.init.zeros_(net[-1].bias)  # pyright: ignore
    return net


def convolutions(sizes: Sequence[int], activation: Callable[[], nn.Module]) -> nn.Sequential:
    """3×3 convolutions of these numbers of channels, with a nonlinearity between each two."""
    layers = list[nn.Module]()
    for fan_in, fan_out in pairwise(sizes):
        layers += [nn.Conv2d(fan_in, fan_out, 3, padding=1), activation()]
    return nn.Sequential(*layers[:-1])
