"""Expected sufficient statistics of the linear-Gaussian model and their maximiser: the two steps of EM.

With z̃ = (z, 1), so that x_d | z ~ N(v_dᵀ z̃, ψ_d) with v_d = (w_d, b_d), and m_nd = 1 where x_nd is observed,
log p(x_obs, z) is linear in the statistics, averaged over rows n (with weights, for a mixture),

    t_d = ⟨m_d⟩     c_d = ⟨m_d x_d²⟩     s_d = ⟨m_d x_d z̃⟩     R_d = ⟨m_d z̃ z̃ᵀ⟩

    E step    their expectations under p(z | x_obs), E[z] = μ and E[z zᵀ] = μ μᵀ + M⁻¹ (`observed`)
    M step    v_d = R_d⁻¹ s_d,     ψ_d = (c_d − v_dᵀ s_d) / t_d,     or one ψ = Σ_d (c_d − v_dᵀ s_d) / Σ_d t_d

(Rubin & Thayer 1982; Ghahramani & Hinton 1996, where nothing is missing). Each column is a regression of its observed
entries on z; missing entries are not filled in. Since the statistics are averages, those of minibatches may be blended
(Cappé & Moulines 2009), which is online EM.

Variances have a floor: the likelihood of a column that is constant, or copied by a factor, is unbounded. The sums lose
accuracy if a column is far from zero or columns have different units: give x in its own units (`units`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound.exact import LinearGaussian
from lowerbound.linear.observed import Observed, observe, patterns_of

__all__ = ["Noise", "Statistics", "expected_statistics"]

Noise: TypeAlias = Literal["per-dimension", "shared"]
"""Whether each column has a variance of its own (factor analysis) or all have one (probabilistic PCA)."""


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """The statistics in which log p(x_obs, z) is linear, averaged over rows; the module defines the symbols.

    Attributes:
        observed: t_d.
        square: c_d.
        cross: s_d.
        moment: R_d.
    """

    observed: Float[Tensor, "data"]
    square: Float[Tensor, "data"]
    cross: Float[Tensor, "data extended"]
    moment: Float[Tensor, "data extended extended"]

    def blend(self, new: Statistics, step_size: float) -> Statistics:
        """(1 − γ) old + γ new: the stochastic E step."""
        pairs = {name: (getattr(self, name), getattr(new, name)) for name in self.__dataclass_fields__}
        return Statistics(**{name: old + step_size * (other - old) for name, (old, other) in pairs.items()})

    def maximise(self, noise: Noise, floor: Float[Tensor, ""] | Float[Tensor, "data"]) -> LinearGaussian:
        """The M step.

        Arguments:
            noise: of each dimension, or shared.
            floor: of σ, in the units of x.
        """
        v = torch.linalg.solve(self.moment, self.cross)
        unexplained = self.square - (v * self.cross).sum(-1)
        shared = noise == "shared"
        variance = unexplained.sum() / self.observed.sum() if shared else unexplained / self.observed
        return LinearGaussian(v[:, :-1], v[:, -1], torch.maximum(variance, floor**2).sqrt())


def expected_statistics(
    exact: LinearGaussian,
    x: Float[Tensor, "batch data"],
    weights: Float[Tensor, "batch"] | None = None,
    observed: Observed | None = None,
) -> Statistics:
    """The E step for rows with missing entries (NaN).

    Arguments:
        exact: the model under which z is inferred.
        x: rows.
        weights: the weight of each row; 1 / batch if None.
        observed: `observe(exact, x)`, if the caller has it already.
    """
    p = observe(exact, x) if observed is None else observed
    w = x.new_full(x.shape[:1], 1 / len(x)) if weights is None else weights
    mask, present = (~x.isnan()).to(x.dtype), x.nan_to_num()
    z = torch.cat([p.mean, torch.ones_like(p.mean[:, :1])], 1)
    weighted = w[:, None] * z
    per_pattern = torch.zeros_like(w[: len(p.patterns)]).index_add(0, p.pattern, w)
    spread = torch.nn.functional.pad(p.covariance, (0, 1, 0, 1))
    return Statistics(
        observed=w @ mask,
        square=w @ present**2,
        cross=present.mT @ weighted,
        moment=_moment_of_columns(p, z, weighted, per_pattern, spread),
    )


def _moment_of_columns(p: Observed, z: Tensor, weighted: Tensor, per_pattern: Tensor, spread: Tensor) -> Tensor:
    """R_d, computed once for all columns that are observed in the same rows."""
    columns, column = patterns_of(p.patterns.mT)
    in_row = columns[:, p.pattern].to(z.dtype)
    outer = (z[:, :, None] * weighted[:, None, :]).flatten(1)
    in_pattern = per_pattern * columns.to(z.dtype)
    moment = in_row @ outer + in_pattern @ spread.flatten(1)
    return moment.unflatten(1, (z.shape[1], z.shape[1]))[column]
