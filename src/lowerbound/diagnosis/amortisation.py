"""The amortisation gap: what the encoder loses within its family (Cremer, Li & Duvenaud 2018, arXiv:1801.03558, eq. 4).

    L[q*] − L[q]

on training rows; a larger loss on other rows is overfitting (see `encoder_overfitting`). q* is found by local
optimisation from q, and both are evaluated at fresh draws. L is the objective of training: an encoder that was trained
with another weight on the rate, or for L_K, is not judged by its ELBO.
"""

from __future__ import annotations

from lowerbound.diagnosis.case import Case
from lowerbound.diagnosis.finding import Finding, Histograms, Measurement, found

__all__ = ["amortisation"]

NAME = "amortisation gap"


def amortisation(case: Case) -> Finding:
    """Whether the encoder loses more than 15 % of the rate (and half a nat) within its family on training rows."""
    elbo, refined = case.refined_train
    gap = refined - elbo
    evidence = Measurement(value=gap.mean, standard_error=gap.standard_error_of_mean, high=case.allowance, unit="nats")
    return found(
        NAME,
        evidence,
        ill=f"Fitting q to each training row by itself gains {evidence.value:.1f} nats: the encoder is the bottleneck.",
        well=f"Fitting q to each training row by itself would gain {max(evidence.value, 0):.2f} nats.",
        remedy=case.refit.widened(2),
        picture=Histograms(series={"training rows": gap.values.cpu().numpy()}, label="L[q*] − L[q] (nats)"),
    )
