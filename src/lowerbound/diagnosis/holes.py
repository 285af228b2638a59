"""Holes: the prior puts its mass where no latents lie, and latents lie where it has little (Rosca et al. 2018,
arXiv:1802.06847, §3; Tomczak & Welling 2018, arXiv:1705.07120, eq. 5).

For any density r, with q(z) the aggregate posterior of the distribution of the data,

    KL(q(z) ‖ p(z)) ≥ E_q(z)[log r(z) − log p(z)]

with equality for r = q(z). Here r is a mixture fitted to latents of training rows, and the expectation is over those
of test rows, so that noise and overfitting can only lower the number. The number is the decrease of the rate if r
replaced the prior, with unchanged encoder and decoder. The rate minus the mutual information of N rows would be too
large: this information is at most log N, and all beyond would count as holes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Distribution

from lowerbound.called import name_of
from lowerbound.diagnosis.case import Case, over_reals
from lowerbound.diagnosis.clouds import on_main_directions
from lowerbound.diagnosis.finding import Finding, Measurement, found, undefined
from lowerbound.evaluate import bernoulli_mixture, gaussian_mixture
from lowerbound.protocols import Context
from lowerbound.randomness import forked
from lowerbound.weights import Latents, latents_of

__all__ = ["density_of_latents", "holes"]

NAME = "holes"
_DRAWS, _COMPONENTS = 4, (1, 3, 10, 30)


def holes(case: Case) -> Finding:
    """Whether a prior fitted to the latents would save more than 15 % of the rate (and half a nat)."""
    prior = case.prior
    train = _latents(case, case.x_train, case.context_train, 1)
    held_out = _latents(case, case.x_held_out, case.context_held_out, _DRAWS)
    if isinstance(train, tuple) or isinstance(held_out, tuple) or prior.batch_shape:
        return undefined(NAME, "Not defined for latents in several layers or a prior with a context.")
    fitted = _fitted(prior, train[0], held_out.flatten(0, 1), case.seed)
    if fitted is None:
        return undefined(NAME, f"No density is at hand to fit to latents under a prior {name_of(prior)}.")
    with torch.no_grad():
        saved = (fitted.unflatten(0, held_out.shape[:2]) - prior.log_prob(held_out)).mean(0).double().cpu()
        from_prior = prior.sample(torch.Size((held_out.shape[1],)))
    error = saved.std().item() / math.sqrt(len(saved))
    evidence = Measurement(value=saved.mean().item(), standard_error=error, high=case.allowance, unit="nats")
    return found(
        NAME,
        evidence,
        ill=f"Latents are not spread as the prior is: a prior that follows them would save {evidence.value:.1f} nats a "
        "row, and samples from this one fall between the latents.",
        well=f"A prior fitted to the latents would save {max(evidence.value, 0):.1f} nats a row.",
        remedy=_remedy(case),
        picture=on_main_directions({"from the prior": from_prior, "of test rows": held_out[0]}),
    )


@torch.no_grad()
def _latents(case: Case, x: Tensor, context: Context | None, num_draws: int) -> Latents:
    """Draws of q(z | x) (S, B, *event)."""
    with forked(x.device, case.seed):
        q = case.model.infer(x, context)
        return latents_of(q, q.sample(torch.Size((num_draws,))))


def _fitted(prior: Distribution, train: Tensor, latents: Tensor, seed: int) -> Tensor | None:
    """log r of latents (N, *event), with r fitted to `train`; None for latents that are neither real nor binary."""
    if over_reals(prior):
        return density_of_latents(train, latents, seed)
    if bool(((latents == 0) | (latents == 1)).all()) and latents.ndim == 2:
        return bernoulli_mixture(train, latents, components=_sizes(len(train)), seed=seed).to(latents)
    return None


def density_of_latents(train: Tensor, latents: Tensor, seed: int) -> Tensor:
    """log r of real latents (N, *event): r is a mixture of Gaussians fitted to `train`, its size chosen on a part."""
    sizes = _sizes(len(train))
    return gaussian_mixture(train.flatten(1), latents.flatten(1), components=sizes, seed=seed).to(latents)


def _sizes(num_rows: int) -> list[int]:
    """Numbers of components that so many rows can tell apart."""
    return [size for size in _COMPONENTS if size <= num_rows // 10] or [1]


def _remedy(case: Case) -> str | None:
    if not case.posterior.has_rsample:
        return case.refit(prior="autoregressive-bernoulli")
    return case.refit(prior="flow-prior" if case.refit.chosen("prior").startswith("vamp") else "vamp-prior")
