"""The best fit of a table: mixtures of clusters of many sizes and ranks, weighed by rows to which none was fitted.

Every candidate is a `ScaledMixture`: Gaussian, mixture of Gaussians, factor analysis and mixture of factor analysers
are among them, with light and heavy tails. Each is fitted without a part of the rows and scored on that part (five
parts in turn; three for more than a thousand rows; a single tenth from three thousand on). `stacking_weights` gives the
weights of the candidates from these scores, and candidates with weight are fitted to all rows. A mixture of mixtures of
factor analysers is again such a mixture, so that the result is a single model with an exact posterior,
`models.model_of(stack.mixture)`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound.exact import LinearGaussian
from lowerbound.linear.mixture import FactorAnalysers
from lowerbound.linear.scaled_mixture import ScaledMixture, Target, fit_scaled_mixture
from lowerbound.linear.stacking import stacking_weights

__all__ = ["Candidate", "Stack", "candidates", "fit_stack"]

_HEAVY = (1.0, 2.0, 5.0, 20.0)
_LIGHT = (1.0,)
_MOST_TO_CHOOSE, _MOST_TO_FIT = 10_000, 40_000
_LEAST_WEIGHT, _LEAST_SHARE = 0.02, 1e-6
_WIDE = 40
_SIZES = ((1, 1), (1, 2), (1, 4), (1, 6), (1, 10), (3, 1), (10, 1), (3, 2), (8, 3), (2, 6), (5, 6), (12, 3))
_LARGE = ((1, 20), (1, 40), (2, 12), (4, 12), (2, 24))
"""Numbers of clusters and of factors; the second list is for more columns than `_WIDE`."""
_ROWS_PER_CLUSTER, _ITERATIONS = 10, 60


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """Arguments of `fit_scaled_mixture`: see there."""

    num_clusters: int
    latent_dim: int | None
    levels: tuple[float, ...] = _LIGHT
    shrinkage: float = 0.0
    target: Target = "covariance"

    def fit(self, x: Float[Tensor, "batch data"], *, min_scale: float, seed: int) -> ScaledMixture:
        """Fit it to rows."""
        return fit_scaled_mixture(
            x,
            self.num_clusters,
            self.latent_dim,
            levels=self.levels,
            shrinkage=self.shrinkage,
            target=self.target,
            min_scale=min_scale,
            max_iterations=_ITERATIONS,
            seed=seed,
        )

    def __str__(self) -> str:
        kind = {None: "full covariance", 0: "independent columns"}.get(self.latent_dim, f"{self.latent_dim} factors")
        tails = ", heavy tails" if len(self.levels) > 1 else ""
        shrunk = f", {self.target} shrunk" if self.shrinkage else ""
        return f"{self.num_clusters} x {kind}{tails}{shrunk}"


@dataclass(frozen=True, kw_only=True)
class Stack:
    """A weighed mixture of candidates.

    Attributes:
        mixture: all of them as one mixture of factor analysers.
        taken: the candidates with weight, the heaviest first.
        weights: theirs; they sum to 1.
        held_out: log p(x) of each row that was scored unseen, nats.
        single: the same for the single best candidate.
    """

    mixture: FactorAnalysers
    taken: tuple[Candidate, ...]
    weights: tuple[float, ...]
    held_out: Float[Tensor, "row"]
    single: Float[Tensor, "row"]


def fit_stack(x: Float[Tensor, "batch data"], *, min_scale: float = 1e-3, seed: int = 0) -> Stack:
    """Choose and fit.

    Arguments:
        x: complete rows of standardised columns, in double precision, at least ten.
        min_scale: the floor of a standard deviation, in the units of x.
        seed: of the parts and of every k-means.

    Raises:
        ValueError: fewer than ten rows, or values that are not finite.
    """
    if len(x) < _ROWS_PER_CLUSTER or not bool(x.isfinite().all()):
        raise ValueError(f"fit_stack got {len(x)} rows and needs at least 10, all of their entries finite.")
    x = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))]
    chosen_on = x[:_MOST_TO_CHOOSE]
    every = list(candidates(len(chosen_on), x.shape[1]))
    parts = list(_parts(len(chosen_on)))
    log_p = torch.stack(
        [torch.cat([_score(candidate, chosen_on, part, min_scale, seed) for part in parts]) for candidate in every], 1
    )
    weights = stacking_weights(log_p)
    order = [int(i) for i in weights.argsort(descending=True) if weights[i] >= _LEAST_WEIGHT]
    kept = (weights[order] / weights[order].sum()).tolist()
    fits = [every[i].fit(x[:_MOST_TO_FIT], min_scale=min_scale, seed=seed) for i in order]
    return Stack(
        mixture=_joined(fits, kept),
        taken=tuple(every[i] for i in order),
        weights=tuple(kept),
        held_out=(log_p[:, order] + log_p.new_tensor(kept).log()).logsumexp(1),
        single=log_p[:, int(log_p.mean(0).argmax())],
    )


def candidates(num_rows: int, num_columns: int) -> Iterator[Candidate]:
    """The candidates that make sense for this number of rows and columns."""
    n, d = num_rows, num_columns
    for k in (1, 3, 6, 12, 25):
        if _enough(n, k):
            yield Candidate(num_clusters=k, latent_dim=None, levels=_HEAVY, shrinkage=d / 2)
    for k in (3, 8):
        if _enough(n, k):
            yield Candidate(num_clusters=k, latent_dim=None, shrinkage=d / 2, target="variances")
    for k in (1, 2, 4, 8, 16, 30, 60):
        if n >= 3 * d * k:
            yield Candidate(num_clusters=k, latent_dim=None)
    if n >= 9 * d:
        yield Candidate(num_clusters=3, latent_dim=None, levels=_HEAVY)
    for k, rank in (*_SIZES, *(_LARGE if d > _WIDE else ())):
        if _enough(n, k) and rank < d - 1:
            yield Candidate(num_clusters=k, latent_dim=rank, levels=_LIGHT if k == 1 else _HEAVY, shrinkage=1.0)
    for k in (10, 30):
        if _enough(n, k):
            yield Candidate(num_clusters=k, latent_dim=0, shrinkage=1.0)


def _enough(num_rows: int, num_clusters: int) -> bool:
    return num_clusters == 1 or num_rows >= _ROWS_PER_CLUSTER * num_clusters


def _parts(num_rows: int) -> Iterator[Tensor]:
    """Rows to score, in turn."""
    rows = torch.arange(num_rows)
    parts, used = (5, 5) if num_rows <= 1000 else (3, 3) if num_rows < 3000 else (10, 1)
    yield from (rows[i::parts] for i in range(used))


def _score(candidate: Candidate, x: Tensor, part: Tensor, min_scale: float, seed: int) -> Tensor:
    """log p(x) of a part, fitted to the others."""
    others = torch.ones(len(x), dtype=torch.bool)
    others[part] = False
    return candidate.fit(x[others], min_scale=min_scale, seed=seed).log_evidence(x[part])


def _joined(fits: list[ScaledMixture], weights: list[float]) -> FactorAnalysers:
    """One mixture of all components, without those of negligible weight."""
    parts: list[tuple[Tensor, LinearGaussian]] = []
    for weight, fit in zip(weights, fits, strict=True):
        mixture = fit.factor_analysers()
        parts += list(zip(weight * mixture.weights, mixture.components, strict=True))
    parts = [part for part in parts if part[0] >= _LEAST_SHARE]
    share = torch.stack([share for share, _ in parts])
    return FactorAnalysers(share / share.sum(), tuple(component for _, component in parts))
