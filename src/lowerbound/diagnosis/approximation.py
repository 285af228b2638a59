"""The approximation gap: what no member of the family reaches (Cremer, Li & Duvenaud 2018, arXiv:1801.03558, eq. 4).

    log p(x) − L[q*]

L is the ELBO, or L_K of K draws where training maximised a function of several. log p(x) is estimated by annealing from
q(z | x), which stays right where importance samples from q are too few; for discrete latents, auxiliary variables and
mixtures as priors, which annealing does not take, by importance sampling all the same. Both are low on average, so that
the gap is never overstated by them; it is by a q* that is not quite optimal.
"""

from __future__ import annotations

from lowerbound.diagnosis.case import MOST_REFINED, Case, over_reals
from lowerbound.diagnosis.finding import Finding, Histograms, Measurement, found
from lowerbound.evaluate import PerDatum, annealed_importance

__all__ = ["approximation"]

NAME = "approximation gap"
_DISTRIBUTIONS, _CHAINS, _LEAPFROG = 60, 4, 4


def approximation(case: Case) -> Finding:
    """Whether the family of q at its best loses more than 15 % of the rate (and half a nat) on test rows."""
    gap = _known(case) - case.best_bound
    evidence = Measurement(value=gap.mean, standard_error=gap.standard_error_of_mean, high=case.allowance, unit="nats")
    return found(
        NAME,
        evidence,
        ill=f"Even the best q of its family is {evidence.value:.1f} nats below log p(x): the family is too poor.",
        well=f"The best q of its family is {evidence.value:.2f} nats below log p(x).",
        remedy=_remedy(case),
        picture=Histograms(series={"test rows": gap.values.cpu().numpy()}, label="log p(x) − L[q*] (nats)"),
    )


def _known(case: Case) -> PerDatum:
    """log p̂(x) by annealing, or by importance sampling for latents or priors that annealing refuses."""
    try:
        return annealed_importance(
            case.model,
            case.x_held_out[:MOST_REFINED],
            num_distributions=_DISTRIBUTIONS,
            num_chains=_CHAINS,
            num_leapfrog=_LEAPFROG,
            start="posterior",
            seed=case.seed,
        ).per_datum
    except ValueError:
        evidence, rows = case.evidence_held_out, slice(MOST_REFINED)
        return PerDatum(values=evidence.log_evidence[rows], standard_error=evidence.standard_error[rows])


def _remedy(case: Case) -> str:
    if not over_reals(case.posterior):
        return case.refit(objective="iwae", num_samples="16")
    richer = "iaf" if case.refit.options.get("posterior", "").startswith("full") else "full-normal"
    return case.refit(posterior=richer)
