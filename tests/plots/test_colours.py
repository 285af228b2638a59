"""Colours of classes are far apart for every reader, by CIEDE2000 after a simulation of missing cones."""

import itertools

import numpy as np
import pytest

from lowerbound.plots.style import CLASS_COLOURS, CLASS_COLOURS_ON_DARK, DATA, MODEL, class_style, new_figure

SEEN = {
    "all cones": np.eye(3),
    "no red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "no blue": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
"""Machado, Oliveira and Fernandes 2009, severity 1, of linear RGB."""
XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def linear(colour: str) -> np.ndarray:
    levels = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    t = XYZ @ np.clip(rgb, 0, 1) / [0.95047, 1.0, 1.08883]
    f = np.where(t > 216 / 24389, np.cbrt(t), (24389 / 27 * t + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def apart(one: np.ndarray, other: np.ndarray) -> float:
    """ΔE00 of two colours in CIELAB (Sharma, Wu and Dalal 2005, eq. 2 to 22)."""
    (l1, a1, b1), (l2, a2, b2) = one, other
    mean = (np.hypot(a1, b1) + np.hypot(a2, b2)) / 2
    g = 1.5 - 0.5 * np.sqrt(mean**7 / (mean**7 + 25.0**7))
    c1, c2 = np.hypot(g * a1, b1), np.hypot(g * a2, b2)
    h1, h2 = np.degrees([np.arctan2(b1, g * a1), np.arctan2(b2, g * a2)])
    turn = (h2 - h1 + 180) % 360 - 180
    h, c, l = np.radians(h1 + turn / 2), (c1 + c2) / 2, ((l1 + l2) / 2 - 50) ** 2
    t = 1 - 0.17 * np.cos(h - np.pi / 6) + 0.24 * np.cos(2 * h)
    t += 0.32 * np.cos(3 * h + np.pi / 30) - 0.2 * np.cos(4 * h - np.radians(63))
    around = 60 * np.exp(-((((np.degrees(h) % 360) - 275) / 25) ** 2))
    light = (l2 - l1) / (1 + 0.015 * l / np.sqrt(20 + l))
    chroma = (c2 - c1) / (1 + 0.045 * c)
    hue = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn) / 2) / (1 + 0.015 * c * t)
    cross = -2 * np.sqrt(c**7 / (c**7 + 25.0**7)) * np.sin(np.radians(around)) * chroma * hue
    return float(np.sqrt(light**2 + chroma**2 + hue**2 + cross))


@pytest.mark.parametrize(
    "one, other, expected",
    [
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, 2.5, 0), (50, 0, -2.5), 4.3065),
        ((50, 2.5, 0), (73, 25, -18), 27.1492),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
        ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
    ],
)
def test_the_measure_is_that_of_its_authors(one, other, expected):
    """Pairs 1, 16, 17, 25 and 34 of their table 1."""
    assert apart(np.array(one), np.array(other)) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("seen", SEEN)
@pytest.mark.parametrize("colours", [CLASS_COLOURS, CLASS_COLOURS_ON_DARK, (MODEL, DATA)])
def test_any_two_colours_are_told_apart(colours, seen):
    found = [lab(np.asarray(SEEN[seen]) @ linear(colour)) for colour in colours]
    assert min(apart(one, other) for one, other in itertools.combinations(found, 2)) > 17


@pytest.mark.parametrize(
    "colours, page, least", [(CLASS_COLOURS, "#ffffff", 2.3), (CLASS_COLOURS_ON_DARK, "#1e2228", 3)]
)
def test_colours_stand_out_from_the_page(colours, page, least):
    ground = XYZ[1] @ linear(page) + 0.05
    for colour in colours:
        ratio = (XYZ[1] @ linear(colour) + 0.05) / ground
        assert max(ratio, 1 / ratio) > least, colour


def test_twenty_four_classes_differ_in_colour_and_shape_together():
    styles = [class_style(k) for k in range(24)]
    assert len({(one.colour, one.marker) for one in styles}) == 24
    assert len({(one.colour, one.line) for one in styles}) == 24
    assert len({(one.colour, one.hatch) for one in styles}) == 24
    assert class_style(24) == class_style(0)


def test_lines_without_a_colour_take_those_of_classes():
    for axes in new_figure(4, 3).subplots(1, 2):
        drawn = [axes.plot([0, 1])[0].get_color() for _ in range(9)]
        assert drawn == [*CLASS_COLOURS, CLASS_COLOURS[0]]
