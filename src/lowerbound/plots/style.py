"""One style for all figures: dark ink on white, a light grid, colours that colour-blind readers can distinguish.

The colours are those of Okabe and Ito (2008, "Color universal design"), without the yellow, which
is too light on white. More classes than colours differ by the shape of the marker too, so that no
distinction rests on colour alone.
"""

import io
import warnings

from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

__all__ = [
    "CLASS_COLOURS",
    "CLASS_HATCHES",
    "CLASS_MARKERS",
    "DATA",
    "INK",
    "MODEL",
    "MUTED",
    "NotebookFigure",
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

CLASS_COLOURS = (
    "#0072b2",
    "#e69f00",
    "#009e73",
    "#d55e00",
    "#cc79a7",
    "#56b4e9",
    "#5b3a8c",
    "#4d4d4d",
)
CLASS_MARKERS = ("o", "^", "s")
CLASS_HATCHES = ("", "///", "...")


class NotebookFigure(Figure):
    """A figure that notebooks show as a picture; they show matplotlib's own figures only after pyplot was imported.
    Letters of names that the font lacks are drawn as boxes, without a warning for each.
    """

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
