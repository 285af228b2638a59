"""The built site in a browser, if `make docs` has built it: no page is wider than its window, and none has an error."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from chromium import PROGRAM, Chromium

SITE = Path(__file__).parents[1] / "build" / "docs"
PAGES = ("index", "gallery", "guide", "choose", "matrix", "reference", "search", "api/lowerbound.objectives")
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (SITE / "index.html").exists(), reason="the site is not built: make docs"),
    pytest.mark.skipif(PROGRAM is None, reason="Chromium is not installed"),
]


def pages() -> list[Path]:
    executed = sorted(path for part in ("tutorials", "course") for path in (SITE / part).glob("*.html"))
    return [*(SITE / f"{name}.html" for name in PAGES), *executed]


@pytest.mark.parametrize("width", [390, 1280])
def test_every_page_fits_its_window(width: int, tmp_path: Path) -> None:
    wide = {}
    with Chromium(tmp_path, width) as browser:
        for page in pages():
            browser.open(page.as_uri())
            browser.until(f"document.readyState === 'complete' && location.href.startsWith('{page.as_uri()}')")
            if (overflow := browser.run(OVERFLOW)) > 0:
                wide[page.name] = overflow
        assert wide == {}
        assert [said for said in browser.problems if "[PST]" not in said] == []  # what the theme notes of its colours


def test_no_page_loads_anything_from_elsewhere() -> None:
    loads = re.compile(r'<(?:script|img|link|iframe)[^>]*(?:src|href)="(https?:|//)')
    assert [page.name for page in pages() if loads.search(page.read_text(encoding="utf-8"))] == []
