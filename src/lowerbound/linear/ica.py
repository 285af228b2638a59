"""Independent component analysis by maximum likelihood: x = A s + b, the sources s independent and not Gaussian.

    log p(x) = Σ_i log p_i(y_i) + log|det W|,      y = W (x − b),   W = A⁻¹

(Pham & Garat 1997; Cardoso 1997). With fewer sources than columns the rows are first projected on their L
principal components U, and the rest is isotropic noise, as in probabilistic PCA:

    log p(x) = Σ_i log p_i(y_i) + ½ log|W Wᵀ| − ½ [(D − L) log 2π σ² + ‖(I − U Uᵀ)(x − b)‖² / σ²]

Each source has the super- or sub-Gaussian density of `sources`, whichever is more likely. W climbs the likelihood by
the quasi-Newton steps of Ablin, Cardoso & Gramfort (2018, arXiv:1706.08171): W ← (I + E) W with

    G = E[ψ(y) yᵀ] − I             h_ij = E[ψ'(y_i)] E[y_j²]   (i ≠ j),      h_ii = E[ψ'(y_i) y_i²]
    [h_ij 1; 1 h_ji] [E_ij; E_ji] = −[G_ij; G_ji],      E_ii = −G_ii / (1 + h_ii)

where the 2 × 2 blocks, which are exact for independent sources, are shifted to be positive definite, and the step is
halved until the likelihood rises. The likelihood never falls. It is not concave, and Gaussian sources are not found.

With as many sources as columns the units of the columns do not matter, and each column is measured in its own
(`units`). With fewer sources all columns have one unit, because the principal directions depend on the ratios of units.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lowerbound.linear import sources
from lowerbound.linear.em import check_rows
from lowerbound.linear.principal_components import SMALLEST_SHARED_SCALE, principal_directions
from lowerbound.linear.units import Units
from lowerbound.randomness import derive_seed

__all__ = ["ICAIteration", "IndependentComponents", "fit_independent_components"]

_SMALLEST_CURVATURE, _HALVINGS = 1e-2, 12
_CHOOSING = 30  # iterations in which densities are chosen anew each time; later only where the climb ends


@dataclass(frozen=True)
class IndependentComponents:
    """x = A s + b with independent sources, and noise in the directions that they do not span.

    Arguments:
        unmixing: W.
        offset: b.
        is_super: which sources are super-Gaussian; the others are sub-Gaussian.
        noise_scale: σ, which is not used if there are as many sources as columns.
    """

    unmixing: Float[Tensor, "source data"]
    offset: Float[Tensor, "data"]
    is_super: Bool[Tensor, "source"]
    noise_scale: Float[Tensor, ""]

    @property
    def mixing(self) -> Float[Tensor, "data source"]:
        """A, the (pseudo-)inverse of W."""
        W = self.unmixing  # pinv drops small singular values, which small units of a column may have made
        return torch.linalg.inv(W) if W.shape[0] == W.shape[1] else torch.linalg.pinv(W)

    def sources(self, x: Float[Tensor, "batch data"]) -> Float[Tensor, "batch source"]:
        """y = W (x − b)."""
        return (x - self.offset) @ self.unmixing.mT

    def mix(self, y: Float[Tensor, "batch source"]) -> Float[Tensor, "batch data"]:
        """A y + b."""
        return y @ self.mixing.mT + self.offset

    def log_evidence(self, x: Float[Tensor, "batch data"]) -> Float[Tensor, "batch"]:
        """log p(x), nats."""
        y = self.sources(x)
        W, value = self.unmixing, sources.log_density(y, self.is_super).sum(1)
        # Not ½ log|W Wᵀ|: the square of W has half of its digits.
        square = W.shape[0] == W.shape[1]
        value = value + (torch.linalg.slogdet(W)[1] if square else torch.linalg.svdvals(W).log().sum())
        rest = x.shape[1] - y.shape[1]
        if rest == 0:
            return value
        missed = (x - self.mix(y)).square().sum(1) / self.noise_scale**2
        return value - 0.5 * (missed + rest * (math.log(2 * math.pi) + 2 * self.noise_scale.log()))

    def sample(self, num_samples: int) -> Float[Tensor, "sample data"]:
        """Draw x ~ p(x)."""
        y = sources.draw(num_samples, self.is_super, self.unmixing.dtype)
        mixing = self.mixing
        noise = self.noise_scale * torch.randn(num_samples, len(mixing)).to(y)
        return self.mix(y) + noise - noise @ self.unmixing.mT @ mixing.mT


class ICAIteration(NamedTuple):
    """A fit on the way to a maximum of the likelihood: see `expectation_maximization.Iteration`."""

    iteration: int
    log_likelihood: float
    components: IndependentComponents


def fit_independent_components(
    x: Float[Tensor, "batch data"],
    latent_dim: int,
    *,
    max_iterations: int = 500,
    tolerance: float = 1e-6,
    seed: int = 0,
) -> Iterator[ICAIteration]:
    """Fits of rising likelihood; the last is the result.

    Arguments:
        x: rows without missing entries, best in double precision.
        latent_dim: L, the number of sources, at most that of the columns.
        max_iterations: after which to stop.
        tolerance: the largest entry of G at which to stop.
        seed: of the rotation from which it starts.

    Raises:
        ValueError: see `check_rows`; missing entries; fewer directions of variance than sources.
    """
    check_rows(x, latent_dim, x.shape[1])
    if bool(x.isnan().any()):
        raise ValueError("ICA got missing entries, which its likelihood does not support; impute them first.")
    start, whitened = _whiten(x, latent_dim)
    generator = torch.Generator().manual_seed(derive_seed(seed, "independent_components"))
    rotation = torch.linalg.qr(torch.randn(latent_dim, latent_dim, generator=generator, dtype=torch.float64))[0].to(x)
    W, is_super = _choose(rotation, whitened)
    for iteration in range(max_iterations + 1):
        fit = replace(start, unmixing=W @ start.unmixing, is_super=is_super)
        yield ICAIteration(iteration, float(fit.log_evidence(x).mean()), fit)
        gradient, step = _quasi_newton(whitened @ W.mT, is_super)
        climbed = None if float(gradient.abs().max()) <= tolerance else _climb(W, step, is_super, whitened)
        if climbed is not None and iteration >= _CHOOSING:
            W = climbed
            continue
        W, chosen = _choose(W if climbed is None else climbed, whitened)
        if climbed is None and torch.equal(chosen, is_super):
            return
        is_super = chosen


def _whiten(x: Tensor, latent_dim: int) -> tuple[IndependentComponents, Tensor]:
    """The principal components at unit variance as sources, and their values (batch, source)."""
    units = Units.of(x, "per-dimension" if latent_dim == x.shape[1] else "shared")
    y = units.standard(x)
    deviation, u = principal_directions(y)
    last_place = float((x.abs().amax(0) / units.spread).amax())
    resolved = torch.finfo(x.dtype).eps * max(last_place, float(deviation[0]) * max(x.shape))
    rank = int((deviation > resolved).sum())
    if rank < latent_dim:
        raise ValueError(
            f"ICA got latent_dim={latent_dim} and the rows vary in {rank} directions only; leave out columns that "
            f"are constant or copies, or ask for at most {rank}."
        )
    unmixing = (u[:, :latent_dim] / deviation[:latent_dim]).mT
    rest = deviation[latent_dim:]
    noise = rest.square().mean().sqrt().clamp_min(SMALLEST_SHARED_SCALE) if len(rest) else y.new_ones(())
    is_super = torch.ones(latent_dim, dtype=torch.bool, device=x.device)
    offset, scale = units.base + units.shift, units.spread * noise if len(rest) else noise
    return IndependentComponents(unmixing / units.spread, offset, is_super, scale), y @ unmixing.mT


def _value(W: Tensor, is_super: Tensor, whitened: Tensor) -> float:
    y = whitened @ W.mT
    return float(sources.log_density(y, is_super).sum(1).mean() + torch.linalg.slogdet(W)[1])


def _choose(W: Tensor, whitened: Tensor) -> tuple[Tensor, Tensor]:
    """Give each source the more likely of both densities, each at its best scale."""
    y = whitened @ W.mT
    kinds = [torch.full((len(W),), kind, device=W.device) for kind in (True, False)]
    scales = [sources.best_scale(y, kind) for kind in kinds]
    values = [sources.log_density(a * y, kind).mean(0) + a.log() for a, kind in zip(scales, kinds, strict=True)]
    chosen = values[0] >= values[1]
    return torch.where(chosen, *scales)[:, None] * W, chosen


def _quasi_newton(y: Tensor, is_super: Tensor) -> tuple[Tensor, Tensor]:
    """G, and the step E."""
    psi, bend, count = sources.score(y, is_super), sources.slope(y, is_super), len(y)
    gradient = psi.mT @ y / count - torch.eye(y.shape[1]).to(y)
    h = bend.mean(0)[:, None] * y.square().mean(0)
    diagonal = 1 + (bend * y**2).mean(0)
    # Eigenvalues of [h_ij 1; 1 h_ji]: shift those blocks whose smaller one is below the floor.
    smaller = 0.5 * (h + h.mT - ((h - h.mT) ** 2 + 4).sqrt())
    h = h + (_SMALLEST_CURVATURE - smaller).clamp_min(0)
    step = -(h.mT * gradient - gradient.mT) / (h * h.mT - 1)
    step[range(len(h)), range(len(h))] = -gradient.diagonal() / diagonal
    return gradient, step


def _climb(W: Tensor, step: Tensor, is_super: Tensor, whitened: Tensor) -> Tensor | None:
    """A step along E that raises the likelihood, or None if there is none."""
    before, identity = _value(W, is_super, whitened), torch.eye(len(W)).to(W)
    for halving in range(_HALVINGS):
        new = (identity + 0.5**halving * step) @ W
        if _value(new, is_super, whitened) > before:
            return new
    return None
