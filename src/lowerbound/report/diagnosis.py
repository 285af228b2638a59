"""The page of a diagnosis: a table of all findings, then each with its sentence, its remedy and its picture."""

import math
from collections.abc import Iterator
from html import escape
from pathlib import Path

from matplotlib.figure import Figure

from lowerbound import plots
from lowerbound.diagnosis import Bars, Clouds, Curves, Diagnosis, Finding, Measurement
from lowerbound.diagnosis.finding import Picture
from lowerbound.report.contents import Illustration
from lowerbound.report.page import document, figure_section, write_page

__all__ = ["format_evidence", "format_range", "render_diagnosis", "verdict", "write_diagnosis"]

_READING = (
    "A problem is called present where the 95 % interval of its evidence lies wholly outside of the healthy range. "
    "What the rows cannot decide counts as healthy."
)


def write_diagnosis(diagnosis: Diagnosis, path: Path) -> None:
    """Write the page; an existing file is replaced only when the new one is complete.

    Raises:
        ReportError: the folder is missing or the disk refused.
    """
    write_page(render_diagnosis(diagnosis), path)


def render_diagnosis(diagnosis: Diagnosis) -> str:
    """The whole page."""
    return document(f"Diagnosis of {diagnosis.title}", "\n".join(_sections(diagnosis)))


def verdict(finding: Finding) -> str:
    """The finding in a word."""
    return {True: "present", False: "healthy", None: "not examined"}[finding.present]


def format_evidence(evidence: Measurement | None) -> str:
    """The number, its standard error and its unit.

    >>> format_evidence(Measurement(value=3.14159, standard_error=0.011, unit="nats"))
    '3.142 ± 0.011 nats'
    """
    return "" if evidence is None else f"{evidence.value:.3f} ± {evidence.standard_error:.3f} {evidence.unit}"


def format_range(evidence: Measurement | None) -> str:
    """The healthy range.

    >>> format_range(Measurement(value=3.0, standard_error=0.1, low=1.0, unit="nats"))
    'at least 1.00'
    """
    if evidence is None:
        return ""
    if math.isinf(evidence.high):
        return f"at least {evidence.low:.2f}"
    return f"at most {evidence.high:.2f}" if math.isinf(evidence.low) else f"{evidence.low:.2f} to {evidence.high:.2f}"


def _sections(diagnosis: Diagnosis) -> Iterator[str]:
    count = len(diagnosis.present)
    words = "Nothing was found." if not count else f"{count} of {len(diagnosis.findings)} problems are present."
    rows = f"{diagnosis.num_held_out:,} test and up to {diagnosis.num_train:,} training rows were examined."
    yield f"<header>\n<h1>Diagnosis of {escape(diagnosis.title)}</h1>\n<p>{words} {rows}</p>\n</header>"
    yield _table(diagnosis)
    for finding in diagnosis.findings:
        yield _finding(finding)


def _table(diagnosis: Diagnosis) -> str:
    head = "<tr><th>Finding</th><th>Verdict</th><th>Evidence ± s.e.</th><th>Healthy</th></tr>"
    body = "\n".join(
        f'<tr><th scope="row">{escape(f.name)}</th><td>{verdict(f)}</td><td>{escape(format_evidence(f.evidence))}</td>'
        f"<td>{escape(format_range(f.evidence))}</td></tr>"
        for f in diagnosis.findings
    )
    table = f'<div class="wide"><table>\n<thead>{head}</thead>\n<tbody>\n{body}\n</tbody></table></div>'
    return f'<section>\n<h2>Findings</h2>\n{table}\n<p class="quiet">{_READING}</p>\n</section>'


def _finding(finding: Finding) -> str:
    heading = f"{finding.name[0].upper()}{finding.name[1:]}: {verdict(finding)}"
    remedy = "" if finding.remedy is None else f"\n<pre><code>{escape(finding.remedy)}</code></pre>"
    if finding.picture is None:
        return f"<section>\n<h2>{escape(heading)}</h2>\n<p>{escape(finding.sentence)}</p>{remedy}\n</section>"
    alt = f"{finding.name}: {format_evidence(finding.evidence)}; healthy is {format_range(finding.evidence)}."
    shown = Illustration(heading=heading, figure=_drawn(finding.picture), alt=alt, reading=finding.sentence)
    return figure_section(shown) + remedy


def _drawn(picture: Picture) -> Figure:
    if isinstance(picture, Bars):
        return plots.diagnosis_bars(picture.values, picture.label)
    if isinstance(picture, Clouds):
        return plots.diagnosis_clouds(picture.series, picture.label)
    if isinstance(picture, Curves):
        return plots.diagnosis_curves(
            picture.x,
            picture.series,
            (picture.low, picture.high),
            x_label=picture.x_label,
            label=picture.label,
            band_label=picture.band,
        )
    return plots.diagnosis_histograms(picture.series, picture.label)
