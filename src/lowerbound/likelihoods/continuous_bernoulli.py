"""p(x | z) = Π_d C(λ_d) λ_d^x_d (1 − λ_d)^(1 − x_d) on [0, 1]  (Loaiza-Ganem & Cunningham 2019, arXiv:1907.06845).

The Bernoulli formula with the constant C(λ) that makes it a density for intensities. With the logit η = log λ/(1 − λ),
it is the exponential family

    p(x) = e^(η x) / Z(η),   Z(η) = ∫₀¹ e^(η x) dx = (e^η − 1)/η = e^(η/2) sinh(h)/h,   h = η/2,

    E[x] = ½ (1 + L(h)),    Var[x] = ¼ L'(h),    L(h) = coth h − 1/h  (Langevin's function).

All three are 0/0 at η = 0, that is λ = ½, where the paper's formulas lose every digit; for |h| < ½ they are Taylor
series here. For large |η| the density is computed as what it is: an exponential of rate |η| from the nearer end,
truncated.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Independent
from torch.types import _size

from lowerbound.likelihoods.elementwise import ElementwiseDistribution
from lowerbound.likelihoods.outputs import event_shape_of, output_bias_of
from lowerbound.nets.parameters import parameters_of
from lowerbound.nets.shapes import Shape, as_shape
from lowerbound.protocols import Context
from lowerbound.support import LikelihoodFacts, Support, unit_interval

__all__ = ["ContinuousBernoulli", "ContinuousBernoulliDistribution"]

_LOG_SINHC = (1 / 6, -1 / 180, 1 / 2835, -1 / 37800, 1 / 467775, -691 / 3831077250)
_LANGEVIN = (1 / 3, -1 / 45, 2 / 945, -1 / 4725, 2 / 93555, -1382 / 638512875)
_SMALL = 0.5
_SMALL_RATE = 1e-2


class ContinuousBernoulli(nn.Module):
    """Independent continuous Bernoulli variables whose logits are computed by a net.

    Arguments:
        net: from a context (..., latent_dim) to logits η (..., *event_shape).
        event_shape: shape of one datum; read from `net.out_shape` if the net states it.

    Returns (when called):
        A reparameterised distribution over x in [0, 1]; log-densities are nats per datum, summed over `event_shape`.
    """

    cites: ClassVar[tuple[str, ...]] = ("loaiza2019continuous",)

    facts: ClassVar[LikelihoodFacts] = LikelihoodFacts(
        domain="unit interval",
        discrete=False,
        baselines=("gaussian", "gaussian_mixture"),
        richer=("beta",),
        any_real=True,
    )

    def __init__(self, net: nn.Module, event_shape: Shape | None = None):
        super().__init__()
        self.net = net
        self.event_shape = event_shape_of(net, event_shape, (), owner="ContinuousBernoulli")

    @staticmethod
    def parameter_shape(event_shape: Shape) -> tuple[int, ...]:
        """What its net must output per datum."""
        return as_shape(event_shape)

    @property
    def support(self) -> Support:
        """[0, 1]."""
        return unit_interval

    def forward(self, context: Context) -> Independent:
        """p(x | context)."""
        distribution = ContinuousBernoulliDistribution(parameters_of(self.net, context, self.event_shape))
        return Independent(distribution, len(self.event_shape), validate_args=False)

    @torch.no_grad()
    def initialize(self, x: Tensor) -> None:
        """Put the output bias at the η whose mean is that of the data, clipped to [0.05, 0.95] (|η| ≤ 20)."""
        bias = output_bias_of(self.net)
        if bias is not None:
            bias.copy_(_logit_of_mean(x.to(bias).mean(0).clamp(0.05, 0.95)))


class ContinuousBernoulliDistribution(ElementwiseDistribution):
    """The continuous Bernoulli density with logit η, elementwise.

    Arguments:
        logits: η, any real.

    >>> ContinuousBernoulliDistribution(torch.tensor(0.0)).log_prob(torch.tensor(0.3))
    tensor(0.)
    """

    has_rsample = True

    def __init__(self, logits: Tensor):
        super().__init__(logits)
        self.logits = logits

    @property
    def mean(self) -> Tensor:
        """½ (1 + L(η/2))."""
        return 0.5 * (1 + _langevin(0.5 * self.logits))

    @property
    def variance(self) -> Tensor:
        """¼ L'(η/2)."""
        return 0.25 * _langevin_slope(0.5 * self.logits)

    def log_prob(self, value: Tensor) -> Tensor:
        """η x − log Z(η), nats; −∞ outside [0, 1]."""
        near, h, rate = _branches(self.logits)
        series = 2 * h * (value - 0.5) - h**2 * _polynomial(h**2, _LOG_SINHC)
        from_end = torch.where(self.logits > 0, 1 - value, value)
        exponential = torch.log(rate) - torch.log(-torch.expm1(-rate)) - rate * from_end
        outside = (value < 0) | (value > 1)
        return torch.where(outside, -torch.inf, torch.where(near, series, exponential))

    def entropy(self) -> Tensor:
        """log Z(η) − η E[x], nats."""
        near, h, rate = _branches(self.logits)
        series = h**2 * (_polynomial(h**2, _LOG_SINHC) - _polynomial(h**2, _LANGEVIN))
        end = 0.5 * (1 - _langevin(0.5 * rate))  # E[distance from the nearer end]
        exponential = torch.log(-torch.expm1(-rate)) - torch.log(rate) + rate * end
        return torch.where(near, series, exponential)

    def cdf(self, value: Tensor) -> Tensor:
        """P(X ≤ x) = (e^(η x) − 1)/(e^η − 1), value in [0, 1]."""
        rate = self.logits.abs().clamp(min=_SMALL_RATE**2)
        from_end = torch.where(self.logits > 0, 1 - value, value)
        mass = torch.expm1(-rate * from_end) / torch.expm1(-rate)
        exact = torch.where(self.logits > 0, 1 - mass, mass)
        series = value - value * (1 - value) * self.logits / 2
        return torch.where(self.logits.abs() > _SMALL_RATE**2, exact, series)

    def icdf(self, value: Tensor) -> Tensor:
        """The x with P(X ≤ x) = value, for value in [0, 1]: log(1 + value (e^η − 1))/η."""
        near = self.logits.abs() < _SMALL_RATE
        t = torch.where(near, self.logits, 0.0)
        v = value * (1 - value)
        series = value + v * t / 2 + v * (1 - 2 * value) * t**2 / 6 + v * (1 - 6 * v) * t**3 / 24
        rate = torch.where(near, 1.0, self.logits.abs())
        tail = torch.where(self.logits > 0, 1 - value, value)
        from_end = (-torch.log1p(tail * torch.expm1(-rate)) / rate).clamp(max=1.0)
        exact = torch.where(self.logits > 0, 1 - from_end, from_end)
        return torch.where(near, series, exact)

    def rsample(self, sample_shape: _size = ()) -> Tensor:
        """Draw by the inverse CDF, differentiably in η: (*sample_shape, *batch_shape)."""
        shape = self._extended_shape(sample_shape)
        return self.icdf(torch.rand(shape, dtype=self.logits.dtype, device=self.logits.device))


def _branches(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Whether |η/2| is small, η/2 where it is (else 0), and |η| where it is not (else 1)."""
    h = 0.5 * logits
    near = h.abs() < _SMALL
    return near, torch.where(near, h, 0.0), torch.where(near, 1.0, logits.abs())


def _polynomial(t: Tensor, coefficients: tuple[float, ...]) -> Tensor:
    """Σ_k c_k t^k."""
    value = torch.zeros_like(t)
    for c in reversed(coefficients):
        value = value * t + c
    return value


def _langevin(h: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """L(h) = coth h − 1/h, odd, from −1 to 1."""
    near = h.abs() < _SMALL
    s, g = torch.where(near, h, 0.0), torch.where(near, 1.0, h)
    return torch.where(near, s * _polynomial(s**2, _LANGEVIN), 1 / torch.tanh(g) - 1 / g)


def _langevin_slope(h: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """L'(h) = 1/h² − 1/sinh² h."""
    near = h.abs() < _SMALL
    s, g = torch.where(near, h, 0.0), torch.where(near, 1.0, h.abs())
    slopes = tuple((2 * k + 1) * c for k, c in enumerate(_LANGEVIN))
    exact = 1 / g**2 - 4 * torch.exp(-2 * g) / torch.expm1(-2 * g) ** 2
    return torch.where(near, _polynomial(s**2, slopes), exact)


def _logit_of_mean(mean: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The η with E[x] = mean: Newton's steps on L from Cohen's (1991) rational approximation of its inverse."""
    y = 2 * mean - 1
    h = y * (3 - y**2) / (1 - y**2)
    for _ in range(5):
        h = h - (_langevin(h) - y) / _langevin_slope(h)
    return 2 * h
