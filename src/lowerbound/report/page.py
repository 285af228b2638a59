"""From contents to one self-contained HTML file: its styles and pictures are inside, and it has no script.

Every string of the user passes through `html.escape`, also inside attributes. A policy in the head forbids the page to
fetch anything.
"""

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path

from matplotlib.figure import Figure

from lowerbound.report.contents import Illustration, ReportContents
from lowerbound.report.figures import illustrations
from lowerbound.report.numbers import Score, Tile, scores, tiles
from lowerbound.report.sheet import STYLE_SHEET
from lowerbound.report.words import NEAREST_WORDS, TEXT_PAIRS, TEXT_SAMPLES
from lowerbound.training.checkpoint import write_atomically

__all__ = ["ReportError", "document", "figure_section", "render", "write_page", "write_report"]

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_DENSE_ABOVE = 900
"""Pictures wider than this many pixels scroll sideways on a small screen, where they would be unreadable if shrunk."""


class ReportError(ValueError):
    """A report that cannot be written, in one sentence."""


def render(contents: ReportContents) -> str:
    """The whole page.

    >>> page = render(ReportContents(title="a < b", kind="table"))
    >>> "<h1>a &lt; b</h1>" in page
    True
    """
    return document(contents.title, "\n".join(_sections(contents)))


def document(title: str, body: str) -> str:
    """The page around a body, which is HTML already."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE_SHEET}</style>\n</head>\n<body>\n<main>\n"
        f"{body}\n</main>\n</body>\n</html>\n"
    )


def write_report(contents: ReportContents, path: Path, *, new: bool = False) -> None:
    """Write the page to `path`; an existing file is replaced only when the new one is complete.

    Raises:
        ReportError: `new` and a file is there, the folder is missing, or the disk refused.
    """
    write_page(render(contents), path, new=new)


def write_page(page: str, path: Path, *, new: bool = False) -> None:
    """Write a page like `write_report`.

    Raises:
        ReportError: `new` and a file is there, the folder is missing, or the disk refused.
    """
    try:
        write_atomically(path, page.encode(), new=new)
    except FileExistsError:
        raise ReportError(f"{path} is there already; choose another place, or overwrite it with --force.") from None
    except OSError as error:
        raise ReportError(
            f"Could not write the report to {path} ({error.strerror or error}); choose a folder that exists and has "
            "space."
        ) from error


def _sections(contents: ReportContents) -> Iterator[str]:
    yield _header(contents)
    yield _tiles(tiles(contents))
    yield _headline(scores(contents))
    if contents.problems:
        listed = "\n".join(f"<li>{escape(problem)}</li>" for problem in contents.problems)
        yield f"<section>\n<h2>Not to be trusted</h2>\n<ul>\n{listed}\n</ul>\n</section>"
    yield from _texts(contents)
    for illustration in illustrations(contents):
        yield figure_section(illustration)
    for heading, values in (
        ("Data", contents.data),
        ("Configuration", contents.configuration),
        ("Versions", contents.versions),
    ):
        if values:
            yield f"<section>\n<h2>{heading}</h2>\n{_settings(values)}\n</section>"
    if contents.citations is not None:
        cited = contents.citations._repr_html_()
        yield f'<section>\n<h2>What to cite</h2>\n<div class="wide">{cited}</div>\n</section>'


def _texts(contents: ReportContents) -> Iterator[str]:
    """Reconstructions, samples and nearest words of a model of text."""
    if contents.text_pairs:
        body = "".join(f"<tr><td>{escape(a)}</td><td>{escape(b)}</td></tr>\n" for a, b in contents.text_pairs)
        head = "<thead><tr><th>test text</th><th>reconstruction</th></tr></thead>"
        table = f'<div class="wide"><table>{head}<tbody>\n{body}</tbody></table></div>'
        drawn = _drawn(contents.drawn_pairs)
        yield f'<section>\n<h2>Reconstructions</h2>\n{drawn}{table}\n<p class="quiet">{TEXT_PAIRS}</p>\n</section>'
    if contents.text_samples:
        body = "".join(f"<li>{escape(text)}</li>\n" for text in contents.text_samples)
        drawn = _drawn(contents.drawn_samples)
        yield f'<section>\n<h2>Samples</h2>\n{drawn}<ol>\n{body}</ol>\n<p class="quiet">{TEXT_SAMPLES}</p>\n</section>'
    if contents.nearest_words:
        rows = ((word, ", ".join(nearest)) for word, nearest in contents.nearest_words)
        body = "".join(f"<tr><td>{escape(a)}</td><td>{escape(b)}</td></tr>\n" for a, b in rows)
        head = "<thead><tr><th>word</th><th>nearest words</th></tr></thead>"
        table = f'<div class="wide"><table>{head}<tbody>\n{body}</tbody></table></div>'
        yield f'<section>\n<h2>Nearest words</h2>\n{table}\n<p class="quiet">{NEAREST_WORDS}</p>\n</section>'


def _drawn(svg: str | None) -> str:
    """A drawing as a part of the page."""
    return "" if svg is None else f'<div class="wide">{svg}</div>\n'


def _header(contents: ReportContents) -> str:
    command = "" if contents.command is None else f"\n<pre><code>{escape(contents.command)}</code></pre>"
    notes = "".join(f'\n<p class="quiet">{escape(note)}</p>' for note in contents.notes)
    return f"<header>\n<h1>{escape(contents.title)}</h1>{command}{notes}\n</header>"


def _tiles(found: Sequence[Tile]) -> str:
    cells = [
        f'<div class="tile"><dt>{escape(t.name)}</dt><dd class="value {t.verdict}">{escape(t.value)}</dd>'
        f"<dd>{escape(t.unit)}</dd></div>"
        for t in found
    ]
    return f'<dl class="tiles">\n{"".join(cells)}\n</dl>' if cells else ""


def _headline(rows: Sequence[Score]) -> str:
    if not rows:
        words = "No scores on test rows have been saved for this run. Evaluate it and write the report again."
        return f'<section>\n<h2>Scores on test rows</h2>\n<p class="quiet">{words}</p>\n</section>'
    head = (
        '<tr><th>Score</th><th class="number">nats per row</th><th class="number">bits/dim</th>'
        "<th>What it says</th></tr>"
    )
    body = "\n".join(
        f'<tr><th scope="row">{escape(r.name)}</th><td class="number">{escape(r.nats)}</td>'
        f'<td class="number">{escape(r.bits)}</td><td class="meaning">{escape(r.meaning)}</td></tr>'
        for r in rows
    )
    table = f'<div class="wide"><table class="scores">\n<thead>{head}</thead>\n<tbody>\n{body}\n</tbody></table></div>'
    return f"<section>\n<h2>Scores on test rows</h2>\n{table}\n</section>"


def figure_section(illustration: Illustration) -> str:
    """A picture under its heading, with how to read it."""
    width, height = (round(inches * 100) for inches in illustration.figure.get_size_inches())
    dense = ' class="dense"' if width > _DENSE_ABOVE else ""
    image = (
        f'<img{dense} width="{width}" height="{height}" alt="{escape(illustration.alt)}" '
        f'src="data:image/png;base64,{_png(illustration.figure)}">'
    )
    return (
        f'<section>\n<h2>{escape(illustration.heading)}</h2>\n<figure>\n<div class="card">{image}</div>\n'
        f"<figcaption>{escape(illustration.reading)}</figcaption>\n</figure>\n</section>"
    )


def _png(figure: Figure) -> str:
    """The picture at two dots per pixel of its size on the page."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=200)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _settings(values: Mapping[str, object]) -> str:
    rows = "\n".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>' for name, value in _flat(values)
    )
    return f'<div class="wide"><table class="settings"><tbody>\n{rows}\n</tbody></table></div>'


def _flat(values: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif isinstance(value, list | tuple):
            yield f"{prefix}{name}", ", ".join(str(item) for item in value)
        else:
            yield f"{prefix}{name}", "none" if value is None else str(value)
