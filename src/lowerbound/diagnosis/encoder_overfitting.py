"""Overfitting of the encoder: it infers well only for training rows (Cremer, Li & Duvenaud 2018, §5.4).

    E_held-out[L[q*] − L[q]] − E_train[L[q*] − L[q]]

q* treats training and held-out rows alike, so that the difference is due to the encoder alone.
"""

from __future__ import annotations

import math

from lowerbound.diagnosis.case import Case
from lowerbound.diagnosis.finding import Finding, Histograms, Measurement, found

__all__ = ["encoder_overfitting"]

NAME = "encoder overfitting"


def encoder_overfitting(case: Case) -> Finding:
    """Whether the amortisation gap is larger on test rows by more than 15 % of the rate (and half a nat)."""
    train, held_out = (refined - elbo for elbo, refined in (case.refined_train, case.refined_held_out))
    error = math.hypot(train.standard_error_of_mean, held_out.standard_error_of_mean)
    evidence = Measurement(value=held_out.mean - train.mean, standard_error=error, high=case.allowance, unit="nats")
    return found(
        NAME,
        evidence,
        ill=f"The encoder loses {evidence.value:.1f} nats more on test rows than on those it was trained on.",
        well=f"The encoder loses {held_out.mean:.1f} nats on test rows and {train.mean:.1f} on training rows.",
        remedy=case.refit.widened(0.5),
        picture=Histograms(
            series={"training rows": train.values.cpu().numpy(), "test rows": held_out.values.cpu().numpy()},
            label="L[q*] − L[q] (nats)",
        ),
    )
