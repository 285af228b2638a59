"""The approximation gap: the loss of the best member of the family (Cremer, Li & Duvenaud 2018, arXiv:1801.03558, eq.
4).

    log p(x) − L[q*]

L is the ELBO, or L_K if training maximised a function of K draws. log p(x) is estimated by annealing from q(z | x),
which is accurate where importance sampling from q would need too many samples. Annealing does not support discrete
latents, auxiliary variables and mixture priors; for these it is importance sampling. Both estimates are too low on
average and cannot overstate the gap; a q* that is not quite optimal can.
"""

from __future__ import annotations

from lowerbound.diagnosis.case import Case, over_reals
from lowerbound.diagnosis.finding import Finding, Histograms, Measurement, found
from lowerbound.evaluate import Estimates, annealed_importance
from lowerbound.evaluate.batches import context_rows

__all__ = ["approximation"]

NAME = "approximation gap"
_DISTRIBUTIONS, _CHAINS, _LEAPFROG = 60, 4, 4


def approximation(case: Case) -> Finding:
    """Whether the family of q at its best loses more than 15 % of the rate (and half a nat) on test rows."""
    gap, name = _known(case) - case.best_bound, case.evidence_name
    evidence = Measurement(value=gap.mean, standard_error=gap.standard_error_of_mean, high=case.allowance, unit="nats")
    return found(
        NAME,
        evidence,
        ill=f"Even the best q of its family is {evidence.value:.1f} nats below {name}: the family is too poor.",
        well=f"The best q of its family is {evidence.value:.2f} nats below {name}.",
        remedy=_remedy(case),
        picture=Histograms(series={"test rows": gap.values.cpu().numpy()}, label=f"{name} − L[q*] (nats)"),
    )


def _known(case: Case) -> Estimates:
    """log p̂(x) by annealing, or by importance sampling for latents or priors that annealing refuses."""
    try:
        return annealed_importance(
            case.model,
            case.x_held_out[: case.num_refined],
            context=context_rows(case.context_held_out, slice(case.num_refined)),
            num_distributions=_DISTRIBUTIONS,
            num_chains=_CHAINS,
            num_leapfrog=_LEAPFROG,
            start="posterior",
            seed=case.seed,
        ).per_datum
    except ValueError:
        evidence, rows = case.evidence_held_out, slice(case.num_refined)
        return Estimates(values=evidence.log_evidence[rows], standard_error=evidence.standard_error[rows])


def _remedy(case: Case) -> str | None:
    if not over_reals(case.posterior):
        return case.refit(objective="iwae", num_samples="16")
    richer = "iaf" if case.refit.chosen("posterior").startswith("full") else "full-normal"
    return case.refit(posterior=richer)
