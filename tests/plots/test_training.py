import math

import numpy as np
import pytest
from matplotlib.figure import Figure

from lowerbound.plots import training_curves


def records(num: int, *, first: float = -540.0, held_out_every: int = 2) -> list[dict]:
    def terms(bound: float) -> dict[str, float]:
        return {"bound": bound, "likelihood": bound + 25, "prior": -30.0, "posterior": -5.0}

    made = []
    for i in range(num):
        bound = first if i == 0 else -100 + i
        evaluated = (i + 1) % held_out_every == 0
        made.append(
            {
                "step": 100 * (i + 1),
                "terms": terms(bound),
                "held_out": terms(bound - 2) if evaluated else None,
                "gradient_norm": 3.0 + i,
                "learning_rate": 1e-3 / (i + 1),
                "is_best": evaluated,
            }
        )
    return made


def lines(figure: Figure, title: str) -> dict[str, np.ndarray]:
    axes = next(a for a in figure.axes if a.get_title(loc="left").startswith(title))
    return {str(line.get_label()): line.get_xydata() for line in axes.lines}


def test_both_bounds_are_drawn_at_their_steps():
    found = lines(training_curves(records(6)), "Bound")
    np.testing.assert_allclose(found["training"][:, 0], [100, 200, 300, 400, 500, 600])
    np.testing.assert_allclose(found["training"][:, 1], [-540, -99, -98, -97, -96, -95])
    np.testing.assert_allclose(found["held out"], [[200, -101], [400, -99], [600, -97]])


def test_the_last_best_record_is_marked():
    metrics = records(6)
    metrics[5]["is_best"] = False
    found = lines(training_curves(metrics), "Bound")
    np.testing.assert_allclose(found["best weights (−99.00)"], [[400, -99]])


def test_rate_and_distortion_have_the_signs_of_the_library():
    figure = training_curves(records(4))
    np.testing.assert_allclose(lines(figure, "Rate")["training"][:, 1], 25.0)  # log q − log p = −5 + 30
    np.testing.assert_allclose(lines(figure, "Distortion")["training"][1:, 1], [74, 73, 72])
    np.testing.assert_allclose(lines(figure, "Distortion")["held out"][:, 1], [76, 74])


def test_gradient_norm_and_learning_rate_are_drawn():
    figure = training_curves(records(3))
    (norm,) = lines(figure, "Gradient").values()
    (rate,) = lines(figure, "Learning").values()
    np.testing.assert_allclose(norm[:, 1], [3, 4, 5])
    np.testing.assert_allclose(rate[:, 1], [1e-3, 5e-4, 1e-3 / 3])


def test_a_first_step_far_below_leaves_the_view_and_is_said_to():
    axes = training_curves(records(20)).axes[0]
    assert axes.get_ylim()[0] > -120
    assert [t.get_text() for t in axes.texts] == ["first steps out of view"]


def test_nothing_leaves_the_view_when_it_need_not():
    axes = training_curves(records(20, first=-101.0)).axes[0]
    assert axes.get_ylim()[0] < -101
    assert not axes.texts


def test_terms_of_another_loss_need_only_a_bound():
    metrics = [{**r, "terms": {"bound": -1.0}, "held_out": None} for r in records(3)]
    figure = training_curves(metrics)
    assert len(figure.axes) == 3
    assert set(lines(figure, "Bound")) == {"training"}


def test_one_record_is_visible():
    figure = training_curves(records(1))
    assert figure.axes[0].lines[0].get_marker() == "."


def test_a_gap_in_the_norm_is_drawn_as_a_gap():
    metrics = records(3)
    metrics[1]["gradient_norm"] = math.nan
    (norm,) = lines(training_curves(metrics), "Gradient").values()
    assert np.isnan(norm[1, 1])


def test_no_record_is_refused():
    with pytest.raises(ValueError, match="no record"):
        training_curves([])


def test_a_record_without_some_term_is_left_out_of_its_panel():
    """As in a file of which one letter was changed."""
    terms = {"bound": -9.0, "likelihood": -8.0, "prior": -2.0, "posterior": -1.0}
    altered = {"bound": -8.0, "likelihood": -7.0, "priox": -2.0, "posterior": -1.0}
    rest = {"held_out": None, "gradient_norm": 2.0, "learning_rate": 0.1, "is_best": False}
    figure = training_curves([{"step": step, "terms": t, **rest} for step, t in enumerate([altered, terms, terms])])
    drawn = {axes.get_title(loc="left"): list(axes.lines[0].get_xdata()) for axes in figure.axes}
    assert drawn["Bound per datum"] == [0, 1, 2]
    assert drawn["Rate log q(z | x) − log p(z)"] == [1, 2]


def test_a_record_without_held_out_terms_is_drawn():
    metrics = records(4)
    del metrics[1]["held_out"]
    metrics[3]["held_out"] = {}
    assert "best weights" not in " ".join(lines(training_curves(metrics), "Bound"))
