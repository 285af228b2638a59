"""Blindness: other data are not less likely than held-out data (Nalisnick et al. 2019, arXiv:1810.09136).

AUROC = P(−log p(x_other) > −log p(x_held-out))
"""

from __future__ import annotations

import shlex

from lowerbound.data import names
from lowerbound.diagnosis.case import Case
from lowerbound.diagnosis.finding import Finding, Histograms, Measurement, found, undefined
from lowerbound.evaluate import auroc

__all__ = ["LOWEST", "blindness"]

NAME = "blindness to other data"
LOWEST = 0.75
"""Half way from chance to certainty."""


def blindness(case: Case) -> Finding:
    """Whether −log p(x) tells the other data from held-out rows in fewer than three of four pairs."""
    if case.x_against is None:
        return undefined(NAME, "Not asked: name other data with --against DATA.")
    inside, outside = case.evidence_held_out.log_evidence, case.evidence_against.log_evidence
    score = auroc(-inside, -outside)
    evidence = Measurement(value=score.value, standard_error=score.standard_error, low=LOWEST, unit="AUROC")
    return found(
        NAME,
        evidence,
        ill=f"log p(x) tells {case.against} from held-out rows in {score.value:.0%} of pairs only.",
        well=f"log p(x) tells {case.against} from held-out rows in {score.value:.0%} of pairs.",
        remedy=_remedy(case),
        picture=Histograms(
            series={"held-out rows": inside.cpu().numpy(), case.against: outside.cpu().numpy()},
            label="log p(x) (nats)",
        ),
    )


def _remedy(case: Case) -> str:
    """The same comparison by likelihood regret."""
    data = {"name" if case.against in names() else "path": case.against}
    lines = (
        "import pathlib",
        "import lowerbound as lb",
        f"run = lb.runs.Run.open(pathlib.Path({case.refit.run!r}))",
        f"x = run.transformed(lb.runs.load_dataset({data!r}).x_test[:200])",
        "inside, outside = (lb.evaluate.likelihood_regret(run.load_model(), rows).values "
        "for rows in (run.test_tensor(200), x))",
        "print(lb.evaluate.auroc(inside, outside))",
    )
    return f"python -c {shlex.quote('; '.join(lines))}"
