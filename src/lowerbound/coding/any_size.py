"""Codes of pictures of any size by a rate–distortion autoencoder of convolutions (`coding.windows`).

    z_1 = round(f(x))     z_{l+1} = round(h_l(z_l))        p̃(z_L) Π_l p̃(z_l | z_{l+1})        x̂ = g(z_1)

Nets, and the distribution of each channel of the top layer, know no size, so that what was fitted to pictures of one
size codes those of another. The top layer is coded first; of every layer one strip of rows of a window after another,
which bounds the memory. Pictures come one after another on one stack, and decoding makes the same windows.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias, cast

import numpy as np
import torch
from torch import Tensor, nn

from lowerbound.coding.bits_back import exactly
from lowerbound.coding.stack import BitStack
from lowerbound.coding.whole_numbers import Parts, Progress, Range, note_parts, pop_numbers, ranges_of, stack_of
from lowerbound.coding.windows import from_windows, to_map
from lowerbound.model import LatentVariableModel
from lowerbound.nets import FromMap, ToMap
from lowerbound.nets.maps import map_shape
from lowerbound.nets.softplus import positive
from lowerbound.posteriors import UniformNoise, UniformNoiseLayers
from lowerbound.priors import FactorizedCumulative, Hierarchical, NoisyNormal
from lowerbound.priors.noisy_normal import NoisyNormalDistribution
from lowerbound.priors.whole_numbers import WholeNumbers

__all__ = ["CodedPictures", "PictureCodec", "Size"]

_NUMBERS_AT_ONCE = 1 << 15

Size: TypeAlias = tuple[int, int]
"""Height and width."""

Strip: TypeAlias = tuple[slice, slice]
Choose: TypeAlias = Callable[[int, Strip, WholeNumbers], Tensor]
"""The numbers of a strip of a layer, of its distribution."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CodedPictures:
    """The codes of pictures of any size.

    Attributes:
        stack: their bits.
        ranges: from one below the least to one above the greatest number of each layer.
        net_bits: what they added to the stack.
        information: −log₂ p̂(z), bits: what the codes should take (`coding.whole_numbers`).
        above_information: that of the layers above z_1.
        model_information: −log₂ p̃(z).
        decoded: what comes back of each picture.
    """

    stack: BitStack
    ranges: tuple[Range, ...]
    net_bits: float
    information: float
    above_information: float
    model_information: float
    decoded: list[np.ndarray]


class PictureCodec:
    """Codes pictures of any size.

    Arguments:
        model: made by `models.rate_distortion`.
        events: from a stored picture (*channels, height, width) to x, as the likelihood scores it.
        stored: the inverse.

    Raises:
        ValueError: a model of something else than pictures.
    """

    def __init__(
        self,
        model: LatentVariableModel,
        events: Callable[[np.ndarray], Tensor],
        stored: Callable[[Tensor], np.ndarray],
    ):
        self.model, self.events, self.stored = copy.deepcopy(model).double().eval(), events, stored
        self._encoders, self._conditionals, self._top, self._decoder = _nets(self.model)

    @property
    def least(self) -> int:
        """The least height and width of a picture."""
        return 1 << self._decoder.num_stages

    def encode(self, pictures: Sequence[np.ndarray], progress: Progress | None = None) -> CodedPictures:
        """Code stored pictures.

        Raises:
            ValueError: numbers too far apart for a table.
        """
        with exactly():
            codes = []
            for picture in pictures:
                codes.append(self._codes(picture))
                _tell(progress, len(codes), 2 * len(pictures), len(pictures))
            ranges, pushed = ranges_of(codes), Parts()
            information, exact, decoded = [[0.0] for _ in ranges], 0.0, []
            for picture, z in zip(pictures, codes, strict=True):

                def note(layer: int, place: Strip, d: WholeNumbers, z: list[Tensor] = z) -> Tensor:
                    nonlocal exact
                    numbers = z[layer][(..., *place)]
                    note_parts(pushed, information[layer], d, numbers, ranges[layer])
                    exact -= float(d.log_mass(numbers).sum()) / math.log(2)
                    return numbers

                decoded.append(self._shown(self._chosen(_size_of(picture), note), picture.shape))
                _tell(progress, len(codes) + len(decoded), 2 * len(pictures), len(pictures))
            each = [bits for (bits,) in information]
            stack = stack_of(pushed, sum(each))
        return CodedPictures(
            stack=stack,
            ranges=ranges,
            net_bits=stack.num_bits,
            information=sum(each),
            above_information=sum(each[1:]),
            model_information=exact,
            decoded=decoded,
        )

    def decode(
        self,
        stack: BitStack,
        shapes: Sequence[tuple[int, ...]],
        ranges: tuple[Range, ...],
        progress: Progress | None = None,
    ) -> list[np.ndarray]:
        """What comes back of pictures of these shapes, from the stack, which is empty afterwards.

        Raises:
            StackError: the stack is not of this model and these pictures.
        """
        found, lanes = list[np.ndarray](), len(stack.heads)
        with exactly():
            for shape in shapes:
                size = (shape[-2], shape[-1])
                numbers = self._chosen(size, lambda layer, _, d: pop_numbers(stack, d, 1, ranges[layer], lanes)[0])
                found.append(self._shown(numbers, shape))
                _tell(progress, len(found), len(shapes), len(shapes))
            stack.narrow(0)
        return found

    def _codes(self, picture: np.ndarray) -> list[Tensor]:
        """z_1, …, z_L (1, channel, height, width)."""
        z, found = self.events(picture)[None].double(), []
        for net in self._encoders:
            z = to_map(net, z).round()
            found.append(z)
        return found

    def _chosen(self, size: Size, choose: Choose) -> Tensor:
        """z_1 of a picture, all of whose layers are chosen strip by strip, the top one first."""
        sizes = [size]
        for net in self._encoders:
            sizes.append(map_shape(sizes[-1], net.num_stages))
        above, layer = None, len(self._encoders)
        for of_layer in reversed(sizes[1:]):
            layer -= 1
            given = None if above is None else _strips(self._conditionals[layer], above, of_layer)
            found = torch.empty(1, self._encoders[layer].out_shape[0], *of_layer)
            for rows, columns, d in given or self._top_strips(of_layer):
                found[..., rows, columns] = choose(layer, (rows, columns), d)
            above = found
        assert above is not None
        return above

    def _top_strips(self, size: Size) -> Iterator[tuple[slice, slice, WholeNumbers]]:
        """The distributions of strips of the top layer."""
        channels = self._top.event_shape[0]
        for rows in _rows(size, channels):
            sized = copy.copy(self._top)
            sized.event_shape = (channels, rows.stop - rows.start, size[1])
            yield rows, slice(0, size[1]), sized()

    def _shown(self, z: Tensor, shape: tuple[int, ...]) -> np.ndarray:
        """E[x | z_1] as a stored picture."""
        found = np.empty(shape, np.uint8)
        for rows, columns, x in from_windows(self._decoder, z, (shape[-2], shape[-1])):
            found[..., rows, columns] = self.stored(x[0])
        return found


def _nets(
    model: LatentVariableModel,
) -> tuple[list[ToMap], list[NoisyNormal], FactorizedCumulative, FromMap]:
    """f and h_l, the p̃ of the layers below the top, that of the top, and g.

    Raises:
        ValueError: the model has others.
    """
    q, p = model.posterior, model.prior
    layers = list(q.conditionals) if isinstance(q, UniformNoiseLayers) else [q]
    priors = list(p.conditionals) if isinstance(p, Hierarchical) else [p]
    encoders = [layer.net for layer in layers if isinstance(layer, UniformNoise) and isinstance(layer.net, ToMap)]
    below = [one for one in priors[:-1] if isinstance(one, NoisyNormal) and isinstance(one.net, FromMap)]
    decoders = [net for net in cast(nn.Module, model.likelihood).modules() if isinstance(net, FromMap)]
    top = priors[-1]
    whole = len(encoders) == len(layers) == len(priors) == len(below) + 1 and len(decoders) == 1
    if not whole or not isinstance(top, FactorizedCumulative):
        raise ValueError("Pictures of another size than those of the fit take a model of the recipe rate-distortion.")
    return encoders, below, top, decoders[0]


def _strips(p: NoisyNormal, above: Tensor, size: Size) -> Iterator[tuple[slice, slice, WholeNumbers]]:
    """The distributions of strips of a layer of this size, given the layer above it."""
    assert isinstance(p.net, FromMap)
    for rows, columns, parameters in from_windows(p.net, above, size):
        loc, raw = parameters.unbind(1)
        scale = positive(raw, p.min_scale)
        for strip in _rows((rows.stop - rows.start, columns.stop - columns.start), loc.shape[1]):
            place = slice(rows.start + strip.start, rows.start + strip.stop)
            yield place, columns, NoisyNormalDistribution(loc[..., strip, :], scale[..., strip, :], 3)


def _rows(size: Size, channels: int) -> Iterator[slice]:
    """Rows of a map, some at a time."""
    at_once = max(1, _NUMBERS_AT_ONCE // (channels * size[1]))
    for start in range(0, size[0], at_once):
        yield slice(start, min(start + at_once, size[0]))


def _size_of(picture: np.ndarray) -> Size:
    return picture.shape[-2], picture.shape[-1]


def _tell(progress: Progress | None, done: int, of: int, total: int) -> None:
    if progress is not None:
        progress(total * done // of, total)
