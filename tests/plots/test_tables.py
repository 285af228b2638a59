"""Marginals of the columns of a table: other parts of the picture are tested in `test_names` and the report."""

from __future__ import annotations

import numpy as np
import pytest

from lowerbound.plots import table_marginals


def test_classes_and_dates_are_named_in_the_words_of_the_data() -> None:
    g = np.random.default_rng(0)
    x = np.stack([g.integers(0, 2, 40), 1.7e9 + 86400 * g.integers(0, 90, 40), g.normal(size=40)], 1)
    figure = table_marginals(x, x[::-1], ["sex", "visit", "x"], [("female", "male"), "%Y-%m-%d", None])
    figure.canvas.draw()
    sex, visit, plain = figure.axes[:3]
    assert [label.get_text() for label in sex.get_xticklabels()] == ["female", "male"]
    assert all(text.startswith(("2023-", "2024-")) for text in (t.get_text() for t in visit.get_xticklabels()) if text)
    assert all(-9 < float(t.get_text().replace("−", "-")) < 9 for t in plain.get_xticklabels() if t.get_text())
    with pytest.raises(ValueError, match="one for each of the 3 columns"):
        table_marginals(x, x, meanings=[None])
