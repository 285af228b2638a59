"""A linear path beside a net: y = A x + c + f(x), where f begins near 0 and the rest at a linear model.

    decoder of factor analysis    μ = W z + b,          σ = ψ^½
    encoder of the same           μ = M⁻¹ Wᵀ Ψ⁻¹ (x − b),          σ_i = (M_ii)^−½,          M = I + Wᵀ Ψ⁻¹ W

The two parameters of a Gaussian are stacked, (2, event): the linear path is added to the first, and a constant to the
second. With f = 0 and these values p(x) is factor analysis and q(z | x) its best factorised posterior
(`exact.LinearGaussian.optimal_diagonal`), so that training starts there and learns the nonlinear part.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lowerbound.nets.mlp import MLP

__all__ = ["LinearPath"]


class LinearPath(nn.Module):
    """A perceptron from vectors (..., in) to (..., 2, out), plus a linear map for the first of the two.

    Arguments:
        net: an `MLP` of output shape (2, out); its last layer is scaled by `start`.
        start: the factor of the last layer of the net: small, so that the linear path dominates at first.

    Raises:
        ValueError: a net of another output shape.

    >>> LinearPath(MLP(3, [8], (2, 5)))(torch.zeros(7, 3)).shape
    torch.Size([7, 2, 5])
    """

    takes_leading_axes: bool = True

    def __init__(self, net: MLP, start: float = 0.05):
        super().__init__()
        if len(net.out_shape) != 2 or net.out_shape[0] != 2 or len(net.in_shapes) != 1:
            raise ValueError(
                f"LinearPath got a net of output shape {net.out_shape} and expected (2, out) of one input."
            )
        self.net, self.out_shape = net, net.out_shape
        self.linear = nn.Linear(net.in_shapes[0][0], net.out_shape[1])
        self.raw_scale = nn.Parameter(torch.zeros(net.out_shape[1]))
        last = net.layers[-1]
        assert isinstance(last, nn.Linear)
        with torch.no_grad():
            last.weight.mul_(start)
            last.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """Map vectors (..., in) to (..., 2, out)."""
        loc = self.linear(x)
        return self.net(x) + torch.stack([loc, self.raw_scale.expand_as(loc)], -2)

    @torch.no_grad()
    def start_at(
        self, weight: Float[Tensor, "out in"], offset: Float[Tensor, "out"], raw_scale: Float[Tensor, "out"]
    ) -> None:
        """Give the linear path A, c and the constant of the second parameter (before `positive`)."""
        self.linear.weight.copy_(weight)
        self.linear.bias.copy_(offset)
        self.raw_scale.copy_(raw_scale)
