"""A log link for means that are made positive by `positive`: μ = m exp(f(z)), m the mean of the data.

`positive` is linear for large values, so that a net would have to output thousands for counts of thousands. Here
the output y of the net is the logarithm of the ratio to the mean count m_d of column d, bounded softly:

    raw_d = raw_of(m_d exp(c tanh(y_d / c)))          positive(raw_d) = m_d exp(c tanh(y_d / c))

A net whose last layer is zero gives the means of the data in every row. Encoders of counts see log(1 + x) at mean 0
and standard deviation 1 (`StandardizedLog1p`), which keeps long tails within a few units.
"""

from __future__ import annotations

from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lowerbound.nets.softplus import raw_of

__all__ = ["LogLink", "StandardizedLog1p"]

_LEAST_MEAN = 0.01


class LogLink(nn.Module):
    """A net of log-ratios followed by the inverse of `positive`.

    Arguments:
        net: from a context to y (..., *event_shape), which it states in `out_shape`.
        most: c, the largest log-ratio.
        floor: of the `positive` that follows.

    Returns (when called):
        The numbers that `positive` maps to m exp(c tanh(y / c)), shaped like y.
    """

    takes_leading_axes: bool = True

    mean: Tensor

    def __init__(self, net: nn.Module, most: float = 8.0, floor: float = 1e-6):
        super().__init__()
        self.net, self.most, self.floor = net, most, floor
        self.out_shape = cast(tuple[int, ...], net.out_shape)
        self.register_buffer("mean", torch.ones(self.out_shape))

    def forward(self, *inputs: Tensor) -> Tensor:
        """Map inputs as the net does."""
        ratio = (self.most * torch.tanh(self.net(*inputs) / self.most)).exp()
        return raw_of(self.mean * ratio + self.floor, self.floor)

    @torch.no_grad()
    def initialize(self, x: Float[Tensor, "row *event"]) -> None:
        """Set m to the means of counts x, at least 0.01."""
        self.mean.copy_(x.to(self.mean).mean(0).clamp_min(_LEAST_MEAN))


class StandardizedLog1p(nn.Module):
    """A net that sees log(1 + x) with each column at mean 0 and standard deviation 1.

    Arguments:
        net: from (..., *event_shape) to anything.
        event_shape: shape of one datum.
    """

    takes_leading_axes: bool = True

    mean: Tensor
    scale: Tensor

    def __init__(self, net: nn.Module, event_shape: tuple[int, ...]):
        super().__init__()
        self.net, self.out_shape = net, net.out_shape
        self.register_buffer("mean", torch.zeros(event_shape))
        self.register_buffer("scale", torch.ones(event_shape))

    def forward(self, x: Tensor, *others: Tensor) -> Tensor:
        """Map counts; other inputs go to the net as they are."""
        return self.net((torch.log1p(x) - self.mean) / self.scale, *others)

    @torch.no_grad()
    def initialize(self, x: Float[Tensor, "row *event"]) -> None:
        """Measure mean and standard deviation of log(1 + x); a constant column keeps the unit 1."""
        y = torch.log1p(x.to(self.mean))
        scale = y.std(0, correction=0)
        self.mean.copy_(y.mean(0))
        self.scale.copy_(torch.where(scale > 0, scale, 1.0))
