"""Blindness: other data are not less likely than held-out data (Nalisnick et al. 2019, arXiv:1810.09136).

AUROC = P(−log p(x_other) > −log p(x_held-out))
"""

from __future__ import annotations

import shlex

from lowerbound.diagnosis.case import Case
from lowerbound.diagnosis.finding import Finding, Histograms, Measurement, found, undefined
from lowerbound.evaluate import auroc

__all__ = ["LOWEST", "blindness"]

NAME = "blindness to other data"
LOWEST = 0.75
"""Half way between chance and certainty."""


def blindness(case: Case) -> Finding:
    """Whether −log p(x) is larger for the other data than for test rows in fewer than three of four pairs."""
    if case.x_against is None:
        return undefined(NAME, "Not asked: name other data with --against DATA.")
    inside, outside = case.evidence_held_out.log_evidence, case.evidence_against.log_evidence
    score = auroc(-inside, -outside)
    evidence = Measurement(value=score.value, standard_error=score.standard_error, low=LOWEST, unit="AUROC")
    return found(
        NAME,
        evidence,
        ill=f"{case.evidence_name} tells {case.against} from test rows in {score.value:.0%} of pairs only.",
        well=f"{case.evidence_name} tells {case.against} from test rows in {score.value:.0%} of pairs.",
        remedy=_remedy(case),
        picture=Histograms(
            series={"test rows": inside.cpu().numpy(), case.against: outside.cpu().numpy()},
            label=f"{case.evidence_name} (nats)",
        ),
    )


def _remedy(case: Case) -> str:
    """The same comparison by likelihood regret."""
    lines = (
        "import lowerbound as lb",
        f"fitted = lb.Fitted.open({case.refit.run!r})",
        f"both = [fitted.events(rows.x[:200]) for rows in (fitted.test_rows(), fitted.rows({case.against!r}))]",
        "inside, outside = (lb.evaluate.likelihood_regret(fitted.model, x).values for x in both)",
        "print(lb.evaluate.auroc(inside, outside))",
    )
    return f"python -c {shlex.quote('; '.join(lines))}"
