"""Gaps that depend on the value that they hide: each column has a probit of its own (Ipsen, Mattei & Frellsen 2021,
"not-MIWAE", arXiv:2006.12871, whose self-masking is logistic).

    P(x_j is missing | x) = Φ(α_j + β_j t_j)        t_j: x_j (or log x_j, if positive) in standard units
    P(x_j is missing | x) = Φ(α_jk)                 x_j = k, a class
    P(x_j is missing | x) = Φ(α_j)                  x_j a count

    log p(x_obs, s | z) = Σ_seen [log p(x_j | z) + log P(seen | x_j)] + Σ_gaps log E_{p(x_j | z)} P(missing | x_j)

Given z the columns are independent, and with t_j ~ N(μ, s²) the last expectation is Φ(ξ) at ξ = (α + β μ)/√(1 + β² s²):
the normal distribution function is the link for which it is exact. In not-MIWAE it is a draw. log w thus has no other
noise than that of z, and every objective, estimator and chain takes it as it takes any likelihood.

What a gap hides, given z, has density N(t; μ, s²) Φ(α + β t) / Φ(ξ), a skew normal one (Azzalini 1985), from which
`hidden_values` draws; a class k that is hidden has probability proportional to p(k | z) Φ(α_k).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.types import _size

from lowerbound.likelihoods.categorical import CategoricalDistribution
from lowerbound.likelihoods.columns import CategoricalColumns, Columns, ContinuousColumns, OrdinalColumns
from lowerbound.likelihoods.in_units import NormalInUnits
from lowerbound.likelihoods.mixed import Mixed, MixedDistribution
from lowerbound.missingness.hidden_values import hidden_values

__all__ = ["SelfMasked", "SelfMasking"]

_HALF = 0.5  # gaps, and seen entries, that each column is given more of


class SelfMasking(nn.Module):
    """p(s | x) of the columns of a table, to be the `missingness` of `likelihoods.Mixed`.

    Arguments:
        likelihood: that of the values.

    Returns (when called with the distribution of values):
        That of values and gaps: its log p of a row is log p(x_obs, s | z), nats, where s is which entries are NaN.

    `initialize` starts at gaps that do not depend on values, as often as they are.
    """

    cites: ClassVar[tuple[str, ...]] = ("ipsen2021notmiwae",)

    def __init__(self, likelihood: Mixed):
        super().__init__()
        self.likelihood_sizes = list(likelihood.sizes)
        groups = [cast(Columns, group) for group in likelihood.groups]
        shapes = [_shape(group, n) for group, n in zip(groups, likelihood.sizes, strict=True)]
        self.intercepts = nn.ParameterList(torch.zeros(shape) for shape in shapes)
        self.slopes = nn.ParameterList(
            torch.zeros(n if isinstance(group, ContinuousColumns) else 0)
            for group, n in zip(groups, likelihood.sizes, strict=True)
        )

    @property
    def sentence(self) -> str:
        """What is assumed, and what that means for scores and draws."""
        return (
            "how often an entry is missing may depend on its value (but for counts), a probit for each column; scores "
            "are log p of values and of which are missing, draws are complete rows"
        )

    def forward(self, values: MixedDistribution) -> SelfMasked:
        """p(x_obs, s | z)."""
        return SelfMasked(values, list(self.intercepts), list(self.slopes))

    @torch.no_grad()
    def initialize(self, x: Tensor, order: Tensor) -> None:
        """Slopes of 0 and the frequencies of gaps in rows x (N, D), whose columns are put into the order of groups."""
        gaps = x[:, order].isnan().to(self.intercepts[0])
        share = (gaps.sum(0) + _HALF) / (len(x) + 2 * _HALF)
        for intercept, slope, part in zip(
            self.intercepts, self.slopes, share.split(self.likelihood_sizes), strict=True
        ):
            intercept.copy_(torch.special.ndtri(part).view(-1, *[1] * (intercept.ndim - 1)).expand_as(intercept))
            slope.zero_()


class SelfMasked(MixedDistribution):
    """Rows of values and gaps: NaN says that an entry is missing, which is a part of what has a probability.

    Arguments:
        values: of the entries, were they all seen.
        intercepts: α of each group, (n,), or (n, K) of classes.
        slopes: β of each group, (n,), or none.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}

    def __init__(self, values: MixedDistribution, intercepts: Sequence[Tensor], slopes: Sequence[Tensor]):
        super().__init__(values.groups, values.parts, values.order, values.restore)
        self.intercepts, self.slopes = intercepts, slopes

    def expand(self, batch_shape: _size, _instance: Distribution | None = None) -> Distribution:
        """The same distribution with its parameters expanded to a larger batch shape."""
        return SelfMasked(cast(MixedDistribution, super().expand(batch_shape)), self.intercepts, self.slopes)

    def log_prob(self, value: Tensor) -> Tensor:
        """log p(x_obs, s), nats per row; value (..., *batch_shape, D) -> (..., *batch_shape)."""
        return super().log_prob(value) + self.log_prob_of_gaps(value).sum(-1)

    def log_prob_of_gaps(self, value: Tensor) -> Tensor:
        """log p(s_j | x_j) of entries that are seen and log p(s_j) of gaps, nats: (..., *batch_shape, D)."""
        terms = [
            _log_gap(group, part, x, intercept, slope)
            for (group, part, x), intercept, slope in zip(
                self.by_group(value), self.intercepts, self.slopes, strict=True
            )
        ]
        return torch.cat(terms, -1).index_select(-1, self.restore)

    def of_missing(self) -> MixedDistribution:
        """See `hooks.KnowsWhyMissing`."""
        parts = [
            _hidden(group, part, intercept, slope)
            for group, part, intercept, slope in zip(self.groups, self.parts, self.intercepts, self.slopes, strict=True)
        ]
        return MixedDistribution(self.groups, parts, self.order, self.restore)


def _shape(group: Columns, num_columns: int) -> tuple[int, ...]:
    return (num_columns, len(group.support.grid or ())) if _of_classes(group) else (num_columns,)


def _of_classes(group: Columns) -> bool:
    return isinstance(group, CategoricalColumns | OrdinalColumns)


def _log_gap(group: Columns, part: Distribution, x: Tensor, intercept: Tensor, slope: Tensor) -> Tensor:
    """log P of what s says of each entry, nats."""
    missing = x.isnan()
    known = torch.where(missing, group.fill, x)
    if isinstance(group, ContinuousColumns):
        assert isinstance(part, NormalInUnits)
        at = intercept + slope * group.standard(known)
        over = (intercept + slope * part.loc) / (1 + (slope * part.scale) ** 2).sqrt()
        return torch.special.log_ndtr(torch.where(missing, over, -at))
    if _of_classes(group):
        assert isinstance(part, CategoricalDistribution)
        gap = (part.log_probs + torch.special.log_ndtr(intercept)).logsumexp(-1)
        seen = torch.special.log_ndtr(-intercept).expand(*known.shape, -1).gather(-1, known.long()[..., None])[..., 0]
        return torch.where(missing, gap, seen)
    at = torch.special.log_ndtr(torch.where(missing, intercept, -intercept))
    return at.expand(torch.broadcast_shapes(missing.shape, part.batch_shape))


def _hidden(group: Columns, part: Distribution, intercept: Tensor, slope: Tensor) -> Distribution:
    """The distribution of the entries of a group given that they are missing."""
    if isinstance(group, ContinuousColumns):
        assert isinstance(part, NormalInUnits)
        return hidden_values(part, intercept, slope)
    if _of_classes(group):
        assert isinstance(part, CategoricalDistribution)
        return CategoricalDistribution(part.log_probs + torch.special.log_ndtr(intercept))
    return part
