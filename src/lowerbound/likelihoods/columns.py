"""The kinds of column of a table, each a small conditional of its own.

=====================  ==========================  ====================================  ====================
kind                   values                      distribution                          numbers from the net
=====================  ==========================  ====================================  ====================
continuous             real                        Normal(a + b μ, b s)                  2: μ, raw s
positive               > 0                         log x ~ Normal(a + b μ, b s)          2: μ, raw s
categorical            0 … K − 1, unordered        softmax                               K logits
ordinal                0 … K − 1, ordered          cumulative logit, learned cut points  1: the location
count                  0, 1, 2, …                  negative binomial, learned r          1: raw mean
heteroscedastic-count  0, 1, 2, …                  negative binomial                     2: raw mean, raw r
small-count            0, 1, 2, …                  a table of K counts, geometric tail   K + 1 logits
=====================  ==========================  ====================================  ====================

a and b are the mean and the standard deviation of the observed training entries (of their logarithms, for positive
columns), which `start` writes to buffers; until then they are 0 and 1. The net thus works in standard units for every
unit of the table, log p is a density in the units of x, and the floor of s is a thousandth of b.

A group holds the n columns of a table that are of one kind (and one K), which are computed together: from parameters
(..., n, p) to a distribution of batch shape (..., n). `fill` is a value that every column of the kind can take. It
replaces a missing entry before anything is computed, so that gradients stay finite.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from lowerbound.likelihoods.categorical import CategoricalDistribution
from lowerbound.likelihoods.count_table import CountTableDistribution
from lowerbound.likelihoods.in_units import LogNormalInUnits, NormalInUnits
from lowerbound.likelihoods.negative_binomial import NegativeBinomialDistribution
from lowerbound.likelihoods.ordinal import cut_points, ordinal_log_probs
from lowerbound.nets.softplus import positive, raw_of
from lowerbound.support import Support, classes, counts, reals
from lowerbound.support import positive as positive_numbers

__all__ = [
    "CategoricalColumns",
    "Columns",
    "ContinuousColumns",
    "CountColumns",
    "HeteroscedasticCountColumns",
    "OrdinalColumns",
    "PositiveColumns",
    "SmallCountColumns",
]

_MIN_SCALE = 1e-3
_MIN_RATE = 1e-6
_ROUNDING = 16  # a spread below so many roundings of the mean is none


class Columns(nn.Module):
    """n columns of one kind.

    Attributes:
        num_outputs: p, numbers that the net gives per column.
        fill: stands in for missing entries.
        discrete: whether log p is the logarithm of a probability.
        support: the values of one column.
    """

    num_outputs: int
    fill: ClassVar[float] = 0.0
    discrete: ClassVar[bool] = True
    support: Support

    @abstractmethod
    def forward(self, parameters: Tensor) -> Distribution:
        """From parameters (..., n, p) to a distribution of batch shape (..., n)."""

    @abstractmethod
    def start(self, x: Tensor) -> Tensor:
        """Return the parameters (n, p) that fit columns x (N, n), NaN where missing. Also sets the learned parameters
        of each column.
        """

    def centre(self, distribution: Distribution) -> Tensor:
        """One typical value per column: the mean, or the most probable class where there is no order."""
        return distribution.mean


class ContinuousColumns(Columns):
    """Gaussian columns, in standard units; the floor of s is 1e-3."""

    num_outputs = 2
    discrete: ClassVar[bool] = False
    support = reals
    centres: Tensor  # a, (n,)
    units: Tensor  # b, (n,)

    def __init__(self, num_columns: int):
        super().__init__()
        self.register_buffer("centres", torch.zeros(num_columns))
        self.register_buffer("units", torch.ones(num_columns))

    def forward(self, parameters: Tensor) -> NormalInUnits:
        """Normal(a + b μ, b s)."""
        loc, raw = parameters.unbind(-1)
        return NormalInUnits(loc, positive(raw, _MIN_SCALE), self.centres, self.units)

    def parameters_at(self, loc: Tensor, scale: Tensor) -> Tensor:
        """The parameters (..., n, 2) of μ and s (..., n), in standard units."""
        return torch.stack([loc, raw_of(scale, _MIN_SCALE)], -1)

    def standard(self, x: Tensor) -> Tensor:
        """x (..., n) in standard units."""
        return (x - self.centres) / self.units

    @torch.no_grad()
    def start(self, x: Tensor) -> Tensor:
        """Return μ = 0 and s = 1 in units of the observed entries; the unit of a constant column is 1."""
        seen, count = _observed(x)
        mean = torch.where(seen, x, 0.0).sum(0) / count
        square = torch.where(seen, x - mean, 0.0).square().sum(0) / count
        self.centres.copy_(mean)
        rounding = _ROUNDING * torch.finfo(x.dtype).eps * mean.abs()
        self.units.copy_(torch.where(square > rounding**2, square, 1.0).sqrt())
        zeros = torch.zeros_like(mean)
        return torch.stack([zeros, raw_of(torch.ones_like(mean), _MIN_SCALE)], -1)


class PositiveColumns(ContinuousColumns):
    """Log-normal columns: Gaussian in log x, in standard units of log x."""

    fill: ClassVar[float] = 1.0
    support = positive_numbers

    def forward(self, parameters: Tensor) -> LogNormalInUnits:
        """log x ~ Normal(a + b μ, b s)."""
        return LogNormalInUnits(*super().forward(parameters).parameters)

    def standard(self, x: Tensor) -> Tensor:
        """log x in standard units."""
        return super().standard(x.log())

    @torch.no_grad()
    def start(self, x: Tensor) -> Tensor:
        """Like that of continuous columns, for log x."""
        return super().start(x.log())


class CategoricalColumns(Columns):
    """Columns of K unordered classes."""

    def __init__(self, num_columns: int, num_classes: int):
        super().__init__()
        self.num_outputs, self.support = num_classes, classes(num_classes)

    def forward(self, parameters: Tensor) -> CategoricalDistribution:
        """softmax of the logits."""
        return CategoricalDistribution(parameters)

    def start(self, x: Tensor) -> Tensor:
        """Log-frequencies, with one count spread over the classes."""
        return torch.log(_frequencies(x, self.num_outputs))

    def centre(self, distribution: Distribution) -> Tensor:
        """The most probable class."""
        return distribution.mode


class OrdinalColumns(Columns):
    """Columns of K ordered classes, with learned cut points for each."""

    num_outputs = 1

    def __init__(self, num_columns: int, num_classes: int):
        super().__init__()
        self.support = classes(num_classes)
        first = torch.full((num_columns, 1), -0.5 * (num_classes - 2))
        self.raw_cuts = nn.Parameter(torch.cat([first, torch.zeros(num_columns, num_classes - 2)], -1))

    def forward(self, parameters: Tensor) -> CategoricalDistribution:
        """The cumulative logit at the location; its mean is the expected class."""
        cuts = cut_points(self.raw_cuts)
        return CategoricalDistribution(ordinal_log_probs(parameters.squeeze(-1), cuts))

    @torch.no_grad()
    def start(self, x: Tensor) -> Tensor:
        """Cut points at the logits of the cumulative frequencies; location 0."""
        below = _frequencies(x, self.raw_cuts.shape[-1] + 1).cumsum(-1)[:, :-1]
        cuts = below.logit()
        steps = raw_of(cuts.diff(dim=-1).clamp(min=0.01), 1e-3)
        self.raw_cuts.copy_(torch.cat([cuts[:, :1], steps], -1))
        return torch.zeros_like(cuts[:, :1])


class CountColumns(Columns):
    """Negative binomial columns, with a learned inverse dispersion for each."""

    num_outputs = 1
    support = counts

    def __init__(self, num_columns: int):
        super().__init__()
        self.raw_inverse_dispersion = nn.Parameter(torch.zeros(num_columns))

    def forward(self, parameters: Tensor) -> NegativeBinomialDistribution:
        """NB(μ, r)."""
        mean = positive(parameters.squeeze(-1), _MIN_RATE)
        return NegativeBinomialDistribution(mean, positive(self.raw_inverse_dispersion, _MIN_RATE))

    def start(self, x: Tensor) -> Tensor:
        """The mean of the observed counts, at least 0.01."""
        seen, count = _observed(x)
        mean = torch.where(seen, x, 0.0).sum(0) / count
        return raw_of(mean.clamp(min=0.01), _MIN_RATE).unsqueeze(-1)


class HeteroscedasticCountColumns(CountColumns):
    """Negative binomial columns whose inverse dispersion the net computes too."""

    num_outputs = 2

    def __init__(self, num_columns: int):
        Columns.__init__(self)

    def forward(self, parameters: Tensor) -> NegativeBinomialDistribution:
        """NB(μ, r)."""
        raw_mean, raw = parameters.unbind(-1)
        return NegativeBinomialDistribution(positive(raw_mean, _MIN_RATE), positive(raw, _MIN_RATE))

    def parameters_at(self, mean: Tensor, inverse_dispersion: Tensor) -> Tensor:
        """The parameters (..., n, 2) of μ and r (..., n)."""
        return torch.stack([raw_of(mean, _MIN_RATE), raw_of(inverse_dispersion, _MIN_RATE)], -1)

    def start(self, x: Tensor) -> Tensor:
        """The mean of the observed counts, at least 0.01, and r = 1."""
        raw_mean = super().start(x)
        return torch.cat([raw_mean, torch.zeros_like(raw_mean)], -1)


class SmallCountColumns(Columns):
    """Columns of counts that are mostly below K."""

    def __init__(self, num_columns: int, num_tabled: int):
        super().__init__()
        self.num_outputs = num_tabled + 1
        self.support = replace(counts, table=tuple(map(float, range(num_tabled + 1))))

    def forward(self, parameters: Tensor) -> CountTableDistribution:
        """softmax of the logits, the last of which is of all counts from K on."""
        return CountTableDistribution(parameters)

    def start(self, x: Tensor) -> Tensor:
        """Log-frequencies, with one count spread over the table."""
        return torch.log(_frequencies(x.clamp(max=self.num_outputs - 1), self.num_outputs))


def _observed(x: Tensor) -> tuple[Tensor, Tensor]:
    """Where x (N, n) is not NaN, and how often per column, at least 1."""
    seen = ~x.isnan()
    return seen, seen.sum(0).clamp(min=1)


def _frequencies(x: Tensor, num_classes: int) -> Tensor:
    """Frequencies (n, K) of classes among the observed entries, with one count spread over all."""
    seen, _ = _observed(x)
    classes = torch.arange(num_classes, device=x.device)
    counts = (torch.where(seen, x, -1.0).unsqueeze(-1) == classes).sum(0) + 1 / num_classes
    return (counts / counts.sum(-1, keepdim=True)).to(x.dtype)
