"""q(z | x) unlike the posterior: a classifier tells its draws from those of a chain (Lopez-Paz & Oquab 2017,
arXiv:1610.06545; see `evaluate.posterior_two_sample`).

    accuracy of telling z ~ q(z | x) from z ~ p(z | x) by Hamiltonian Monte Carlo, for a few test rows x

1/2 is a q that nobody tells from the posterior. What is allowed is the accuracy of the best classifier where the scale
of every active latent is wrong by half, s = 3/2 (as for one latent in `miscalibration`); with d of them

    ½ (1 + P(χ²_d < t) − P(χ²_d < t / s²)),      t = 2 d log s / (1 − s⁻²)

While `miscalibration` looks at rows that the model makes, this looks at the data, at all latents at once, and at any
difference. It needs real latents in one layer, and is not asked of texts and molecules, whose log p(x | z) is too dear
for chains. Rows on which the chains disagree are not compared.
"""

from __future__ import annotations

import math
import warnings
from typing import cast

import torch
from scipy.stats import chi2
from torch import Tensor

from lowerbound.diagnosis.case import Case, over_reals
from lowerbound.diagnosis.clouds import on_main_directions
from lowerbound.diagnosis.finding import Clouds, Finding, Measurement, found, undefined
from lowerbound.evaluate import posterior_two_sample
from lowerbound.evaluate.batches import context_rows
from lowerbound.fitting.defaults import facts_of
from lowerbound.hooks import Augmented, WithoutDensity
from lowerbound.inference import HMC
from lowerbound.inference.draws import Draws, InferenceWarning
from lowerbound.randomness import forked
from lowerbound.weights import is_exact, latents_of

__all__ = ["allowed_accuracy", "unlike_posterior"]

NAME = "q unlike the posterior"
_ROWS, _DRAWS, _FEWEST_ROWS, _CHAIN, _SCALE = 8, 400, 2, 300, 1.5


def unlike_posterior(case: Case) -> Finding:
    """Whether a classifier tells q(z | x) from p(z | x) more often than if every scale were wrong by half."""
    if is_exact(case.model):
        return undefined(NAME, "Not asked: q(z | x) of this model is p(z | x) in closed form.")
    if facts_of(case.model.likelihood).domain == "tokens":
        return undefined(NAME, "Not asked: chains through symbols written one after another would take minutes.")
    x, context = case.x_held_out[:_ROWS], context_rows(case.context_held_out, slice(_ROWS))
    with forked(x.device, case.seed, NAME):
        chains = HMC(num_warmup=_CHAIN, num_samples=_CHAIN)(case.model, x, context)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InferenceWarning)  # the sentence says how many rows are left out
        told = posterior_two_sample(case.model, x, lambda *_: chains, context=context, num_draws=_DRAWS, seed=case.seed)
    compared = told.num_draws > 0
    if int(compared.sum()) < _FEWEST_ROWS:
        return undefined(NAME, f"Not decided: the chains are to be trusted on {int(compared.sum())} of {len(x)} rows.")
    values = told.accuracy.values[compared].double()
    spread = float(values.std()) / math.sqrt(len(values))
    sampling = float(told.accuracy.standard_error[compared].square().sum().sqrt()) / len(values)
    evidence = Measurement(
        value=float(values.mean()),
        standard_error=max(spread, sampling),
        high=allowed_accuracy(case.summary.active_units),
        unit="accuracy",
    )
    worst = int(told.accuracy.values.nan_to_num(nan=0.0).argmax())
    rows = f"a classifier tells draws of q from those of p(z | x) in {evidence.value:.0%} of cases (50 % by chance)"
    seen = f" on {len(values)} test rows" + (f", {len(x) - len(values)} left out" if len(values) < len(x) else "")
    return found(
        NAME,
        evidence,
        ill=f"{rows[0].upper()}{rows[1:]}{seen}.",
        well=f"{rows[0].upper()}{rows[1:]}{seen}.",
        remedy=_remedy(case),
        picture=_picture(case, chains, worst),
    )


def allowed_accuracy(num_latents: int) -> float:
    """Of the best classifier, where q is a Gaussian of so many latents, each of 1.5 times the scale it should have.

    >>> round(allowed_accuracy(1), 3), round(allowed_accuracy(10), 3)
    (0.597, 0.813)
    """
    d = max(1, num_latents)
    at = 2 * d * math.log(_SCALE) / (1 - _SCALE**-2)
    return 0.5 * (1 + float(chi2.cdf(at, d) - chi2.cdf(at / _SCALE**2, d)))


def _remedy(case: Case) -> str | None:
    """A larger encoder where q gains by being fitted to each row, else a richer family."""
    if isinstance(case.posterior, WithoutDensity | Augmented) or not over_reals(case.posterior):
        return case.refit.widened(2)
    own, refined = case.refined_held_out
    if (refined - own).mean > case.allowance / 2:
        return case.refit.widened(2)
    richer = "iaf" if case.refit.chosen("posterior").startswith("full") else "full-normal"
    return case.refit(posterior=richer)


def _picture(case: Case, chains: Draws, row: int) -> Clouds:
    """Draws of q and of the chains for the row on which they are told apart most often."""
    x, context = case.x_held_out[row : row + 1], context_rows(case.context_held_out, slice(row, row + 1))
    with torch.no_grad(), forked(case.x_held_out.device, case.seed, NAME):
        q = case.model.infer(x, context)
        of_q = cast(Tensor, latents_of(q, q.sample(torch.Size((_DRAWS,)))))[:, 0]
        of_p = chains.sample(torch.Size((_DRAWS,)))[:, row]
    return on_main_directions({"q(z | x)": of_q, "p(z | x) by Hamiltonian Monte Carlo": of_p})
