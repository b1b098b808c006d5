"""Tables of colours: metrics by class, and confusion matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from ecgeval.figures.style import (
    LETTER_INCHES,
    MOST_LETTERS_OF_ROWS,
    SHORT,
    finish,
    hide_rest,
    no_frame,
    panels,
    shorten,
    style,
    three,
    width_of,
)
from ecgeval.metrics import Array

COLUMNS_ACROSS = 8  # of a heatmap; further ones go below
WIDEST_CELL, ALL_CELLS = 0.95, 5.0  # inches of a heatmap's cell, and of a row of them
SIDE_BY_SIDE = 6  # classes of two confusion matrices beside each other; of more they are below each other
MOST_LETTERS_OF_MATRIX = 14
WRITTEN_CLASSES = 14  # of a confusion matrix; beyond, colours alone


def heatmap(rows: Sequence[str], columns: Sequence[str], values: ArrayLike, title: str, note: str) -> Figure:
    """Draw values between 0 and 1 as a table of colours with their figures.

    Parameters
    ----------
    rows, columns : sequence of str
        Models, or records, and classes; many columns are drawn in several panels below each other.
    values : array_like, shape (n_rows, n_columns)
        NaN is drawn as a hatched cell with a dash.
    title, note : str
        Heading and foot.
    """
    cells = np.asarray(values, dtype=float)
    rows, columns = shorten(rows, MOST_LETTERS_OF_ROWS), shorten(columns)
    n_panels = -(-len(columns) // COLUMNS_ACROSS)
    across = -(-len(columns) // n_panels)
    cell_width = min(WIDEST_CELL, ALL_CELLS / across)
    longest = 1.15 * LETTER_INCHES * max(map(len, columns))
    turned = longest > cell_width
    width = 2.2 + LETTER_INCHES * max(map(len, rows)) + cell_width * across
    height = 0.9 + n_panels * (0.75 + 0.42 * len(rows) + turned * longest)
    with style():
        figure, axes = panels(n_panels, 1, (max(width, 5.0), height))
        for i, axis in enumerate(axes.flat):
            part = slice(i * across, (i + 1) * across)
            image = _heatmap_panel(axis, rows, columns[part], cells[:, part], across)
            if turned:
                axis.tick_params(axis="x", rotation=90)
        colours = figure.colorbar(image, ax=axes.ravel().tolist(), fraction=0.05, pad=0.02, shrink=1 / n_panels)
        colours.outline.set_visible(False)
        finish(figure, title, note)
    return figure


def two_by_two(classes: Sequence[str], counts: ArrayLike, title: str, note: str) -> Figure:
    """Draw the 2×2 matrix of each class of a multi-label task.

    Parameters
    ----------
    classes : sequence of str
        Names.
    counts : array_like, shape (n_classes, 4)
        TP, FP, FN, TN.
    title, note : str
        Heading and foot.
    """
    few = len(classes) <= 12
    n_columns, side = (min(3, len(classes)), 2.75) if few else (5, 1.9)
    names = shorten(classes)
    n_rows = -(-len(classes) // n_columns)
    with style():
        figure, axes = panels(n_rows, n_columns, (side * n_columns + 0.4, side * n_rows + 0.9))
        for axis, label, (tp, fp, fn, tn) in zip(axes.flat, names, np.asarray(counts), strict=False):
            _matrix(axis, np.array([[tn, fp], [fn, tp]]), ("no", "yes"), label)
        if not few:
            for axis in axes.flat:
                axis.set(xlabel="", ylabel="")
            note = f"Labels down, predictions across. {note}"
        hide_rest(axes, len(classes))
        finish(figure, title, note)
    return figure


def confusion(classes: Sequence[str], matrix: ArrayLike, title: str, note: str) -> Figure:
    """Draw the confusion matrix of a single-label task: counts, and shares of each label.

    Parameters
    ----------
    classes : sequence of str
        Names.
    matrix : array_like of int, shape (n_classes, n_classes)
        Labels down, predictions across.
    title, note : str
        Heading and foot.
    """
    counts = np.asarray(matrix)
    names = shorten(classes, MOST_LETTERS_OF_MATRIX)
    written = len(classes) <= WRITTEN_CLASSES
    side = max(3.3, (0.62 if written else 0.22) * len(classes) + 0.9)
    beside = width_of(names, 0)  # of long names, at the left and, turned, below
    across = 2 if written and len(classes) <= SIDE_BY_SIDE else 1
    down = 2 // across if written else 1
    with style():
        figure, axes = panels(down, across, (across * (side + beside) + 0.5, down * (side + beside) + 0.9))
        if written:
            _matrix(axes.flat[0], counts, names, "rows")
        _matrix(axes.flat[-1], counts, names, "share of each label", shares=True, written=written)
        finish(figure, title, note)
    return figure


def _heatmap_panel(axis: Axes, rows: Sequence[str], columns: Sequence[str], cells: Array, across: int) -> Any:
    image = axis.imshow(np.ma.masked_invalid(cells), cmap="cividis", vmin=0, vmax=1, aspect="auto")
    axis.patch.set(hatch="///", edgecolor="#bbbbbb", facecolor="white")
    _write_cells(axis, cells, [[three(v) for v in row] for row in cells], cells)
    axis.set_xlim(-0.5, across - 0.5)
    axis.set_xticks(range(len(columns)), columns)
    axis.set_yticks(range(len(rows)), rows)
    if len(columns) < across:
        axis.patch.set(hatch=None, facecolor="none")
    no_frame(axis)
    return image


def _matrix(
    axis: Axes, counts: NDArray[Any], names: Sequence[str], title: str, shares: bool = False, written: bool = True
) -> None:
    """Draw counts, coloured by their share of each label, with either as text."""
    totals = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, totals, out=np.full(counts.shape, np.nan), where=totals > 0)
    axis.imshow(np.ma.masked_invalid(share), cmap="Blues", vmin=0, vmax=1)
    axis.patch.set(hatch="///", edgecolor="#bbbbbb", facecolor="white")
    text = [
        [three(s) if shares else f"{int(c):,}" for c, s in zip(*row, strict=True)]
        for row in zip(counts, share, strict=True)
    ]
    if written:
        _write_cells(axis, share, text, 1 - share)
    axis.set_xticks(range(len(names)), names, rotation=0 if written and max(map(len, names)) <= SHORT else 90)
    axis.set_yticks(range(len(names)), names)
    axis.set_xlabel("predicted")
    axis.set_ylabel("label")
    axis.set_title(title)
    no_frame(axis)


def _write_cells(axis: Axes, values: Array, text: Sequence[Sequence[str]], lightness: Array) -> None:
    for i, j in np.ndindex(values.shape):
        dark = not np.isnan(lightness[i, j]) and lightness[i, j] < 0.5
        axis.text(j, i, text[i][j], ha="center", va="center", fontsize=9.5, color="white" if dark else "black")
