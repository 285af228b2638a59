"""The problems that a fitted model may have: one per file, each a function from a `Case` to a `Finding`.

A finding is one number with its standard error and the range of a healthy model. The problem is present only if the
whole 95 % interval lies outside that range: undecided cases count as healthy. `diagnose` examines a fitted model, and
`examine` any model with its data.
"""

from lowerbound.diagnosis.case import Case
from lowerbound.diagnosis.examination import PROBLEMS, Diagnosis, diagnose, examine
from lowerbound.diagnosis.finding import Bars, Clouds, Curves, Finding, Histograms, Measurement
from lowerbound.diagnosis.of_fitted import case_of, rows_of
from lowerbound.diagnosis.refit import Refit

__all__ = [
    "PROBLEMS",
    "Bars",
    "Case",
    "Clouds",
    "Curves",
    "Diagnosis",
    "Finding",
    "Histograms",
    "Measurement",
    "Refit",
    "case_of",
    "diagnose",
    "examine",
    "rows_of",
]
