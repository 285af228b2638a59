"""Mixture of factor analysers: p(x) = Σ_k π_k N(x; b_k, W_k W_kᵀ + Ψ_k), by EM (Ghahramani & Hinton 1996, CRG-TR-96-1).

    E step    r_nk = π_k p_k(x_n) / Σ_j π_j p_j(x_n), and for each k the expected statistics with weights r_nk
    M step    π_k = ⟨r_nk⟩, and the M step of each factor analyser

Unlike in the paper each component has its own noise Ψ_k (per dimension, or one number: a mixture of
probabilistic PCA); missing entries (NaN) are integrated out by each component. The likelihood of any mixture of
Gaussians is unbounded if a component shrinks onto a few rows, so that the floor of σ matters here: by default it is
1e-3 of the spread of the column over all rows. A component that loses its rows (fewer than 1e-6 of them) is no longer
changed and keeps its small weight.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lowerbound.exact import LinearGaussian
from lowerbound.k_means import k_means
from lowerbound.linear.em import check_rows
from lowerbound.linear.observed import Observed, impute, observe, observed_log_evidence
from lowerbound.linear.principal_components import closed_form
from lowerbound.linear.statistics import Noise, expected_statistics
from lowerbound.linear.units import Units
from lowerbound.randomness import forked

__all__ = ["FactorAnalysers", "MixtureIteration", "fit_mixture_of_factor_analysers"]

_EMPTY = 1e-6
_SMALLEST_SCALE = 1e-3  # the floor of σ where none is given, in units of the spread of the column over all rows


@dataclass(frozen=True)
class FactorAnalysers:
    """A mixture of linear-Gaussian models.

    Arguments:
        weights: π.
        components: the model of each.
    """

    weights: Float[Tensor, "component"]
    components: tuple[LinearGaussian, ...]

    def log_joint(self, x: Float[Tensor, "batch data"]) -> Float[Tensor, "batch component"]:
        """log π_k + log p_k(x_obs), nats."""
        terms = [observed_log_evidence(component, x) for component in self.components]
        return torch.stack(terms, 1) + self.weights.log()

    def log_evidence(self, x: Float[Tensor, "batch data"]) -> Float[Tensor, "batch"]:
        """log p(x_obs), nats."""
        return self.log_joint(x).logsumexp(1)

    def responsibilities(self, x: Float[Tensor, "batch data"]) -> Float[Tensor, "batch component"]:
        """p(k | x_obs)."""
        return self.log_joint(x).softmax(1)

    def impute(self, x: Float[Tensor, "batch data"]) -> Float[Tensor, "batch data"]:
        """The rows with their missing entries (NaN) at E[x_mis | x_obs], over all components."""
        filled = torch.stack([impute(component, x) for component in self.components], 1)
        return torch.where(x.isnan(), torch.einsum("nk,nkd->nd", self.responsibilities(x), filled), x)

    def sample(self, num_samples: int) -> tuple[Float[Tensor, "sample data"], Int[Tensor, "sample"]]:
        """Draw rows x ~ p(x), with the component of each, in random order."""
        component = torch.multinomial(self.weights, num_samples, replacement=True)
        x = torch.stack([c.sample(num_samples) for c in self.components])
        return x[component, torch.arange(num_samples, device=x.device)], component


class MixtureIteration(NamedTuple):
    """A mixture on the way to a maximum of the likelihood: see `expectation_maximization.Iteration`."""

    iteration: int
    log_likelihood: float
    mixture: FactorAnalysers


def fit_mixture_of_factor_analysers(
    x: Float[Tensor, "batch data"],
    num_components: int,
    latent_dim: int,
    *,
    noise: Noise = "per-dimension",
    min_scale: float | None = None,
    max_iterations: int = 500,
    tolerance: float = 1e-6,
    seed: int = 0,
) -> Iterator[MixtureIteration]:
    """Fits of rising likelihood, starting from the clusters of k-means; the last is the result.

    Arguments:
        x: rows, best in double precision; NaN where an entry is missing.
        num_components: K.
        latent_dim: L of each, less than the number of columns.
        noise: of each dimension, or shared within a component.
        min_scale: the floor of σ, in the units of x; None: a thousandth of the spread of the column.
        max_iterations: after which to stop.
        tolerance: stop when the log-likelihood rises by less, nats per row.
        seed: of k-means.

    Raises:
        ValueError: see `check_rows`; fewer rows than components.
    """
    check_rows(x, latent_dim, x.shape[1] - 1)
    units = Units.of(x, noise)
    y, floor, log_volume = units.standard(x), units.floor(min_scale, _SMALLEST_SCALE), units.log_volume(x)
    mixture, previous = _start(y, num_components, latent_dim, floor, seed), -float("inf")
    for iteration in range(max_iterations + 1):
        posteriors = [observe(component, y) for component in mixture.components]
        log_joint = torch.stack([p.log_evidence for p in posteriors], 1) + mixture.weights.log()
        value = float(log_joint.logsumexp(1).mean()) - log_volume
        components = tuple(units.leave(component) for component in mixture.components)
        yield MixtureIteration(iteration, value, FactorAnalysers(mixture.weights, components))
        if value - previous <= tolerance:
            return
        previous, mixture = value, _step(mixture, y, posteriors, log_joint.softmax(1), noise, floor)


def _step(
    mixture: FactorAnalysers, y: Tensor, posteriors: list[Observed], r: Tensor, noise: Noise, floor: Tensor
) -> FactorAnalysers:
    weights, components = r.mean(0), []
    for k, (old, p) in enumerate(zip(mixture.components, posteriors, strict=True)):
        statistics = expected_statistics(old, y, weights=r[:, k] / len(y), observed=p)
        empty = bool((statistics.observed < _EMPTY / len(y)).any())
        components.append(old if empty else statistics.maximise(noise, floor))
    return FactorAnalysers(weights, tuple(components))


def _start(y: Tensor, num_components: int, latent_dim: int, floor: Tensor, seed: int) -> FactorAnalysers:
    """Probabilistic PCA of each cluster of k-means, with missing entries at the means of their columns."""
    filled = y.nan_to_num()
    with forked(torch.device("cpu"), seed, "mixture_of_factor_analysers"):
        centres, cluster = k_means(filled, num_components)
    components = []
    for k, centre in enumerate(centres):
        members = filled[cluster == k] - centre
        fit = closed_form(members, latent_dim, floor.new_zeros(()))
        spread = members.square().mean().sqrt()
        scale = torch.maximum(torch.maximum(fit.scale, 0.1 * spread), floor)
        components.append(LinearGaussian(fit.weight, centre, scale))
    weights = torch.bincount(cluster, minlength=num_components).to(y.dtype) / len(y)
    return FactorAnalysers(weights, tuple(components))
