"""The one style of all figures, and what they share."""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from numpy.typing import NDArray

UNDEFINED = "–"
# Okabe M, Ito K. Color Universal Design (2008); the yellow is left out, it is lost on white
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES: tuple[Any, ...] = (
    "-",
    (0, (6, 2)),
    (0, (2, 1.5)),
    (0, (6, 2, 1.5, 2)),
    (0, (9, 2)),
    (0, (4, 1, 1, 1, 1, 1)),
)
MARKERS = "osD^vPX*<>"
INK, FAINT = "#222222", "#8a8a8a"
DPI = 200
SHORT = 7  # letters of a name that fits wherever one stands
LETTER_INCHES = 0.085
MOST_LETTERS, MOST_LETTERS_OF_ROWS = 24, 30  # of a class, and of a model or record at the left of a figure
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.labelsize": 10,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": FAINT,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "svg.hashsalt": "ecgeval",
    "text.parse_math": False,  # a class may be called anything
}


def save(figure: Figure, path: Path) -> list[Path]:
    """Write a figure as PNG and SVG and return both paths.

    Parameters
    ----------
    figure : matplotlib Figure
        The figure.
    path : Path
        The file without suffix.
    """
    files = [path.with_name(f"{path.name}.{suffix}") for suffix in ("png", "svg")]
    with style(), warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "Glyph"
        )  # a script that the font lacks is drawn as boxes; tables hold the names
        if engine := figure.get_layout_engine():
            engine.execute(figure)
            figure.set_layout_engine("none")  # laid out once, not once a file
        figure.set_dpi(DPI)
        FigureCanvasAgg(figure).print_png(files[0])  # type: ignore[no-untyped-call]  # savefig would draw it twice
        FigureCanvasSVG(figure).print_svg(files[1], metadata={"Date": None})  # type: ignore[no-untyped-call]
    return files


@contextmanager
def style() -> Iterator[None]:
    """Draw in the one style."""
    with mpl.rc_context(STYLE):
        yield


def panels(n_rows: int, n_columns: int, size: tuple[float, float], **options: Any) -> tuple[Figure, NDArray[Any]]:
    """Return a figure of a size in inches and its axes, an array of shape (n_rows, n_columns)."""
    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(n_rows, n_columns, squeeze=False, **options)


def finish(figure: Figure, title: str, note: str) -> None:
    """Put the heading above and the protocol below, wrapped to the figure's width."""
    characters = int(figure.get_figwidth() * 14)
    figure.suptitle("\n".join(textwrap.wrap(title, int(characters * 0.6))), fontsize=12, fontweight="bold")
    figure.supxlabel("\n".join(textwrap.wrap(note, characters)), fontsize=8.5, color="#555555")


def no_frame(axis: Axes) -> None:
    """Take grid, ticks and frame away."""
    axis.grid(visible=False)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)


def line(i: int) -> dict[str, Any]:
    """Return colour, dashes and width of the i-th line; no two of the first 42 are alike."""
    return {"color": COLOURS[i % len(COLOURS)], "ls": DASHES[i % len(DASHES)], "lw": 1.8}


def shorten(names: Sequence[str], most: int = MOST_LETTERS) -> list[str]:
    """Return names as they fit beside a figure: of a long one its start and its end.

    Parameters
    ----------
    names : sequence of str
        Classes, models or records.
    most : int
        Letters of a name.
    """
    plain = [" ".join(name.split()) for name in names]
    end = most // 2
    return [name if len(name) <= most else f"{name[: most - end - 1]}…{name[-end:]}" for name in plain]


def width_of(names: Sequence[str], inches: float, fitting: int = SHORT) -> float:
    """Return the width of a figure with names beside it, which grows with those of more letters than fit."""
    return inches + LETTER_INCHES * max(0, max(map(len, names), default=0) - fitting)


def three(value: float) -> str:
    """Return a figure with three decimals, or a dash."""
    return UNDEFINED if np.isnan(value) else f"{value:.3f}"


def hide_rest(axes: NDArray[Any], used: int) -> None:
    """Hide the axes beyond those that are used."""
    for axis in axes.flat[used:]:
        axis.set_visible(False)
