import warnings
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from lowerbound.plots import image_grid, originals_and_reconstructions


def picture(figure: Figure) -> np.ndarray:
    return np.asarray(figure.axes[0].images[0].get_array())


def test_images_run_left_to_right_and_top_to_bottom():
    images = np.arange(5, dtype=np.float64)[:, None, None] / 10 * np.ones((5, 4, 3))
    found = picture(image_grid(images, 2))
    assert found.shape == (3 * 5 + 1, 2 * 4 + 1, 3)
    for i in range(5):
        top, left = 1 + i // 2 * 5, 1 + i % 2 * 4
        np.testing.assert_allclose(found[top : top + 4, left : left + 3], i / 10)


def test_an_image_is_neither_flipped_nor_transposed():
    image = np.random.default_rng(0).random((1, 3, 5))
    found = picture(image_grid(image, 1))
    np.testing.assert_allclose(found[1:-1, 1:-1, 0], image[0])


def test_gaps_are_neither_black_nor_white():
    found = picture(image_grid(np.zeros((4, 2, 2)), 2))
    assert (found[[0, 3, 6]] > 0.5).all()
    assert (found[:, [0, 3, 6]] < 0.95).all()


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_channels_come_first_and_are_drawn_as_colours(channels):
    images = np.random.default_rng(0).random((2, channels, 4, 5))
    found = picture(image_grid(images, 2))[1:5, 1:6]
    for c in range(min(channels, 3)):
        np.testing.assert_allclose(found[..., c], images[0, c])
    if channels == 2:
        np.testing.assert_allclose(found[..., 2], 0)
    if channels == 1:
        np.testing.assert_allclose(found[..., 2], images[0, 0])


def test_the_value_range_is_mapped_and_clipped():
    found = picture(image_grid(np.array([[[-1.0, 0.0, 8.0, 16.0, 99.0]]]), 1, value_range=(0.0, 16.0)))
    np.testing.assert_allclose(found[1, 1:-1, 0], [0, 0, 0.5, 1, 1])


def test_bytes_are_drawn_in_their_range():
    found = picture(image_grid(np.array([[[0, 51, 255]]], dtype=np.uint8), 1, value_range=(0.0, 255.0)))
    np.testing.assert_allclose(found[1, 1:-1, 0], [0, 0.2, 1])


def test_pairs_stand_side_by_side():
    originals = np.arange(3)[:, None, None] / 10 * np.ones((3, 8, 8))
    found = picture(originals_and_reconstructions(originals, originals + 0.5, columns=2))
    for i in range(3):
        top, left = 1 + i // 2 * 9, 1 + i % 2 * 17
        np.testing.assert_allclose(found[top : top + 8, left : left + 8], i / 10)
        np.testing.assert_allclose(found[top : top + 8, left + 8 : left + 16], i / 10 + 0.5)


def test_fewer_pairs_than_columns_leave_no_empty_column():
    images = np.zeros((2, 8, 8))
    assert picture(originals_and_reconstructions(images, images, columns=6)).shape[1] == 2 * 17 + 1


def test_the_default_grid_holds_every_image():
    for n in (1, 2, 7, 60):
        height, width, _ = picture(image_grid(np.zeros((n, 4, 4)))).shape
        assert (height - 1) // 5 * ((width - 1) // 5) >= n


@pytest.mark.parametrize("n, grid", [(1, (1, 1)), (2, (1, 2)), (6, (2, 3)), (10, (2, 5)), (16, (4, 4)), (60, (6, 10))])
def test_the_default_grid_is_balanced(n, grid):
    """16 images were laid out 5 + 5 + 5 + 1."""
    height, width, _ = picture(image_grid(np.zeros((n, 4, 4)))).shape
    assert ((height - 1) // 5, (width - 1) // 5) == grid


def test_a_figure_is_a_picture_in_a_notebook():
    """IPython shows the PNG of an object that offers one, and matplotlib's own figures do not."""
    figure = image_grid(np.zeros((1, 4, 4)))
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert figure._repr_html_() is None


@pytest.mark.parametrize("shape", [(4,), (4, 4), (0, 4, 4), (1, 1, 1, 4, 4)])
def test_other_axes_are_refused(shape):
    with pytest.raises(ValueError, match="expected \\(n, H, W\\)"):
        image_grid(np.zeros(shape))


def test_a_missing_reconstruction_is_refused():
    with pytest.raises(ValueError, match="one reconstruction"):
        originals_and_reconstructions(np.zeros((2, 4, 4)), np.zeros((1, 4, 4)))


def test_no_columns_are_refused():
    with pytest.raises(ValueError, match="columns=0"):
        image_grid(np.zeros((1, 4, 4)), 0)
    with pytest.raises(ValueError, match="columns=0"):
        originals_and_reconstructions(np.zeros((1, 4, 4)), np.zeros((1, 4, 4)), columns=0)


def test_drawing_leaves_no_figure_with_pyplot_and_no_setting_changed():
    before = dict(matplotlib.rcParams)
    image_grid(np.zeros((1, 4, 4)))
    assert dict(matplotlib.rcParams) == before
    from matplotlib._pylab_helpers import Gcf

    assert not Gcf.get_all_fig_managers()


def test_a_long_title_above_a_tall_grid_is_broken_into_lines():
    title = "Latents 14, 10, 30, 31, 2, 3, 4, 5, 6, 7, 8 and 9, the most active first: E[x_d | x_<d, z] along one draw"
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of a layout that has no place
        figure = image_grid(np.zeros((40, 4, 4)), 2, title=title)
        figure.draw_without_rendering()
    axes: Any = figure.axes[0]
    assert axes.get_title(loc="left").replace("\n", " ") == title
    assert axes._left_title.get_window_extent().x1 <= figure.bbox.width
    assert axes.get_position().height > 0.8
