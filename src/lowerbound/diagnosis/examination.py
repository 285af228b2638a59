"""The examination of a model for all problems."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from lowerbound.diagnosis.amortisation import amortisation
from lowerbound.diagnosis.approximation import approximation
from lowerbound.diagnosis.blindness import blindness
from lowerbound.diagnosis.case import Case
from lowerbound.diagnosis.code_collapse import code_collapse
from lowerbound.diagnosis.collapse import collapse
from lowerbound.diagnosis.decoder_overfitting import decoder_overfitting
from lowerbound.diagnosis.dispersion import dispersion
from lowerbound.diagnosis.encoder_overfitting import encoder_overfitting
from lowerbound.diagnosis.finding import Finding, row_of, undefined
from lowerbound.diagnosis.gradient_noise import gradient_noise
from lowerbound.diagnosis.holes import holes
from lowerbound.diagnosis.imbalance import imbalance
from lowerbound.diagnosis.miscalibration import miscalibration
from lowerbound.diagnosis.of_fitted import case_of
from lowerbound.diagnosis.silent_layers import silent_layers
from lowerbound.diagnosis.unlike_posterior import unlike_posterior
from lowerbound.fitted import Fitted
from lowerbound.html_tables import html_table
from lowerbound.protocols import Context

__all__ = ["PROBLEMS", "Diagnosis", "diagnose", "examine"]

PROBLEMS: dict[str, Callable[[Case], Finding]] = {
    "posterior collapse": collapse,
    "code collapse": code_collapse,
    "silent layers": silent_layers,
    "holes": holes,
    "amortisation gap": amortisation,
    "approximation gap": approximation,
    "miscalibration of q": miscalibration,
    "q unlike the posterior": unlike_posterior,
    "imbalance of rate and distortion": imbalance,
    "encoder overfitting": encoder_overfitting,
    "decoder overfitting": decoder_overfitting,
    "dispersion of the likelihood": dispersion,
    "noise of the gradient": gradient_noise,
    "blindness to other data": blindness,
}
"""The problems by the names of their findings, in the order of the page."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Diagnosis:
    """The findings of an examination.

    Attributes:
        title: of what.
        findings: one for each problem.
        num_held_out: rows that were examined.
        num_train: training rows that were examined.
    """

    title: str
    findings: tuple[Finding, ...]
    num_held_out: int
    num_train: int

    @property
    def present(self) -> tuple[Finding, ...]:
        """The problems that the model has."""
        return tuple(finding for finding in self.findings if finding.present)

    def __str__(self) -> str:
        """A line for each problem, and one for its remedy."""
        lines = [self.title]
        for name, present, sentence, remedy in map(row_of, self.findings):
            lines += [f"{name} ({present}): {sentence}", *([f"  {remedy}"] if remedy else [])]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """A table for notebooks: each problem with its finding and remedy."""
        return html_table(self.title, [row_of(finding) for finding in self.findings])


def diagnose(
    fitted: Fitted | Path | str,
    *,
    x_against: Tensor | None = None,
    context_against: Context | None = None,
    against: str = "other data",
    num_rows: int = 500,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Diagnosis:
    """Examine a fitted model.

    Arguments:
        fitted: the model, or its folder.
        x_against: rows of other data that the model should find unlikely, as its likelihood scores them
            (`Fitted.events`).
        context_against: of the model, for each of these rows (`rows_of`).
        against: the name of those data.
        num_rows: test rows, at most.
        seed: of the choice of rows and of all draws.
        progress: called after each problem with their number so far and in all.

    Raises:
        RunError: no run, or one whose training has not come to its end.
        DataError: its data are gone or have changed.
    """
    opened = fitted if isinstance(fitted, Fitted) else Fitted.open(fitted)
    case = case_of(
        opened, x_against=x_against, context_against=context_against, against=against, num_rows=num_rows, seed=seed
    )
    return examine(case, title=str(opened.folder or opened.name), progress=progress)


def examine(case: Case, *, title: str = "a model", progress: Callable[[int, int], None] | None = None) -> Diagnosis:
    """Examine any model with its data.

    Arguments:
        case: the model, its data and its loss.
        title: the name of the model.
        progress: called after each problem with their number so far and in all.
    """
    findings: list[Finding] = []
    for name, look in PROBLEMS.items():
        findings.append(_looked(name, look, case))
        if progress is not None:
            progress(len(findings), len(PROBLEMS))
    return Diagnosis(
        title=title, findings=tuple(findings), num_held_out=len(case.x_held_out), num_train=len(case.x_train)
    )


def _looked(name: str, look: Callable[[Case], Finding], case: Case) -> Finding:
    """If a measurement refuses this kind of model, its finding says why; the others continue. The remedy of a refusal
    is for its caller, which is no user here.
    """
    none = "a distribution of the model has no density, or no moments, that it needs."
    try:
        return look(case)
    except (ValueError, NotImplementedError) as error:
        reason = (str(error) or none).rpartition("; ")[0] or str(error) or none
        return undefined(name, f"Not examined: {reason.removesuffix('.')}.")
