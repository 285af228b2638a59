import io

import numpy as np
import pytest
from matplotlib.colors import to_rgba

from lowerbound.plots import latent_map
from lowerbound.plots.style import CLASS_COLOURS, MODEL

LATENTS = np.random.default_rng(0).normal(size=(60, 2))


def test_every_code_is_a_point():
    (points,) = latent_map(LATENTS).axes[0].collections
    np.testing.assert_allclose(points.get_offsets(), LATENTS)


def test_each_class_has_its_points_colour_and_name():
    labels = np.arange(60) % 3
    axes = latent_map(LATENTS, labels, label_names=("ant", "bee", "cat")).axes[0]
    for i, points in enumerate(axes.collections):
        np.testing.assert_allclose(points.get_offsets(), LATENTS[labels == i])
        np.testing.assert_allclose(points.get_facecolor()[0][:3], to_rgba(CLASS_COLOURS[i])[:3])
    assert [t.get_text() for t in axes.get_legend().get_texts()] == ["ant", "bee", "cat"]
    assert [t.get_text() for t in axes.texts] == ["ant", "bee", "cat"]
    np.testing.assert_allclose(axes.texts[1].get_position(), np.median(LATENTS[labels == 1], axis=0))


def test_twenty_classes_are_all_different():
    axes = latent_map(LATENTS, np.arange(60) % 20).axes[0]
    looks = {(tuple(p.get_facecolor()[0]), p.get_paths()[0].vertices.tobytes()) for p in axes.collections}
    assert len(looks) == 20


@pytest.mark.parametrize("labels", [np.arange(60), np.linspace(0, 1, 60)])
def test_many_values_get_a_continuous_scale(labels):
    figure = latent_map(LATENTS, labels)
    assert len(figure.axes) == 2  # the map and its colour bar
    np.testing.assert_allclose(figure.axes[0].collections[0].get_array(), labels)


def test_classes_without_a_name_keep_their_number():
    axes = latent_map(LATENTS, np.where(np.arange(60) < 30, 0, 7), label_names=("ant",)).axes[0]
    assert [t.get_text() for t in axes.texts] == ["ant", "7"]


def test_principal_components_say_so_with_their_share():
    axes = latent_map(LATENTS, explained=(0.314, 0.2)).axes[0]
    assert axes.get_xlabel() == "First principal component (31% of the variance)"
    assert axes.get_ylabel() == "Second principal component (20% of the variance)"


def test_latents_are_numbered_as_traverse_and_encode_number_them():
    axes = latent_map(LATENTS).axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("latent 0", "latent 1")


def test_one_dimension_is_a_histogram_of_all_rows():
    axes = latent_map(LATENTS[:, :1]).axes[0]
    assert sum(bar.get_height() for bar in axes.patches) == 60
    assert axes.patches[0].get_facecolor() == to_rgba(MODEL)


def test_one_dimension_stacks_its_classes():
    labels = np.arange(60) % 3
    axes = latent_map(LATENTS[:, :1], labels).axes[0]
    total, _ = np.histogram(LATENTS[:, 0], bins=40)
    tops = np.zeros(40)
    for i, bar in enumerate(axes.patches):
        tops[i % 40] = max(tops[i % 40], bar.get_y() + bar.get_height())
    np.testing.assert_allclose(tops, total)
    assert len(axes.get_legend().get_texts()) == 3


@pytest.mark.parametrize("width", [1, 2])
def test_names_that_look_like_markup_are_drawn_as_they_are(width):
    figure = latent_map(LATENTS[:, :width], np.arange(60) % 2, label_names=("$x^$", "_hidden"))
    figure.savefig(io.BytesIO(), format="png")
    assert [t.get_text() for t in figure.axes[0].get_legend().get_texts()] == ["$x^$", "_hidden"]


def test_latents_of_other_shapes_are_refused():
    with pytest.raises(ValueError, match="project them first"):
        latent_map(np.zeros((5, 3)))
    with pytest.raises(ValueError, match="expected \\(N, 2\\)"):
        latent_map(np.zeros((0, 2)))
    with pytest.raises(ValueError, match="one label for each"):
        latent_map(LATENTS, np.zeros(3))
