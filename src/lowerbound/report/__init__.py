"""A run on one page: model, scores and pictures, in a single HTML file.

`collect` gathers the contents of a run, `render` makes a page from contents, and `write_report` writes it;
`write_diagnosis` writes that of a `diagnosis`, and `write_comparison` that of several runs. A page needs no network,
script or other file.
"""

from lowerbound.report.comparison import render_comparison, setting_words, write_comparison
from lowerbound.report.contents import ReportContents
from lowerbound.report.diagnosis import format_evidence, format_range, render_diagnosis, verdict, write_diagnosis
from lowerbound.report.of_fitted import collect
from lowerbound.report.page import ReportError, render, write_report
from lowerbound.report.predictive import checks_in_words, ranks_in_words

__all__ = [
    "ReportContents",
    "ReportError",
    "checks_in_words",
    "collect",
    "format_evidence",
    "format_range",
    "ranks_in_words",
    "render",
    "render_comparison",
    "render_diagnosis",
    "setting_words",
    "verdict",
    "write_comparison",
    "write_diagnosis",
    "write_report",
]
