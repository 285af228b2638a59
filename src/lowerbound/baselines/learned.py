"""The input-dependent baseline of NVIL: Mnih & Gregor (2014, arXiv:1402.0030, §3.2 and Algorithm 1).

    f̂ = C_ψ(x) + c

The net C_ψ predicts the part of the signal that depends on the datum; c is a running mean of the rest, f − C_ψ(x), over
past steps. This rest can be hundreds of nats, which a net would take thousands of steps to reach. ψ minimises the mean
of (f − C_ψ(x) − c)² over samples.
"""

from __future__ import annotations

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from lowerbound.baselines.moving_average import MovingAverage
from lowerbound.nets.mlp import MLP
from lowerbound.nets.shapes import Shape

__all__ = ["Learned"]


class Learned(nn.Module):
    """A prediction from x, for one or more samples; it is trained in the same step as the model.

    Arguments:
        event_shape: shape of one datum.
        hidden: width of the one hidden layer; 0 makes C_ψ affine.
        decay: of the moving average c.
    """

    cites: ClassVar[tuple[str, ...]] = ("mnih2014neural",)

    def __init__(self, event_shape: Shape, hidden: int = 100, decay: float = 0.99):
        super().__init__()
        self.net = MLP(event_shape, [hidden] if hidden else [], 1, nn.Tanh)
        self.level = MovingAverage(decay)

    def forward(self, signal: Float[Tensor, "sample batch"], x: Tensor) -> Float[Tensor, "sample batch"]:
        """See `Baseline`. Missing entries (NaN) of x count as 0."""
        predicted = self.net(x.detach().nan_to_num()).squeeze(-1).to(signal.dtype)
        return predicted + self.level(signal.detach() - predicted.detach(), x)
