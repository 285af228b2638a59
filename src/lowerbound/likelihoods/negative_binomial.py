"""p(x | z) = Π_d NB(x_d; μ_d, r_d): counts with mean μ and variance μ + μ²/r, a Poisson whose rate is Gamma(r, r/μ).

    p(x) = Γ(x + r) / (Γ(r) x!) · (r/(r + μ))^r (μ/(r + μ))^x

r is the inverse dispersion of count models of single cells (Lopez et al. 2018, "Deep generative modeling for
single-cell transcriptomics"). As r → ∞ it becomes the Poisson, as r → 0 almost all counts are zero; the formula above
loses every digit in both limits. With Stirling's remainder ρ (see `stirling`) it reads

    log p(0) = r log (r/(r + μ))
    log p(x) = x log (μ (r + x)/x(r + μ)) + r log ((r + x)/(r + μ)) − ½ log 2πx(1 + x/r) − ρ(x) + ρ(x + r) − ρ(r)

where no term is large unless the result is. log p is NaN at negative x and at NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Gamma, Independent
from torch.types import _size

from lowerbound.distributions import distribution_functions
from lowerbound.likelihoods.elementwise import ElementwiseDistribution
from lowerbound.likelihoods.outputs import event_shape_of, output_bias_of
from lowerbound.likelihoods.poisson import draw_counts
from lowerbound.likelihoods.stirling import HALF_LOG_TWO_PI, log_ratio, stirling_remainder
from lowerbound.nets.parameters import parameters_of
from lowerbound.nets.shapes import Shape, as_shape
from lowerbound.nets.softplus import positive, raw_of
from lowerbound.protocols import Context
from lowerbound.support import LikelihoodFacts, Support, counts

__all__ = ["Dispersion", "NegativeBinomial", "NegativeBinomialDistribution", "best_dispersion"]

_LOG_DISPERSIONS = torch.linspace(-6.0, 9.0, 16, dtype=torch.float64)
_FINER = torch.linspace(-0.75, 0.75, 7, dtype=torch.float64)

Dispersion: TypeAlias = Literal["per-dimension", "heteroscedastic"]


class NegativeBinomial(nn.Module):
    """Independent negative binomial counts whose means (and inverse dispersions, if heteroscedastic) a net computes.

    Arguments:
        net: from a context (..., latent_dim) to means before `positive` (..., *event_shape); heteroscedastic: to
            (..., 2, *event_shape), the second being the inverse dispersion before `positive`.
        dispersion: "per-dimension" (one learned r for each) or "heteroscedastic".
        event_shape: shape of one datum; read from `net.out_shape` if the net states it.
        min_rate: the floor of the mean and of r.

    Returns (when called):
        A distribution over x in {0, 1, 2, …}; log-probabilities are nats per datum, summed over `event_shape`.

    Raises:
        ValueError: an unknown choice, or a net of the wrong output shape.
    """

    cites: ClassVar[tuple[str, ...]] = ("lopez2018deep",)

    facts: ClassVar[LikelihoodFacts] = LikelihoodFacts(
        domain="counts",
        discrete=True,
        encoder_view="log1p",
        richer=("negative-binomial:dispersion=heteroscedastic", "zero-inflated-negative-binomial"),
    )

    raw_inverse_dispersion: Tensor

    def __init__(
        self,
        net: nn.Module,
        dispersion: Dispersion = "per-dimension",
        event_shape: Shape | None = None,
        min_rate: float = 1e-6,
    ):
        super().__init__()
        if dispersion not in ("per-dimension", "heteroscedastic"):
            raise ValueError(
                f"NegativeBinomial got dispersion={dispersion!r} and expected 'per-dimension' or 'heteroscedastic'."
            )
        leading = (2,) if dispersion == "heteroscedastic" else ()
        self.net, self.min_rate = net, min_rate
        self.dispersion: Dispersion = dispersion
        self.event_shape = event_shape_of(net, event_shape, leading, owner="NegativeBinomial")
        if dispersion == "per-dimension":
            self.raw_inverse_dispersion = nn.Parameter(torch.zeros(self.event_shape))

    @staticmethod
    def parameter_shape(event_shape: Shape, dispersion: Dispersion = "per-dimension") -> tuple[int, ...]:
        """What its net must output per datum."""
        shape = as_shape(event_shape)
        return (2, *shape) if dispersion == "heteroscedastic" else shape

    @property
    def support(self) -> Support:
        """0, 1, 2, …."""
        return counts

    def forward(self, context: Context) -> Independent:
        """p(x | context)."""
        parameters = parameters_of(self.net, context, self.parameter_shape(self.event_shape, self.dispersion))
        if self.dispersion == "heteroscedastic":
            raw_mean, raw = parameters.unbind(-1 - len(self.event_shape))
        else:
            raw_mean, raw = parameters, self.raw_inverse_dispersion
        distribution = NegativeBinomialDistribution(positive(raw_mean, self.min_rate), positive(raw, self.min_rate))
        return Independent(distribution, len(self.event_shape), validate_args=False)

    @torch.no_grad()
    def initialize(self, x: Tensor) -> None:
        """Put the output bias of the mean at the mean counts, at least 0.01."""
        bias = output_bias_of(self.net)
        if bias is not None:
            raw = raw_of(x.to(bias).mean(0).clamp(min=0.01), self.min_rate)
            (bias[0] if self.dispersion == "heteroscedastic" else bias).copy_(raw)


class NegativeBinomialDistribution(ElementwiseDistribution):
    """The negative binomial in mean and inverse dispersion, elementwise.

    Arguments:
        mean: μ > 0.
        inverse_dispersion: r > 0.
    """

    has_rsample = False

    def __init__(self, mean: Tensor, inverse_dispersion: Tensor):
        super().__init__(mean, inverse_dispersion)
        self._mean, self.inverse_dispersion = self.parameters

    @property
    def mean(self) -> Tensor:
        """μ."""
        return self._mean

    @property
    def variance(self) -> Tensor:
        """μ + μ²/r."""
        return self.mean + self.mean * (self.mean / self.inverse_dispersion)

    def log_prob(self, value: Tensor) -> Tensor:
        """log p(value) per element, nats."""
        m, r, some = self.mean, self.inverse_dispersion, value != 0
        x = torch.where(some, value, 1.0)
        share = r / (r + m)
        fit = x * log_ratio((m / (r + m)) * ((r + x) / x), torch.ones_like(share), (m - x) / x * share)
        volume = 0.5 * (torch.log(x) + _log_sum_over(x, r)) + HALF_LOG_TWO_PI
        remainder = stirling_remainder(x + r) - stirling_remainder(x) - stirling_remainder(r)
        zeros = r * log_ratio(r + value, r + m, value - m)
        return zeros + torch.where(some, fit - volume + remainder, 0.0)

    def cumulative(self) -> tuple[Callable[..., Any], tuple[Tensor, ...]]:
        """See `hooks.HasCumulative`."""
        return distribution_functions.negative_binomial, (self.mean, self.inverse_dispersion)

    def sample(self, sample_shape: _size = ()) -> Tensor:
        """Draw counts, x ~ Poisson(μ g/r), g ~ Gamma(r, 1): (*sample_shape, *batch_shape)."""
        with torch.no_grad():
            r = self.inverse_dispersion.expand(self._extended_shape(sample_shape))
            gamma = Gamma(r, torch.ones_like(r), validate_args=False).sample()
            return draw_counts(gamma * (self.mean / self.inverse_dispersion))


def best_dispersion(
    x: Float[Tensor, "row *column"], mean: Float[Tensor, "*column"] | Float[Tensor, "row *column"]
) -> Float[Tensor, "*column"]:
    """The r of the largest likelihood at given means: log r from −6 to 9, by steps of 1 and then of a quarter about it.

    With s = log(1 + μ/r) the part of log p(x) that depends on r is log Γ(x + r) − log Γ(r) − x log r − (x + r) s; the
    first three terms vanish at x = 0. All is computed in float64.
    """
    counts, means = x.detach().cpu().double(), mean.detach().cpu().double().expand_as(x)
    counts, means = counts.flatten(1), means.flatten(1)
    columns, some = (counts != 0).nonzero()[:, 1], counts[counts != 0]

    def best_of(tried: Float[Tensor, "try column"]) -> Tensor:
        totals = []
        for log_r in tried:
            r = log_r.exp()
            of_zeros = -((counts + r) * torch.log1p(means / r)).sum(0)
            volume = torch.lgamma(some + r[columns]) - torch.lgamma(r)[columns] - some * log_r[columns]
            totals.append(of_zeros.index_add(0, columns, volume))
        return tried.gather(0, torch.stack(totals).argmax(0, keepdim=True))[0]

    coarse = best_of(_LOG_DISPERSIONS[:, None].expand(-1, counts.shape[1]))
    fine = best_of((coarse + _FINER[:, None]).clamp(*_LOG_DISPERSIONS[[0, -1]].tolist()))
    return fine.exp().reshape(x.shape[1:]).to(mean)


def _log_sum_over(x: Tensor, r: Tensor) -> Tensor:
    """log(1 + x/r), also where x/r is beyond the floating-point numbers."""
    small = x < r
    return torch.where(small, torch.log1p(torch.where(small, x, 0.0) / r), torch.log(x + r) - torch.log(r))
