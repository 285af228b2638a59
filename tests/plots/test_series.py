import numpy as np
import pytest

from lowerbound.plots import series_with_states


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
