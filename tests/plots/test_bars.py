import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.patches import Polygon

from lowerbound.plots import diagnosis_histograms, evidence_histogram, kl_per_dimension, latent_map, table_marginals
from lowerbound.plots.histograms import bin_edges, finite
from lowerbound.plots.style import MODEL


def test_divergences_are_sorted_and_named():
    axes = kl_per_dimension(np.array([0.5, 0.0, 2.0, 0.009])).axes[0]
    bars = axes.containers[0]
    assert [bar.get_height() for bar in bars] == [2.0, 0.5, 0.009, 0.0]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["2", "0", "3", "1"]


def test_active_dimensions_are_coloured_and_counted():
    axes = kl_per_dimension(np.array([0.5, 0.0, 2.0, 0.3]), threshold=0.4).axes[0]
    active = [bar.get_facecolor() == to_rgba(MODEL) for bar in axes.containers[0]]
    assert active == [True, True, False, False]
    assert axes.get_title(loc="left") == "2 of 4 latent dimensions above 0.4 nats"


def test_many_dimensions_name_only_some_bars():
    axes = kl_per_dimension(np.arange(100.0)).axes[0]
    assert len(axes.get_xticks()) <= 32
    assert axes.get_xticklabels()[1].get_text() == str(99 - int(axes.get_xticks()[1]))


def test_divergences_per_datum_are_refused():
    with pytest.raises(ValueError, match="average over data"):
        kl_per_dimension(np.zeros((3, 2)))


def test_the_histogram_of_the_evidence_counts_every_row():
    values = np.random.default_rng(0).normal(-80, 5, size=200)
    axes = evidence_histogram(values).axes[0]
    assert sum(bar.get_height() for bar in axes.containers[0]) == 200
    np.testing.assert_allclose(axes.lines[0].get_xdata(), values.mean())
    assert axes.get_xlabel().endswith("(nats)")
    with pytest.raises(ValueError, match="one value per row"):
        evidence_histogram(np.zeros(0))


def test_marginals_share_bins_and_have_shares_of_their_rows():
    g = np.random.default_rng(0)
    data, samples = g.normal(size=(300, 2)), g.normal(1, 1, size=(200, 2))
    axes = table_marginals(data, samples, ("a", "b")).axes[1]
    bars, outline = axes.containers[0], next(p for p in axes.patches if isinstance(p, Polygon))
    edges = np.array([bar.get_x() for bar in bars] + [bars[-1].get_x() + bars[-1].get_width()])
    heights = np.array([bar.get_height() for bar in bars])
    np.testing.assert_allclose(heights, np.histogram(data[:, 1], edges)[0] / 300, atol=1e-12)
    expected = np.histogram(samples[:, 1], edges)[0] / 200
    np.testing.assert_allclose(outline.get_xy()[1:-1:2][:30, 1], expected, atol=1e-12)
    np.testing.assert_allclose(edges[[0, -1]], [min(data[:, 1].min(), samples[:, 1].min()), samples[:, 1].max()])
    assert axes.get_title(loc="left") == "b"


def test_samples_far_out_are_counted_and_do_not_flatten_the_rest():
    data = np.linspace(0, 1, 100)[:, None]
    samples = np.concatenate([data[:, 0], [1e9, np.inf, np.nan, 0.5]])[:, None]
    axes = table_marginals(data, samples).axes[0]
    assert axes.get_title(loc="left") == "column 0 (2.9% out of view)"
    assert axes.get_xlim()[1] < 3


def test_a_sample_all_out_of_view_still_draws():
    table_marginals(np.zeros((4, 1)), np.full((4, 1), np.nan)).draw_without_rendering()


@pytest.mark.parametrize(
    "column",
    [
        1.7e9 + np.linspace(0, 1000, 50),
        (1.7e9 + np.linspace(0, 1000, 50)).astype(np.float32),
        1.7e9 + np.linspace(0, 1e-6, 50),
        np.full(50, 1e20),
        np.full(50, -1e-300),
        1e-300 * np.arange(50),
        1e100 * np.linspace(-1, 1, 50),
        np.array([5e-324, 0.0]),
        np.array([np.nan, np.inf, 3.0, 4.0]),
        np.array([np.nan, np.nan]),
        np.arange(50, dtype=np.uint8),
    ],
    ids=lambda column: f"{column.dtype}, {np.nanmin(column) if np.isfinite(column).any() else 'none'}",
)
@pytest.mark.filterwarnings("error")
def test_every_histogram_draws_any_column(column):
    known = column[np.isfinite(column)]
    figures = [table_marginals(column[:, None], column[:, None]), evidence_histogram(column.astype(np.float64))]
    if len(known):
        figures += [diagnosis_histograms({"a": known, "b": known[:2]}, "unit"), latent_map(known[:, None])]
    for figure in figures:
        figure.draw_without_rendering()
    edges = bin_edges(finite(column), 30)
    assert (np.diff(edges) > 0).all()
    assert ((edges[0] <= known) & (known <= edges[-1])).all()


def test_a_wide_table_shows_twelve_columns_and_says_so():
    figure = table_marginals(np.eye(14), np.eye(14))
    assert len(figure.axes) == 12
    assert "first 12 of 14 columns" in figure.get_suptitle()


def test_a_column_may_be_called_anything():
    figure = table_marginals(np.eye(3), np.eye(3), ("$x^$", "_a", "n" * 60))
    figure.draw_without_rendering()
    assert figure.axes[0].get_title(loc="left") == "$x^$"


def test_tables_that_do_not_match_are_refused():
    with pytest.raises(ValueError, match="same columns"):
        table_marginals(np.eye(3), np.eye(4))
    with pytest.raises(ValueError, match="2 names"):
        table_marginals(np.eye(3), np.eye(3), ("a", "b"))
