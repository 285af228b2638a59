"""Imbalance of rate and distortion: the weight β on the rate that q behaves as if trained with.

Widen or narrow q about its mean m, z_s = m + s (z − m) with z ~ q(z | x). Then log q_s(z_s) = log q(z) − d log s, and

    D(s) = −E log p(x | z_s)          R(s) = E[log q(z)] − d log s − E log p(z_s)

A q that was trained on D + β R, in a family closed under such scaling, has D'(1) + β R'(1) = 0, hence

    β̂ = −D'(1) / R'(1)

It is 1 for the ELBO, and 4 for a β-VAE with β = 4. The derivatives are taken for each training row, because training
balances them there; the error of the ratio is that of D' + β̂ R'. An importance-weighted objective widens q and gives a
β̂ somewhat above 1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Distribution

from lowerbound.called import name_of
from lowerbound.diagnosis.case import Case, error_of_mean, over_reals
from lowerbound.diagnosis.finding import Bars, Finding, Measurement, found, undefined
from lowerbound.evaluate.batches import context_rows
from lowerbound.hooks import Augmented
from lowerbound.randomness import forked

__all__ = ["HIGHEST", "LOWEST", "imbalance"]

NAME = "imbalance of rate and distortion"
LOWEST, HIGHEST = 1 / 3, 3.0
"""A factor of three; importance weighting alone causes less than two."""
_DRAWS, _MOST_ROWS, _FEWEST_ERRORS = 16, 500, 4.0


def imbalance(case: Case) -> Finding:
    """Whether q balances rate and distortion as if the rate had a weight outside of [1/3, 3]."""
    if not _scales(case.posterior):
        return undefined(
            NAME,
            f"Not defined for {name_of(case.posterior)}, whose family is not closed under scaling its noise.",
        )
    distortion, rate = _pulls(case)
    d, r = distortion.mean().item(), rate.mean().item()
    if abs(r) < _FEWEST_ERRORS * error_of_mean(rate):
        return undefined(
            NAME, "The latents carry too little information to tell the weight: q is as wide as the prior."
        )
    weight = -d / r
    evidence = Measurement(
        value=weight,
        standard_error=error_of_mean(distortion + weight * rate) / abs(r),
        low=LOWEST,
        high=HIGHEST,
        unit="(weight of the rate)",
    )
    side = "much" if weight > 1 else "little"
    return found(
        NAME,
        evidence,
        ill=f"q is as wide as if the rate counted {weight:.2g} times: too {side} weight on the rate.",
        well=f"q is as wide as if the rate counted {weight:.2f} times.",
        remedy=case.refit(objective="elbo"),
        picture=Bars(
            values={
                "distortion, narrower": (d, error_of_mean(distortion)),
                "rate, wider": (-r, error_of_mean(rate)),
            },
            label="pull on the width of q (nats; alike for a healthy q)",
        ),
    )


def _scales(q: Distribution) -> bool:
    """Whether q is over real vectors, with a mean in closed form, and its family is closed under scaling about the
    mean.
    """
    if not over_reals(q) or isinstance(q, Augmented):
        return False
    try:
        return isinstance(q.mean, Tensor)
    except NotImplementedError:
        return False


def _pulls(case: Case) -> tuple[Tensor, Tensor]:
    """D'(1) and R'(1) of some training rows (B,), nats."""
    x, context = case.x_train[:_MOST_ROWS], context_rows(case.context_train, slice(_MOST_ROWS))
    with forked(x.device, case.seed), torch.no_grad():
        q = case.model.infer(x, context)
        z = q.sample(torch.Size((_DRAWS,)))
        mean, dimensions = q.mean, math.prod(q.event_shape)
    with torch.enable_grad():
        s = torch.ones(len(x), *(1 for _ in q.event_shape), dtype=z.dtype, device=x.device, requires_grad=True)
        log_likelihood, log_prior = case.model.joint(x, context)(mean + s * (z - mean))
        (of_distortion,) = torch.autograd.grad(-log_likelihood.mean(0).sum(), s, retain_graph=True)
        (of_prior,) = torch.autograd.grad(log_prior.mean(0).sum(), s)
    return of_distortion.flatten().double(), (-dimensions - of_prior.flatten()).double()
