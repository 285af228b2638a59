import base64
import struct
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lowerbound.report import ReportContents, ReportError, render, write_report
from lowerbound.report.figures import illustrations

pytestmark = pytest.mark.drawn

HOSTILE = "</title><script>alert('x')</script>\" onload=\"x"
VOID = {"meta", "img", "br", "hr", "link", "input"}
EVALUATION: dict[str, Any] = {
    "elbo": -88.25,
    "log_evidence": -86.354,
    "log_evidence_standard_error": 0.41,
    "num_samples": 5000,
    "bits_per_dim": 0.1589,
    "rate": 25.5,
    "distortion": 62.75,
    "active_units": 17,
    "latent_dim": 20,
    "pareto_k_above_07": 0.032,
    "baselines": {"bernoulli_mixture": -112.5, "independent_bernoulli": -206.25},
}


class Page(HTMLParser):
    """Every tag and its attributes, every text, and whether tags are closed in order."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append(data.strip())

    def images(self) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == "img"]


def record(step: int, bound: float) -> dict[str, Any]:
    terms = {"bound": bound, "likelihood": bound + 5, "prior": -8.0, "posterior": -3.0}
    return {
        "step": step,
        "terms": terms,
        "held_out": terms,
        "gradient_norm": 1.0,
        "learning_rate": 1e-3,
        "is_best": True,
    }


def images(**changes: Any) -> ReportContents:
    g = np.random.default_rng(0)
    made: dict[str, Any] = {
        "title": "a run",
        "kind": "image",
        "metrics": [record(100, -120.0), record(200, -101.5)],
        "evaluation": EVALUATION,
        "originals": g.integers(0, 2, size=(4, 28, 28)).astype(np.float32),
        "binarization": "dynamic",
        "reconstructions": g.random((4, 28, 28)),
        "samples": g.random((6, 28, 28)),
        "latents": g.normal(size=(30, 2)),
        "latent_labels": np.arange(30) % 3,
        "explained": (0.4, 0.2),
        "kl_per_dimension": np.array([1.0, 0.001, 3.0]),
        "configuration": {"lr": 1e-3, "model": {"latent_dim": 20, "hidden": [512, 256]}, "steps": None},
        "versions": {"torch": "2.9.9"},
        "data": {"name": "digits"},
    }
    return ReportContents(**{**made, **changes})


def table(**changes: Any) -> ReportContents:
    g = np.random.default_rng(0)
    made: dict[str, Any] = {
        "title": "a table",
        "kind": "table",
        "originals": g.normal(size=(40, 3)),
        "samples": g.normal(size=(40, 3)),
        "feature_names": ("a", "b", "c"),
        "latents": g.normal(size=(40, 1)),
    }
    return ReportContents(**{**made, **changes})


@pytest.fixture(scope="module")
def full() -> Page:
    return Page(render(images()))


def test_the_page_is_well_formed(full: Page):
    assert not full.open
    assert full.tags[0][0] == "html"


def test_the_page_refers_to_nothing_outside_itself(full: Page):
    for tag, attributes in full.tags:
        assert tag not in {"script", "link", "iframe", "object", "embed", "base", "form"}
        for name in ("src", "href", "srcset", "data", "action", "background"):
            assert (attributes.get(name) or "data:").startswith("data:")
    styles = render(ReportContents(title="t", kind="table"))
    assert "url(" not in styles
    assert "@import" not in styles
    assert "default-src 'none'" in styles


def test_every_picture_is_a_png_at_twice_its_size_with_words(full: Page):
    assert len(full.images()) == 5
    for image in full.images():
        content = base64.b64decode((image["src"] or "").removeprefix("data:image/png;base64,"), validate=True)
        assert content.startswith(b"\x89PNG")
        width, height = struct.unpack(">II", content[16:24])
        assert abs(width - 2 * int(image["width"] or 0)) <= 1
        assert abs(height - 2 * int(image["height"] or 0)) <= 1
        assert len(image["alt"] or "") > 20


def test_every_picture_says_how_to_read_it(full: Page):
    captions = [text for text in full.texts if "Good:" in text and "Bad:" in text]
    assert len(captions) == 5
    assert sum("binarized" in text for text in captions) == 1
    assert sum("PCA" in text for text in captions) == 1


def test_the_numbers_of_the_evaluation_are_there(full: Page):
    for text in (
        "−86.35 ± 0.41",
        "−88.25",
        "0.159",
        "25.50",
        "62.75",
        "17 of 20",
        "3.2% of rows",
        "−112.50",
        "−206.25",
    ):
        assert text in full.texts
    assert any("K = 5,000" in text for text in full.texts)


def test_the_margin_over_each_baseline_is_stated(full: Page):
    assert "The run is 26.15 nats better than this baseline." in full.texts
    assert "The run is 119.90 nats better than this baseline." in full.texts
    assert "+26.15" in full.texts  # over the best one


def test_a_run_below_a_baseline_is_said_to_be_worse():
    page = Page(render(table(evaluation={**EVALUATION, "baselines": {"gaussian": -80.0}})))
    assert "The run is 6.35 nats worse than this baseline." in page.texts
    assert "−6.35" in page.texts
    assert any("bad" in (attributes.get("class") or "") for _, attributes in page.tags)


def test_bits_of_other_scores_follow_from_those_of_the_evidence(full: Page):
    expected = 0.1589 + (88.25 - 86.354) / (784 * np.log(2))
    assert f"{expected:.3f}" in full.texts


def test_settings_data_and_versions_are_listed(full: Page):
    for name, value in (
        ("model.latent_dim", "20"),
        ("model.hidden", "512, 256"),
        ("steps", "none"),
        ("torch", "2.9.9"),
        ("name", "digits"),
    ):
        assert full.texts[full.texts.index(name) + 1] == value


def test_hostile_names_stay_text():
    names = (HOSTILE, "b", "c")
    page = Page(
        render(
            table(
                title=HOSTILE,
                command=HOSTILE,
                feature_names=names,
                configuration={HOSTILE: [HOSTILE]},
                data={"name": HOSTILE},
                evaluation={**EVALUATION, "baselines": {HOSTILE: -1.0}},
                latent_labels=np.zeros(40, dtype=np.int64),
                label_names=(HOSTILE,),
                latents_are=HOSTILE,
            )
        )
    )
    assert not page.open
    assert not any(tag == "script" or "onload" in attributes for tag, attributes in page.tags)
    assert page.texts.count(HOSTILE) >= 5


def test_without_an_evaluation_the_page_says_so_and_shows_the_held_out_bound():
    page = Page(render(images(evaluation=None)))
    assert any(text.startswith("No scores on test rows") for text in page.texts)
    assert "−101.50" in page.texts


def test_a_partial_evaluation_is_enough():
    page = Page(render(table(evaluation={"elbo": -88.25, "active_units": None, "baselines": {"gaussian": -99.0}})))
    assert "−88.25" in page.texts
    assert "Active units" not in page.texts
    assert "−99.00" in page.texts


def test_an_infinite_bound_is_said_to_be_so():
    infinite = {**EVALUATION, "elbo": None, "rate": None, "baselines": {"gaussian": None}}  # as JSON has them
    assert Page(render(table(evaluation=infinite))).texts.count("not finite") == 3


def test_a_table_shows_its_columns_and_a_code_of_one_dimension():
    page = Page(render(table()))
    assert [image["alt"].split()[0] for image in page.images() if image["alt"]] == ["Histograms", "Histogram"]


def test_an_empty_report_is_a_page():
    page = Page(render(ReportContents(title="nothing", kind="image")))
    assert not page.open
    assert not page.images()


def test_images_that_are_no_intensities_keep_their_contrast():
    x = 16 * np.random.default_rng(0).random((4, 8, 8))
    contents = images(metrics=(), originals=x, reconstructions=x, samples=x, latents=None, kl_per_dimension=None)
    for illustration in illustrations(contents):
        picture = np.asarray(illustration.figure.axes[0].images[0].get_array())
        expected = (x[0] - x.min()) / (x.max() - x.min())
        np.testing.assert_allclose(picture[1:9, 1:9, 0], expected)


def test_the_same_contents_give_the_same_page():
    assert render(table()) == render(table())


def test_the_file_is_the_page_and_replaces_the_old_one(tmp_path: Path):
    path = tmp_path / "report.html"
    path.write_text("old")
    write_report(table(), path)
    assert path.read_text(encoding="utf-8") == render(table())
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_a_missing_folder_is_one_sentence(tmp_path: Path):
    with pytest.raises(ReportError, match="choose a folder"):
        write_report(ReportContents(title="t", kind="table"), tmp_path / "none" / "report.html")


def test_that_pareto_k_is_not_known_of_few_samples_is_said() -> None:
    few = ReportContents(title="t", kind="table", evaluation={"num_samples": 20, "pareto_k_above_07": None})
    assert "not known" in render(few)
    assert "shows from K = 21 on; K is 20 here" in render(few)
    enough = ReportContents(title="t", kind="table", evaluation={"num_samples": 21, "pareto_k_above_07": 0.5})
    assert "50.0% of rows" in render(enough)
    assert "not known" not in render(enough)
