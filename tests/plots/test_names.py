"""Names of the user's own in pictures: no formula is read, an underscore hides nothing, strange letters are boxes."""

from __future__ import annotations

import io

import numpy as np
import pytest

from lowerbound import plots

NAMES = ("$\\frac{$", "_hidden", "年", "a\x1bb", "\\$x$")
X = np.linspace(0, 1, 5)
RECORDS = [{"step": step, "terms": {"bound": -1.0 / step}, "held_out": None} for step in (1, 2, 3)]


def of_curves():
    band = (X - 1, X + 1)
    return plots.diagnosis_curves(X, dict.fromkeys(NAMES, X), band, x_label="t", label="share", band_label="95 %")


def of_runs():
    return plots.comparison_curves(dict.fromkeys(NAMES, RECORDS), (0.0,) * len(NAMES))


def of_differences():
    return plots.comparison_differences(dict.fromkeys(NAMES, (0.0, 1.0)))


def of_statistics():
    return plots.predictive_statistics(dict.fromkeys(NAMES, (0.0, -1.0, 1.0, 0.0)))


def of_columns():
    return plots.table_marginals(np.zeros((3, 5)), np.ones((3, 5)), NAMES)


@pytest.mark.parametrize("figure", [of_curves, of_runs, of_differences, of_statistics, of_columns])
def test_any_name_can_be_drawn(figure):
    made = figure()
    made.savefig(io.BytesIO())  # a warning is an error here
    legends = [*made.legends, *(axes.legend_ for axes in made.axes if axes.legend_)]
    shown = [text.get_text() for legend in legends for text in legend.get_texts()]
    if figure in (of_curves, of_runs):
        assert [text.replace(r"\$", "$") for text in shown][-len(NAMES) :] == list(NAMES)
