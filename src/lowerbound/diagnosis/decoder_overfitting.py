"""Overfitting of the decoder: training rows are more likely than other rows, by more than the spread over rows.

    (E_train[log p(x)] − E_held-out[log p(x)]) / sd_train[log p(x)]

log p(x) is estimated by importance sampling from q(z | x), with enough draws that a worse q on test rows matters
little. In standard deviations the difference does not depend on the number of dimensions of x.
"""

from __future__ import annotations

import math

from lowerbound.diagnosis.case import Case
from lowerbound.diagnosis.finding import Finding, Histograms, Measurement, found

__all__ = ["MOST_DEVIATIONS", "decoder_overfitting"]

NAME = "decoder overfitting"
MOST_DEVIATIONS = 1.0
"""At this value 84 % of training rows are more likely than the typical test row."""


def decoder_overfitting(case: Case) -> Finding:
    """Whether log p of training rows is higher than that of test rows by more than one standard deviation.

    Raises:
        ValueError: all training rows have one log p.
    """
    train, held_out = (e.log_evidence.double() for e in (case.evidence_train, case.evidence_held_out))
    difference, deviation = (train.mean() - held_out.mean()).item(), train.std().item()
    if not deviation > 0:
        raise ValueError(
            f"{case.evidence_name} is the same for all training rows, and has no deviation; look at the weights."
        )
    error = math.hypot(train.std().item() / math.sqrt(len(train)), held_out.std().item() / math.sqrt(len(held_out)))
    evidence = Measurement(
        value=difference / deviation, standard_error=error / deviation, high=MOST_DEVIATIONS, unit="deviations"
    )
    return found(
        NAME,
        evidence,
        ill=f"Training rows are {difference:.1f} nats more likely than test rows: the decoder memorises them.",
        well=f"Training rows are {difference:.1f} nats more likely than test rows (sd {deviation:.1f}).",
        remedy=case.refit.widened(0.5),
        picture=Histograms(
            series={"training rows": train.cpu().numpy(), "test rows": held_out.cpu().numpy()},
            label=f"{case.evidence_name} (nats)",
        ),
    )
