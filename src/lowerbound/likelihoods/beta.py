"""p(x | z) = Π_d Beta(x_d; m_d ν_d, (1 − m_d) ν_d) on (0, 1), in mean m and concentration ν (Ferrari &
Cribari-Neto 2004).

log p(x) = (α − 1) log x + (β − 1) log(1 − x) − log B(α, β),   α = m ν,  β = (1 − m) ν,  Var[x] = m(1 − m)/(ν + 1)

With Stirling's remainder ρ in log B (see `stirling`), the terms of size ν log ν cancel on paper and leave

log p(x) = α log x/m + β log (1−x)/(1−m) − log x(1 − x) + ½ log αβ/ν − ½ log 2π − ρ(α) − ρ(β) + ρ(ν),

which keeps its digits in float32 for ν in the millions.

A Beta density may be zero or infinite at 0 and 1. x is therefore moved into [ε, 1 − ε] before it is scored, and the
mean is kept in the same interval: an exact 0 or 1 in the data counts as ε or 1 − ε. The default ε = 1e-4 is far below
the half level 1/510 of 8-bit images. The integral over [0, 1] differs from 1 by the mass of the density beyond ε.
Outside [0, 1] log p is −∞.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Beta as TorchBeta
from torch.distributions import Independent
from torch.types import _size

from lowerbound.likelihoods.elementwise import ElementwiseDistribution
from lowerbound.likelihoods.outputs import event_shape_of, output_bias_of
from lowerbound.likelihoods.stirling import HALF_LOG_TWO_PI, log_ratio, stirling_remainder
from lowerbound.nets.parameters import parameters_of
from lowerbound.nets.shapes import Shape, as_shape
from lowerbound.nets.softplus import positive
from lowerbound.protocols import Context
from lowerbound.support import LikelihoodFacts, Support, unit_interval

__all__ = ["Beta", "BetaDistribution"]


class Beta(nn.Module):
    """Independent Beta variables whose means and concentrations are computed by a net.

    Arguments:
        net: from a context (..., latent_dim) to (..., 2, *event_shape): the logit of the mean, and the concentration
            before `positive`.
        event_shape: shape of one datum; read from `net.out_shape` if the net states it.
        epsilon: x and the mean are kept in [epsilon, 1 − epsilon].
        min_concentration: the floor of ν.

    Returns (when called):
        A reparameterised distribution over x in [0, 1]; log-densities are nats per datum, summed over `event_shape`.

    Raises:
        ValueError: epsilon outside (0, ½), or a net of the wrong output shape.
    """

    cites: ClassVar[tuple[str, ...]] = ("ferrari2004beta",)

    facts: ClassVar[LikelihoodFacts] = LikelihoodFacts(
        domain="unit interval", discrete=False, baselines=("gaussian", "gaussian_mixture")
    )

    def __init__(
        self,
        net: nn.Module,
        event_shape: Shape | None = None,
        epsilon: float = 1e-4,
        min_concentration: float = 1e-2,
    ):
        super().__init__()
        if not 0 < epsilon < 0.5:
            raise ValueError(f"Beta got epsilon={epsilon} and expected a number in (0, 0.5), e.g. 1e-4.")
        self.net, self.epsilon, self.min_concentration = net, epsilon, min_concentration
        self.event_shape = event_shape_of(net, event_shape, (2,), owner="Beta")

    @staticmethod
    def parameter_shape(event_shape: Shape) -> tuple[int, ...]:
        """What its net must output per datum."""
        return (2, *as_shape(event_shape))

    @property
    def support(self) -> Support:
        """[0, 1]: an exact 0 or 1 counts as epsilon or 1 − epsilon."""
        return unit_interval

    def forward(self, context: Context) -> Independent:
        """p(x | context)."""
        parameters = parameters_of(self.net, context, (2, *self.event_shape))
        logit, raw = parameters.unbind(-1 - len(self.event_shape))
        mean = self.epsilon + (1 - 2 * self.epsilon) * torch.sigmoid(logit)
        concentration = positive(raw, self.min_concentration)
        distribution = BetaDistribution(mean, concentration, self.epsilon)
        return Independent(distribution, len(self.event_shape), validate_args=False)

    @torch.no_grad()
    def initialize(self, x: Tensor) -> None:
        """Put the output bias of the mean at the logit of the mean datum, clipped to ±4.6 (1 %)."""
        bias = output_bias_of(self.net)
        if bias is not None:
            bias[0].copy_(x.to(bias).mean(0).clamp(0.01, 0.99).logit())


class BetaDistribution(ElementwiseDistribution):
    """The Beta density in mean and concentration, elementwise, finite on all of [0, 1].

    Arguments:
        mean: m in (0, 1).
        concentration: ν > 0.
        epsilon: values are kept in [epsilon, 1 − epsilon] when scored.
    """

    has_rsample = True

    def __init__(self, mean: Tensor, concentration: Tensor, epsilon: float = 1e-4):
        super().__init__(mean, concentration)
        self.epsilon = epsilon
        self._mean, self.concentration = self.parameters

    def _like(self, *parameters: Tensor) -> BetaDistribution:
        return BetaDistribution(*parameters, epsilon=self.epsilon)

    @property
    def mean(self) -> Tensor:
        """m."""
        return self._mean

    @property
    def variance(self) -> Tensor:
        """m (1 − m)/(ν + 1)."""
        return self.mean * (1 - self.mean) / (self.concentration + 1)

    def log_prob(self, value: Tensor) -> Tensor:
        """log p(value) per element, nats."""
        x, m, n = value.clamp(self.epsilon, 1 - self.epsilon), self.mean, self.concentration
        a, b = m * n, (1 - m) * n
        fit = a * log_ratio(x, m, x - m) + b * log_ratio(1 - x, 1 - m, m - x)
        volume = 0.5 * (torch.log(a) + torch.log(b) - torch.log(n)) - torch.log(x) - torch.log1p(-x)
        remainder = stirling_remainder(a) + stirling_remainder(b) - stirling_remainder(n)
        log_prob = fit + volume - HALF_LOG_TWO_PI - remainder
        return torch.where((value < 0) | (value > 1), -torch.inf, log_prob)

    def entropy(self) -> Tensor:
        """Nats per element."""
        return self._torch().entropy()

    def rsample(self, sample_shape: _size = ()) -> Tensor:
        """Draw from Beta(m ν, (1 − m) ν), differentiably: (*sample_shape, *batch_shape)."""
        return self._torch().rsample(sample_shape)

    def _torch(self) -> TorchBeta:
        a, b = self.mean * self.concentration, (1 - self.mean) * self.concentration
        return TorchBeta(a, b, validate_args=False)
