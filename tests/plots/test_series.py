import numpy as np
import pytest

from lowerbound.plots import series_and_draws, series_and_reconstructions, series_with_states


def test_each_series_has_a_band_for_each_run_of_a_state_and_the_states_below():
    states = np.array([[0, 0, 1, 1, 1, 0], [2, 2, 2, 2, 2, 2]])
    series = np.arange(24.0).reshape(2, 6, 2)
    series[0, 3] = np.nan
    above, below, second, _ = series_with_states(series, states).axes
    widths = np.array([patch.get_extents().width for patch in above.patches])  # of the screen
    np.testing.assert_allclose(widths / widths[2], [2, 3, 1])
    assert len({patch.get_facecolor() for patch in above.patches}) == 2
    np.testing.assert_array_equal(above.lines[1].get_ydata(), series[0, :, 1])
    np.testing.assert_array_equal(below.lines[0].get_ydata(), states[0])
    assert len(second.patches) == 1


def test_states_of_another_length_are_refused():
    with pytest.raises(ValueError, match="one state for each step"):
        series_with_states(np.zeros((2, 6, 1)), np.zeros((2, 5), dtype=int))


def test_a_step_between_gaps_is_a_dot_and_a_pair_shares_its_panel():
    series = np.arange(10.0).reshape(1, 5, 2)
    series[0, [1, 3], 0] = np.nan  # steps 0, 2 and 4 stand alone
    figure = series_and_reconstructions(series, series + 1, title="t")
    truth, alone, again, _ = figure.axes[0].lines
    np.testing.assert_array_equal(truth.get_ydata(), series[0, :, 0])
    np.testing.assert_array_equal(again.get_ydata(), series[0, :, 0] + 1)
    np.testing.assert_array_equal(alone.get_xdata(), [0, 2, 4])
    assert not np.any(figure.axes[1].lines[1].get_xdata())
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["test series", "reconstruction"]


def test_draws_stand_beside_series_on_one_scale():
    series, draws = np.zeros((2, 5, 1)), np.full((9, 5, 1), 7.0)
    left, right = series_and_draws(series, draws, title="t").axes
    assert left.get_ylim() == right.get_ylim()
    assert [len(axes.lines) // 2 for axes in (left, right)] == [2, 6]
    np.testing.assert_array_equal(right.lines[0].get_ydata(), draws[0, :, 0])


def test_series_of_other_shapes_are_refused():
    for draw in (series_and_reconstructions, series_and_draws):
        with pytest.raises(ValueError, match="expected"):
            draw(np.zeros((2, 6, 1)), np.zeros((2, 5, 1)), title="t")
        with pytest.raises(ValueError, match="with one at least"):
            draw(np.zeros((0, 6, 1)), np.zeros((0, 6, 1)), title="t")
