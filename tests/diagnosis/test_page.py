from __future__ import annotations

import numpy as np
import pytest

from lowerbound import plots
from lowerbound.diagnosis import Bars, Clouds, Curves, Diagnosis, Finding, Histograms, Measurement
from lowerbound.report import ReportError, render_diagnosis, write_diagnosis

HOSTILE = "<script>alert('x')</script>"
MEASUREMENT = Measurement(value=0.25, standard_error=0.1, low=1.0, unit="nats")
PICTURES = (
    Histograms(series={"a": np.arange(9.0), HOSTILE: np.ones(3)}, label="nats"),
    Bars(values={"a": (1.0, 0.1), "b": (-2.0, 0.0)}, label="nats"),
    Clouds(series={"a": np.zeros((4, 2))}, label="plane"),
    Curves(
        x=np.arange(3.0),
        series={"a": np.zeros(3)},
        low=-np.ones(3),
        high=np.ones(3),
        x_label="t",
        label="F",
        band="95 %",
    ),
)


def diagnosis() -> Diagnosis:
    findings = [
        Finding(
            name=f"problem {i}",
            present=i == 0,
            sentence=f"Sentence {i} {HOSTILE}.",
            evidence=MEASUREMENT,
            remedy=f"lowerbound fit {HOSTILE}" if i == 0 else None,
            picture=picture,
        )
        for i, picture in enumerate(PICTURES)
    ]
    findings.append(Finding(name="last", present=None, sentence=f"Not defined. {HOSTILE}"))
    return Diagnosis(title=f"run {HOSTILE}", findings=tuple(findings), num_held_out=12, num_train=34)


def test_every_finding_has_its_sentence_its_verdict_and_its_picture():
    page = render_diagnosis(diagnosis())
    assert page.count("<img") == len(PICTURES)
    assert page.count("<h2>Problem") == len(PICTURES)
    assert "<h2>Problem 0: present</h2>" in page
    assert "<h2>Problem 1: healthy</h2>" in page
    assert "<h2>Last: not examined</h2>" in page
    assert "1 of 5 problems are present. 12 test and up to 34 training rows" in page
    assert "0.250 ± 0.100 nats" in page
    assert "at least 1.00" in page
    assert page.count("<pre><code>") == 1
    assert "Not defined." in page


def test_findings_are_printed_a_line_each_and_without_the_numbers_of_their_pictures():
    lines = str(diagnosis()).splitlines()
    assert lines[:3] == [f"run {HOSTILE}", f"problem 0 (present): Sentence 0 {HOSTILE}.", f"  lowerbound fit {HOSTILE}"]
    assert len(lines) == 1 + len(PICTURES) + 1 + 1
    assert "array" not in repr(diagnosis())


def test_no_string_becomes_markup():
    page = render_diagnosis(diagnosis())
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 5


def test_a_page_that_cannot_be_written_is_one_sentence(tmp_path):
    with pytest.raises(ReportError, match="Could not write"):
        write_diagnosis(diagnosis(), tmp_path / "none" / "diagnosis.html")


def test_bars_have_the_heights_and_errors_given():
    figure = plots.diagnosis_bars({"a": (1.0, 0.1), "b": (-2.0, 0.0)}, "nats")
    axes = figure.axes[0]
    assert [bar.get_height() for bar in axes.patches] == [1.0, -2.0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b"]
    assert axes.get_ylabel() == "nats"


def test_histograms_share_their_bins_and_mark_their_means():
    axes = plots.diagnosis_histograms({"a": np.arange(10.0), "b": np.arange(20.0, 30.0)}, "x").axes[0]
    assert [line.get_xdata()[0] for line in axes.lines] == [4.5, 24.5]
    ends = [bar.get_x() for bar in axes.patches] + [bar.get_x() + bar.get_width() for bar in axes.patches]
    assert (min(ends), max(ends)) == pytest.approx((0, 29))


@pytest.mark.parametrize("series", [{}, {name: np.zeros((3, 2)) for name in "abc"}])
def test_pictures_refuse_what_they_cannot_show(series):
    with pytest.raises(ValueError, match="one or two series"):
        plots.diagnosis_histograms(series, "x")
    with pytest.raises(ValueError, match="one or two series"):
        plots.diagnosis_clouds(series, "x")
    with pytest.raises(ValueError, match="no values"):
        plots.diagnosis_bars({}, "x")


def test_curves_have_their_names_and_their_band():
    x = np.linspace(0, 1, 5)
    figure = plots.diagnosis_curves(x, {"a": x, "b": -x}, (x - 1, x + 1), x_label="t", label="share", band_label="95 %")
    axes = figure.axes[0]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["95 %", "a", "b"]
    assert axes.collections[0].get_paths()[0].get_extents().bounds == pytest.approx((0, -1, 1, 3))
    with pytest.raises(ValueError, match="one to 8 series"):
        plots.diagnosis_curves(x, {}, (x, x), x_label="t", label="share", band_label="95 %")
