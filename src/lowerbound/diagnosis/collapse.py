"""Posterior collapse: the latents say nothing about the data (Bowman et al. 2016, arXiv:1511.06349, §3.1).

    I(x; z) = E[log q(z | x) − log q(z)],      q(z) = (1/N) Σ_n q(z | x_n)

The rate would be the wrong number: it is also positive if q(z) differs from the prior but z has no information about x.
The mutual information of N test rows is at most log N; this affects large values only and cannot look like a
collapse.

Where the prior depends on what the model is given, c, there is no one q(z) to compare with, and the number is the rate
E[log q(z | x, c) − log p(z | c)] instead, which is at least I(x; z | c).

Data without common structure need no latents: the finding is then correct but no fault of the model.
"""

from __future__ import annotations

import math

import torch

from lowerbound.diagnosis.case import Case
from lowerbound.diagnosis.finding import Bars, Finding, Measurement, found
from lowerbound.evaluate import Estimates, Summary, aggregate_posterior
from lowerbound.factors import kl_per_factor
from lowerbound.randomness import forked

__all__ = ["FEWEST_NATS", "collapse"]

NAME = "posterior collapse"
FEWEST_NATS = 1.0
"""With less than one nat, the latent of a row distinguishes fewer than e ≈ 2.7 groups of rows."""
_SAMPLES, _SAMPLES_OF_RATE, _MOST_BARS = 2, 64, 32


def collapse(case: Case) -> Finding:
    """Whether the mutual information of rows and latents is below one nat."""
    information = _rate(case) if case.prior.batch_shape else _information(case)
    use = case.summary
    evidence = Measurement(
        value=information.mean, standard_error=information.standard_error_of_mean, low=FEWEST_NATS, unit="nats"
    )
    units = f"{use.active_units} of {len(use.activity)} latents are active"
    return found(
        NAME,
        evidence,
        ill=f"The latents hold {evidence.value:.2f} nats about a row ({units}): the decoder hardly uses them.",
        well=f"The latents hold {evidence.value:.1f} nats about a row ({units}).",
        remedy=case.refit(objective="free-bits:nats=0.5" if _has_closed_form(case) else "beta-elbo:beta=1,warmup=2000"),
        picture=_use(use),
    )


def _information(case: Case) -> Estimates:
    """log q(z | x) − log q(z) of each test row."""
    x, context = case.x_held_out, case.context_held_out
    found = aggregate_posterior(case.model, x, num_samples=_SAMPLES, context=context, seed=case.seed)
    return found.mutual_information


@torch.no_grad()
def _rate(case: Case) -> Estimates:
    """log q(z | x, c) − log p(z | c) of each test row."""
    with forked(case.x_held_out.device, case.seed):
        w = case.model.log_weights(case.x_held_out, _SAMPLES_OF_RATE, case.context_held_out)
    rates = (w.log_q - w.log_prior).double()
    return Estimates(values=rates.mean(0), standard_error=rates.std(0) / math.sqrt(_SAMPLES_OF_RATE))


def _use(use: Summary) -> Bars:
    """The rate of every latent, or its activity if the rate is not a sum over latents; the largest first."""
    of_latent, label = use.rate_per_dimension, "rate of each latent, sorted (nats)"
    if of_latent is None:
        of_latent, label = use.activity, "variance of the mean of each latent, sorted"
    values = sorted(of_latent.tolist(), reverse=True)
    return Bars(values={str(d + 1): (value, 0.0) for d, value in enumerate(values[:_MOST_BARS])}, label=label)


def _has_closed_form(case: Case) -> bool:
    """Whether free bits apply: KL(q ‖ p) of every latent is known."""
    try:
        kl_per_factor(case.posterior, case.prior)
    except ValueError:
        return False
    return True
