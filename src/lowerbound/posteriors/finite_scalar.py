"""Finite scalar quantisation: a grid of codes that nothing has to learn (Mentzer et al. 2023, arXiv:2309.15505, §3.1).

Each of D numbers is squashed to L_d values and rounded:

    g_d(f) = h_d tanh(f + s_d) − o_d       h_d = (L_d − 1)(1 − ε)/2,  o_d = ½ for even L_d else 0,  s_d = tan(o_d / h_d)
    f̂_d = round(g_d) / w_d                 w_d = ⌊L_d / 2⌋

The codes are all Π_d L_d points of the grid. Rounding is copied in the backward pass, so that the gradient for f̂ is
that for g / w. There is no codebook that could die, and nothing to start from data.

Where the tanh is flat no gradient comes back, and in the first steps a decoder that asks for brighter or darker images
moves all vectors the same way. Numbers beyond 2, where the slope is 0.07, are therefore drawn back, with the weight β
that `gradients.Quantized` calls commitment; the source has none, which is β = 0:

    β Σ_d max(|f_d + s_d| − 2, 0)²

The encoder may also let its numbers go together, so that most points of the grid have no vector. With `whitened` f is
brought to mean 0 and covariance 1 over the data (`nets.Whitening`), which the source does not do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lowerbound.nets.parameters import parameters_of
from lowerbound.nets.shapes import Shape, as_shape
from lowerbound.nets.whitening import Whitening
from lowerbound.posteriors.parameters import latent_shape_of
from lowerbound.posteriors.quantized import QuantizedDistribution, features_last, numbers_of, path_to
from lowerbound.protocols import Context

__all__ = ["MOST_CODES", "FiniteScalar"]

MOST_CODES = 8192
"""The largest codebook: z has one number for each code at each position."""
_EPSILON = 1e-3
_REACH = 2.0  # of f + s; beyond it the tanh is flat
_LEVELS = (8, 6, 5)


class FiniteScalar(nn.Module):
    """Codes on a fixed grid.

    Arguments:
        net: from a context (..., *event) to (..., D, *latent_shape).
        levels: L_d of each of the D numbers, two or more; five or more are advised by the source.
        latent_shape: the positions of the codes; read from `net.out_shape` if the net states it.
        whitened: whether f has mean 0 and covariance 1 over the data.

    Returns (when called with a context of B rows):
        A `QuantizedDistribution` with batch shape (B,) and event shape (*latent_shape, Π L_d).

    Raises:
        ValueError: no levels, a level below two, more than 8,192 codes, or a net of another output shape.
    """

    cites: ClassVar[tuple[str, ...]] = ("mentzer2023finite",)
    recipe: ClassVar[str] = "fsq"  # whose nets have the shape of codes

    points: Tensor

    def __init__(
        self,
        net: nn.Module,
        levels: Sequence[int] = _LEVELS,
        latent_shape: Shape | None = None,
        whitened: bool = False,
    ):
        super().__init__()
        self.net, self.levels = net, tuple(levels)
        num_codes = _checked(self.levels)
        self.latent_shape = latent_shape_of(net, latent_shape, owner="FiniteScalar", before=(len(self.levels),))
        self.event_shape = (*self.latent_shape, num_codes)
        self.whitening = Whitening(len(self.levels)) if whitened else None
        self._half = [(count - 1) * (1 - _EPSILON) / 2 for count in self.levels]
        self._offset = [0.5 * (count % 2 == 0) for count in self.levels]
        self._shift = [math.tan(o / h) for o, h in zip(self._offset, self._half, strict=True)]
        self._width = [count // 2 for count in self.levels]
        self._basis = [math.prod(self.levels[:d]) for d in range(len(self.levels))]
        number = torch.arange(num_codes)
        columns = [number // b % n - w for b, n, w in zip(self._basis, self.levels, self._width, strict=True)]
        self.register_buffer("points", torch.stack(columns, -1).float(), persistent=False)  # w f̂, whole numbers

    @staticmethod
    def parameter_shape(latent_shape: Shape, levels: Sequence[int] = _LEVELS) -> tuple[int, ...]:
        """What its net must output per datum."""
        return (len(levels), *as_shape(latent_shape))

    def forward(self, context: Context) -> QuantizedDistribution:
        """q(k | context)."""
        f = self._vectors(context)
        whitening = self.whitening
        half, offset, shift, width = (f.new_tensor(p) for p in (self._half, self._offset, self._shift, self._width))
        s = (f if whitening is None else whitening(f)) + shift
        g = torch.tanh(s) * half - offset
        index = ((g.detach().round() + width) * f.new_tensor(self._basis)).sum(-1)
        index = index.nan_to_num().long()  # the path keeps what is no number, which training names
        path = path_to(g / width, self.points.to(g.dtype) / width)
        beyond = (s.abs() - _REACH).clamp_min(0).square().flatten(1).sum(1)
        return QuantizedDistribution(
            index,
            len(self.points),
            path=path,
            commitment_error=beyond,
            observe=None if whitening is None else lambda: whitening.observe(f),
            dtype=g.dtype,
        )

    def initialize(self, x: Tensor) -> None:
        """Take the moments of the encoded rows."""
        if self.whitening is not None:
            with torch.no_grad():
                self.whitening.start(self._vectors(x))

    def at_step(self, step: int) -> None:
        """Move the running moments by what the last step has shown them."""
        if self.whitening is not None:
            self.whitening.advance()

    @property
    def num_codes(self) -> int:
        """See `hooks.Embeds`."""
        return self.event_shape[-1]

    def numbers(self, z: Float[Tensor, "..."]) -> Int[Tensor, "..."]:
        """See `hooks.Embeds`; there is one stage."""
        return numbers_of(z, len(self.latent_shape)).unsqueeze(-2)

    def embed(self, z: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """See `hooks.Embeds`."""
        return (z @ self.points.to(z.dtype) / z.new_tensor(self._width)).movedim(-1, -1 - len(self.latent_shape))

    def _vectors(self, context: Context) -> Float[Tensor, "batch ... feature"]:
        return features_last(parameters_of(self.net, context), len(self.latent_shape))


def _checked(levels: tuple[int, ...]) -> int:
    """The number of codes."""
    if not levels or min(levels) < 2:
        raise ValueError(
            f"FiniteScalar got levels={list(levels)} and needs two or more in each place; one level says nothing."
        )
    if math.prod(levels) > MOST_CODES:
        raise ValueError(
            f"FiniteScalar got levels={list(levels)}, which make {math.prod(levels):,} codes, and takes at most "
            f"{MOST_CODES:,}; take fewer levels, or residual-quantized or lookup-free, which need no list of codes."
        )
    return math.prod(levels)
