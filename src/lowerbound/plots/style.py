"""One style for all figures: dark ink on white, a light grid, colours that colour-blind readers can distinguish.

The eight colours of classes were searched so that any two are far apart, by CIEDE2000 (Sharma, Wu and Dalal 2005), for
readers who lack one kind of cone too, as Machado, Oliveira and Fernandes (2009) simulate them. Blue and vermilion are
those of Okabe and Ito (2008, "Color universal design"). Classes also take turns in the shape of the marker, the hatch
and the line, so that no distinction rests on colour alone: 24 classes differ in the two together.
"""

import io
import warnings
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

__all__ = [
    "CLASS_COLOURS",
    "CLASS_COLOURS_ON_DARK",
    "DATA",
    "INK",
    "MODEL",
    "MUTED",
    "ClassStyle",
    "NotebookFigure",
    "class_style",
    "new_figure",
    "step_axis",
    "style_axes",
    "verbatim",
]

INK = "#1f2328"
MUTED = "#6a737d"
GRID = "#e6e9ed"
MODEL = "#0072b2"
"""The colour of the model, and of measurements during training."""
DATA = "#d55e00"
"""The colour of held-out values, and of the data."""

CLASS_COLOURS = ("#0072b2", "#d55e00", "#41bb90", "#621446", "#ab9eee", "#0b4303", "#6d6a5f", "#030cb9")
"""On white."""
CLASS_COLOURS_ON_DARK = ("#016bff", "#f0f239", "#c62188", "#7af0d1", "#77af02", "#cea9f1", "#af817c", "#746e13")
"""The same for pages that are dark."""

_MARKERS, _HATCHES, _LINES = ("o", "^", "s"), ("", "///", "..."), ("-", "--", ":")


class ClassStyle(NamedTuple):
    """How a class, or a line among several, is drawn."""

    colour: str
    marker: str
    hatch: str
    line: str


def class_style(number: int) -> ClassStyle:
    """The style of a class, counted from 0.

    >>> class_style(9) == class_style(1), class_style(9).colour == class_style(1).colour
    (False, True)
    """
    turn = number % 3
    return ClassStyle(CLASS_COLOURS[number % len(CLASS_COLOURS)], _MARKERS[turn], _HATCHES[turn], _LINES[turn])


class NotebookFigure(Figure):
    """A figure that notebooks show as a picture; they show matplotlib's own figures only after pyplot was imported.
    Letters of names that the font lacks are drawn as boxes, without a warning for each. What is drawn without a colour
    takes those of classes in turn.
    """

    def add_subplot(self, *args: Any, **options: Any) -> Any:
        """As matplotlib's own."""
        axes = super().add_subplot(*args, **options)
        axes.set_prop_cycle(color=CLASS_COLOURS)
        return axes

    def draw(self, renderer: RendererBase) -> None:
        """As matplotlib's own."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"Glyph \d+ .*missing from font", UserWarning)
            super().draw(renderer)

    def _repr_png_(self) -> bytes:
        """The picture for IPython."""
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()


def new_figure(width: float, height: float) -> NotebookFigure:
    """An empty white figure of this size in inches, at 100 dots per inch."""
    return NotebookFigure(figsize=(width, height), dpi=100, layout="constrained", facecolor="white")


def verbatim(name: str) -> str:
    r"""A name for a picture, in which a dollar begins no formula.

    >>> verbatim("$5")
    '\\$5'
    """
    return name.replace("$", r"\$")


def style_axes(axes: Axes, *, title: str, x: str, y: str, small: bool = False) -> None:
    """Give axes their title, labels, grid and sizes.

    Arguments:
        axes: what to style.
        title: what is seen.
        x: label of the horizontal axis, with its unit.
        y: label of the vertical axis, with its unit.
        small: for the side panels of a figure.
    """
    size = 8.5 if small else 10
    axes.set_title(title, loc="left", fontsize=size + 1, color=INK, fontweight="bold")
    axes.set_xlabel(x, fontsize=size, color=INK)
    axes.set_ylabel(y, fontsize=size, color=INK)
    axes.tick_params(labelsize=size - 1, colors=INK, length=3, color=MUTED)
    axes.grid(True, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(MUTED)


def step_axis(axes: Axes, ticks: int) -> None:
    """Mark steps as whole numbers with thousands separated, at most `ticks` intervals."""
    axes.xaxis.set_major_locator(MaxNLocator(ticks, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:,.0f}"))
