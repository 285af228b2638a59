"""p̃(z) = Π_i [F_c(z_i + ½) − F_c(z_i − ½)], F_c a monotone net for each channel c (Ballé et al. 2018,
arXiv:1802.01436, appendix 6.1).

    F_c(z) = σ(l_c(z))          l_c = f_K ∘ … ∘ f_1          f_k(h) = g_k(H_k h + b_k)
    g_k(h) = h + a_k tanh(h)    H_k = softplus(Ĥ_k) > 0      a_k = tanh(â_k) > −1          f_K without g

l_c rises, so that F_c is a distribution function of any shape. With u = l(z + ½) and v = l(z − ½),

    log [σ(u) − σ(v)] = log σ(u) + log σ(−v) + log(1 − e^{v − u})

has all its digits in both tails. All numbers of a channel share F_c, so that maps of any size have a prior.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import ClassVar, cast

import numpy as np
import torch
from jaxtyping import Float
from scipy import special
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, softplus

from lowerbound.nets.shapes import Shape, as_shape
from lowerbound.priors.whole_numbers import WholeNumbers
from lowerbound.protocols import Context

__all__ = ["FactorizedCumulative", "FactorizedCumulativeDistribution"]

_WIDTHS = (3, 3, 3)
_INITIAL_SCALE = 4.0
_FARTHEST = 2.0**20
_HALVINGS = 60


class FactorizedCumulative(nn.Module):
    """Independent codes, of one distribution in each channel.

    Arguments:
        latent_shape: (C, *positions), or a length C.

    Returns (when called, with or without a context):
        A `FactorizedCumulativeDistribution` of batch shape () and event shape `latent_shape`.
    """

    cites: ClassVar[tuple[str, ...]] = ("balle2018variational",)
    by_name: ClassVar[bool] = False  # made of other parts, in Python

    def __init__(self, latent_shape: Shape):
        super().__init__()
        self.latent_shape = self.event_shape = as_shape(latent_shape)
        channels, sizes = self.event_shape[0], (1, *_WIDTHS, 1)
        step = _INITIAL_SCALE ** (1 / (len(_WIDTHS) + 1))
        self.matrices = nn.ParameterList(
            torch.full((channels, out, into), math.log(math.expm1(1 / step / out))) for into, out in pairwise(sizes)
        )
        self.biases = nn.ParameterList(torch.rand(channels, out, 1) - 0.5 for out in sizes[1:])
        self.factors = nn.ParameterList(torch.zeros(channels, out, 1) for out in sizes[1:-1])

    def forward(self, context: Context | None = None) -> FactorizedCumulativeDistribution:
        """p̃(z); the context is not looked at."""
        return FactorizedCumulativeDistribution(self)

    def logits(self, z: Float[Tensor, "channel number"]) -> Float[Tensor, "channel number"]:
        """l_c(z) of numbers of each channel."""
        h = z[:, None]
        for k, (matrix, bias) in enumerate(zip(self.matrices, self.biases, strict=True)):
            h = softplus(matrix) @ h + bias
            if k < len(self.factors):
                h = h + torch.tanh(cast(Tensor, self.factors[k])) * torch.tanh(h)
        return h[:, 0]


class FactorizedCumulativeDistribution(WholeNumbers):
    """Made by `FactorizedCumulative`.

    Arguments:
        module: the nets of the channels.
    """

    def __init__(self, module: FactorizedCumulative):
        self._module = module
        super().__init__(torch.Size(), torch.Size(module.event_shape))

    def log_mass(self, z: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """See `WholeNumbers`."""
        axis = z.ndim - len(self.event_shape)
        channels_first = z.movedim(axis, 0)
        flat = channels_first.reshape(len(channels_first), -1)
        lower, upper = self._module.logits(flat - 0.5), self._module.logits(flat + 0.5)
        gap = (lower - upper).clamp_max(-torch.finfo(z.dtype).eps)
        found = logsigmoid(upper) + logsigmoid(-lower) + torch.log(-torch.expm1(gap))
        return found.reshape(channels_first.shape).movedim(0, axis)

    def cumulative_at(self, low: int, high: int) -> Float[np.ndarray, "..."]:
        """F_c(k + ½) of every k (C, 1, …, 1, K)."""
        weight = cast(Tensor, self._module.matrices[0])
        ends = torch.arange(low, high + 1, dtype=weight.dtype, device=weight.device) + 0.5
        with torch.no_grad():
            logits = self._module.logits(ends.expand(len(weight), -1))
        table = special.expit(logits.double().cpu().numpy())
        return table.reshape(len(table), *(1 for _ in self.event_shape[1:]), -1)

    def _quantile_draw(self, shape: torch.Size) -> Tensor:
        """F⁻¹ of uniform numbers, by bisection."""
        weight = cast(Tensor, self._module.matrices[0])
        u = torch.rand(shape, dtype=weight.dtype, device=weight.device).clamp(1e-7, 1 - 1e-7)
        axis = u.ndim - len(self.event_shape)
        logits = u.logit().movedim(axis, 0)
        flat = logits.reshape(len(logits), -1)
        below, above = torch.full_like(flat, -_FARTHEST), torch.full_like(flat, _FARTHEST)
        for _ in range(_HALVINGS):
            middle = (below + above) / 2
            less = self._module.logits(middle) < flat
            below, above = torch.where(less, middle, below), torch.where(less, above, middle)
        return above.reshape(logits.shape).movedim(0, axis)
