"""Dispersion of the likelihood: a predictive check (Gelman, Meng & Stern 1996, §2).

    T(x, z) = Σ_d (x_d − E[x_d | z])²          ratio = E T(x, z) / E T(x_rep, z),      x_rep ~ p(x | z)

with z ~ p(z | x) of test rows, by importance weights of draws from q, so that a q that is too wide has no
influence. Under the model, x and x_rep have the same distribution given z, and the ratio is 1. Above 1 the likelihood
is under-dispersed: it understates the errors of its reconstructions. Below 1 it is over-dispersed.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lowerbound.diagnosis.case import Case, error_of_mean
from lowerbound.diagnosis.finding import Finding, Histograms, Measurement, found, undefined
from lowerbound.fitting.defaults import facts_of
from lowerbound.randomness import forked
from lowerbound.shown import shown
from lowerbound.weights import latents_of, weigh

__all__ = ["HIGHEST", "LOWEST", "dispersion"]

NAME = "dispersion of the likelihood"
LOWEST, HIGHEST = 0.75, 1.35
"""Corresponds to a standard deviation that is wrong by a sixth."""
_DRAWS = 32


def dispersion(case: Case) -> Finding:
    """Whether the errors of reconstruction are larger or smaller than the likelihood says."""
    if facts_of(case.model.likelihood).domain == "tokens":
        return undefined(NAME, "Not defined for tokens, which have no mean.")
    try:
        seen, expected = _errors(case)
    except (NotImplementedError, AttributeError):
        return undefined(NAME, "Not defined for a likelihood without a mean.")
    if not expected.any():
        return undefined(NAME, "Not defined: each draw of the likelihood is its mean, so that it expects no errors.")
    ratio = (seen.mean() / expected.mean()).item()
    error = error_of_mean(seen - ratio * expected) / expected.mean().item()
    evidence = Measurement(value=ratio, standard_error=error, low=LOWEST, high=HIGHEST, unit="times")
    word = "under-dispersed: surer than it should be" if ratio > 1 else "over-dispersed: less sure than it could be"
    return found(
        NAME,
        evidence,
        ill=f"Squared errors of test rows are {ratio:.2f} times what the likelihood expects; it is {word}.",
        well=f"Squared errors of test rows are {ratio:.2f} times what the likelihood expects.",
        remedy=_remedy(case, ratio > 1),
        picture=Histograms(
            series={"replicated rows": expected.cpu().numpy(), "test rows": seen.cpu().numpy()},
            label="Σ (x − E[x | z])²",
        ),
    )


@torch.no_grad()
def _errors(case: Case) -> tuple[Tensor, Tensor]:
    """T(x, z) and T(x_rep, z) of each row (B,), averaged over draws with their importance weights."""
    x, context = case.x_held_out, case.context_held_out
    seen, expected, log_w = [], [], []
    with forked(x.device, case.seed):
        q, joint = case.model.infer(x, context), case.model.joint(x, context)
        for _ in range(_DRAWS):
            z = q.sample(torch.Size((1,)))
            p = case.model.decode(latents_of(q, z), context)
            mean = shown(p).values
            log_w.append(weigh(q, joint, z).log_w[0].double())
            seen.append(_squared(x - mean[0], x))
            expected.append(_squared((p.sample() - mean)[0], x))
    weights = torch.stack(log_w).softmax(0)
    return (weights * torch.stack(seen)).sum(0), (weights * torch.stack(expected)).sum(0)


def _squared(residual: Tensor, x: Tensor) -> Tensor:
    """Over the entries that x has."""
    return residual.double().square().masked_fill(x.isnan(), 0.0).flatten(1).sum(1)


_RICHER = {
    "bernoulli": "continuous-bernoulli",
    "normal": "normal:scale=per-dimension",
    "laplace": "laplace:scale=per-dimension",
    "poisson": "negative-binomial",
    "zero-inflated-poisson": "zero-inflated-negative-binomial",
}


def _remedy(case: Case, too_sure: bool) -> str | None:
    """A likelihood that learns its width; where it has, or has none to learn, a decoder that fits less closely."""
    now = case.refit.chosen("likelihood") or "bernoulli"
    other = _RICHER.get(now.partition(":")[0], now)
    if other == now or (now == "bernoulli" and too_sure):
        return case.refit.widened(0.5 if too_sure else 2)
    return case.refit(likelihood=other)
