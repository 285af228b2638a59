"""A run on one page: what was fitted, how well, and pictures of it, in a single HTML file.

`collect` gathers the contents of a run, `render` makes the page of any contents, and `write_report`
puts it on the disk; `write_diagnosis` does so for a `diagnosis`,
`write_comparison` for several runs. A page needs no network, no script and
no other file.
"""

from lowerbound.report.comparison import render_comparison, setting_words, write_comparison
from lowerbound.report.contents import ReportContents
from lowerbound.report.diagnosis import format_evidence, format_range, render_diagnosis, verdict, write_diagnosis
from lowerbound.report.of_fitted import collect
from lowerbound.report.page import ReportError, render, write_report

__all__ = [
    "ReportContents",
    "ReportError",
    "collect",
    "format_evidence",
    "format_range",
    "render",
    "render_comparison",
    "render_diagnosis",
    "setting_words",
    "verdict",
    "write_comparison",
    "write_diagnosis",
    "write_report",
]
