"""The page of several runs: their scores and differences, what their plans differ in, and how training went."""

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from lowerbound import plots
from lowerbound.report.contents import Illustration
from lowerbound.report.numbers import format_nats
from lowerbound.report.page import document, figure_section, write_page
from lowerbound.verbs.comparison import Comparison

__all__ = ["render_comparison", "setting_words", "write_comparison"]

_READING = (
    "Differences are taken row by row over the same test rows. A difference within two standard errors of zero is "
    "none that these rows can show."
)
_FRONT = (
    "Each run is one point: what a file takes, and how near to the test rows is what comes back. No run is better than "
    "one above it and to its left. Scores in nats rank such runs by one weight of the rate alone."
)
_CURVES = (
    "Each run's own objective on the rows that chose its weights, which are others than those scored above. Bounds of "
    "different objectives (the ELBO, L_K) are not compared by these curves; the scores above are."
)


def write_comparison(comparison: Comparison, path: Path, *, new: bool = False) -> None:
    """Write the page; a file that was there stays whole until the new one is.

    Raises:
        ReportError: `new` and a file is there, the folder is missing, or the disk refused.
    """
    write_page(render_comparison(comparison), path, new=new)


def render_comparison(comparison: Comparison) -> str:
    """The whole page."""
    title = f"{len(comparison.names)} runs on {comparison.data}"
    return document(title, "\n".join(_sections(title, comparison)))


def setting_words(value: object) -> str:
    """A setting as text.

    >>> setting_words([128, 64]), setting_words(None)
    ('128, 64', 'none')
    """
    if isinstance(value, list | tuple):
        return ", ".join(str(item) for item in value)
    return "none" if value is None else str(value)


def _sections(title: str, comparison: Comparison) -> Iterator[str]:
    scores = comparison.scores
    words = f"L_{comparison.num_samples:,} of {scores.shape[1]:,} test rows: {comparison.units}, in nats per row."
    yield f"<header>\n<h1>{escape(title)}</h1>\n<p>{escape(words)}</p>\n</header>"
    yield _scores(comparison)
    yield _settings(comparison)
    differences = dict(zip(comparison.names, comparison.differences, strict=True))
    apart = {name: (d.mean, d.standard_error) for name, d in differences.items()}
    best = comparison.names[comparison.best]
    yield figure_section(
        Illustration(
            heading="Differences",
            figure=plots.comparison_differences(apart),
            alt=f"The difference of each of {len(apart)} runs to the best, {best}.",
            reading=_READING,
        )
    )
    yield from _front(comparison)
    if any(records and records[-1]["step"] > 0 for records in comparison.records):
        yield figure_section(
            Illustration(
                heading="Training",
                figure=plots.comparison_curves(
                    dict(zip(comparison.names, comparison.records, strict=True)), comparison.log_scales
                ),
                alt=f"Line chart of the held-out bound of {len(apart)} runs against the step.",
                reading=_CURVES,
            )
        )


def _front(comparison: Comparison) -> Iterator[str]:
    """Rate against distortion of the runs that code pictures; nothing where fewer than two do."""
    found = {name: p for name, p in zip(comparison.names, comparison.pictures or (), strict=False) if p is not None}
    if len(found) < 2:
        return
    rows = [
        (name, f"{p.bits_per_pixel:.4f}", f"{p.psnr:.2f}", "" if p.ms_ssim is None else f"{p.ms_ssim:.4f}")
        for name, p in found.items()
    ]
    table = _table(("Run", "Bits per pixel", "PSNR, dB", "MS-SSIM"), rows)
    yield f"<section>\n<h2>Bits of pictures</h2>\n{table}\n</section>"
    yield figure_section(
        Illustration(
            heading="Rate and distortion",
            figure=plots.rate_distortion_front({name: (p.bits_per_pixel, p.psnr) for name, p in found.items()}),
            alt=f"PSNR of {len(found)} runs against their bits per pixel.",
            reading=_FRONT,
        )
    )


def _scores(comparison: Comparison) -> str:
    head = ("Run", "Score", "± s.e.", "Difference to the best", "± s.e.", "p")
    columns = zip(comparison.names, comparison.means, comparison.standard_errors, comparison.differences, strict=True)
    rows = [
        (
            name,
            format_nats(mean),
            format_nats(error, mean),
            "best" if number == comparison.best else format_nats(d.mean),
            "" if number == comparison.best else format_nats(d.standard_error, d.mean),
            "" if number == comparison.best else f"{d.p_value:.2g}",
        )
        for number, (name, mean, error, d) in enumerate(columns)
    ]
    return (
        f'<section>\n<h2>Scores</h2>\n{_table(head, rows)}\n<p class="quiet">{escape(comparison.note)}</p>\n</section>'
    )


def _settings(comparison: Comparison) -> str:
    rows = [(name, *map(setting_words, values)) for name, values in comparison.settings.items()]
    if not rows:
        return "<section>\n<h2>What differs</h2>\n<p>The plans are the same.</p>\n</section>"
    return f"<section>\n<h2>What differs</h2>\n{_table(('Setting', *comparison.names), rows)}\n</section>"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "\n".join(
        f'<tr><th scope="row">{escape(row[0])}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in row[1:])}</tr>'
        for row in rows
    )
    return f'<div class="wide"><table>\n<thead><tr>{top}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>'
