"""Miscalibration: q(z | x) is not the posterior of the model on rows that the model makes (Talts et al. 2018,
arXiv:1804.06788; see `evaluate.calibration`, which says what this checks and what it does not).

    D_f = sup_t |F(t) − t|

of the ranks of the true latents among draws of q, by each latent and by densities and distances of all of them. The
number is the largest D in units of what is allowed: 0.1 for one latent, as if its scale were wrong by half or its mean
by a quarter of the scale, and 0.4 for all at once, where small errors of many latents add up. Importance weighting
widens q where its family does not fit, and healthy fits then have up to 0.4 by log p(x, z).

Rows that the model makes may be unlike the data, where prior or likelihood are wrong; the encoder never saw such rows.
Then this finding is present while the gaps of inference on the data are small: q is right where it was trained, and
draws of the model are what to look at (holes, predictive checks).
"""

from __future__ import annotations

import torch
from torch import Tensor

from lowerbound.diagnosis.case import Case, over_reals
from lowerbound.diagnosis.finding import Curves, Finding, Measurement, found, undefined
from lowerbound.evaluate import Calibration, calibration, ecdf_band
from lowerbound.evaluate.batches import context_rows
from lowerbound.evaluate.rank_bands import above_uniform
from lowerbound.evaluate.ranks import largest_difference
from lowerbound.fitting.defaults import facts_of
from lowerbound.hooks import PointMass
from lowerbound.protocols import Context

__all__ = ["ALLOWED_OF_ALL", "ALLOWED_OF_LATENTS", "miscalibration"]

NAME = "miscalibration of q"
ALLOWED_OF_LATENTS, ALLOWED_OF_ALL = 0.1, 0.4
_ROWS, _DRAWS, _REGION, _MOST_CURVES = 1000, 63, 0.8, 6
_TO_ONE_SIDE = 0.4
"""|E[u] − 1/2| / D is 0.7 of a mean that is off and 0 of a scale that is."""


def miscalibration(case: Case) -> Finding:
    """Whether the ranks of a latent are further than 0.1 from uniform, or those of all at once further than 0.4."""
    if _draws_other_rows(case):
        return undefined(NAME, "Not defined for grey values under a likelihood that draws 0 and 1: q never saw those.")
    if isinstance(case.posterior, PointMass):
        return undefined(NAME, "Not defined for codes, of which q gives one with probability one.")
    context = _contexts(case)
    known = calibration(case.model, num_rows=_ROWS, num_draws=_DRAWS, context=context, seed=case.seed)
    if not any(name.startswith("z") for name in known.quantities):
        return undefined(NAME, "Not defined for a model without latents.")
    difference, error = largest_difference(known.ranks)
    allowed = torch.tensor([_allowed(name) for name in known.quantities]).to(difference)
    worst = int((difference / allowed).argmax())
    evidence = Measurement(
        value=float(difference[worst] / allowed[worst]),
        standard_error=float(error[worst] / allowed[worst]),
        high=1.0,
        unit="(of what is allowed)",
    )
    name, size, inside = known.quantities[worst], float(difference[worst]), float(known.coverage((_REGION,)).values)
    regions = f"regions of q with {_REGION:.0%} hold the latents of {inside:.0%} of the rows that the model makes"
    what = _fault(known.ranks[:, worst], size, density=name.startswith("log "), inside=inside)
    return found(
        NAME,
        evidence,
        ill=f"q is {what}: the ranks of {name} are {size:.2f} from uniform, and {regions}.",
        well=f"{regions[0].upper()}{regions[1:]}.",
        remedy=_remedy(case, what),
        picture=_picture(known, worst),
    )


def _contexts(case: Case) -> Context | None:
    """What simulated rows are given: the contexts of training rows, each again and again; None for no context."""
    return context_rows(case.context_train, torch.arange(_ROWS) % len(case.x_train))


def _draws_other_rows(case: Case) -> bool:
    """Whether the likelihood scores grey values and draws 0 and 1."""
    facts, x = facts_of(case.model.likelihood), case.x_held_out
    return facts.discrete and facts.domain == "unit interval" and bool(((x != 0) & (x != 1)).any())


def _allowed(quantity: str) -> float:
    return ALLOWED_OF_LATENTS if quantity.startswith("z") else ALLOWED_OF_ALL


def _fault(u: Tensor, difference: float, *, density: bool, inside: float) -> str:
    """What is wrong with q, from the ranks of one quantity: those of a density are low where q is too sure, and high
    where it is too wide, or beside the posterior if its regions hold less than they say.
    """
    middle = float(u.mean()) - 0.5
    if density:
        return "too narrow" if middle < 0 else "too wide" if inside > _REGION else "off to one side"
    if abs(middle) > _TO_ONE_SIDE * difference:
        return "off to one side"
    return "too wide" if float((u - 0.5).square().mean()) < 1 / 12 else "too narrow"


def _remedy(case: Case, what: str) -> str | None:
    """Importance weighting widens q and the ELBO narrows it; where that is not to be had, a larger encoder."""
    if what == "too narrow" and case.objective.linear:
        return case.refit(objective="iwae", num_samples="16")
    if what == "too narrow" and over_reals(case.posterior):
        full = case.refit.chosen("posterior").startswith("full")
        return case.refit(posterior="iaf" if full else "full-normal")
    if what == "too wide" and not case.objective.linear:
        return case.refit(objective="elbo")
    return case.refit.widened(2)


def _picture(known: Calibration, worst: int) -> Curves:
    """F(t) − t of the worst quantity and of those of all latents together, with the band of all quantities."""
    others = [i for i, name in enumerate(known.quantities) if not name.startswith("z") and i != worst]
    band = ecdf_band(len(known.ranks), num_curves=len(known.quantities))
    chosen = [worst, *others][:_MOST_CURVES]
    series = {known.quantities[i]: above_uniform(known.ranks[:, i].cpu().numpy(), band.points) for i in chosen}
    return Curves(
        x=band.points,
        series=series,
        low=band.lower - band.points,
        high=band.upper - band.points,
        x_label="rank t of the true value among draws of q",
        label="share of ranks below t, minus t",
        band="95 % of all curves of an exact q",
    )
