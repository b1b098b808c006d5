"""Bars of metrics with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from ecgeval.figures.style import (
    COLOURS,
    INK,
    LETTER_INCHES,
    MOST_LETTERS_OF_ROWS,
    finish,
    hide_rest,
    panels,
    shorten,
    style,
    three,
)
from ecgeval.metrics import Array

BARS_ACROSS = 4


def bars(
    labels: Sequence[str],
    values: Mapping[str, ArrayLike],
    low: Mapping[str, ArrayLike],
    high: Mapping[str, ArrayLike],
    note: str,
) -> Figure:
    """Draw bars of several metrics, one panel each, with interval whiskers.

    Parameters
    ----------
    labels : sequence of str
        Models, from the top.
    values, low, high : mapping of str to array_like, shape (n_models,)
        For each metric's title its values and the ends of their intervals; NaN where there is none.
    note : str
        What the figures hold under, for the foot.
    """
    labels = shorten(labels, MOST_LETTERS_OF_ROWS)
    n_rows = -(-len(values) // BARS_ACROSS)
    width = 0.3 + LETTER_INCHES * max(map(len, labels)) + 1.75 * BARS_ACROSS
    with style():
        size = (width, 0.9 + n_rows * (0.75 + 0.34 * len(labels)))
        figure, axes = panels(n_rows, BARS_ACROSS, size, sharey=True)
        for axis, (title, figures) in zip(axes.flat, values.items(), strict=False):
            _panel(axis, title, *(np.asarray(a, dtype=float) for a in (figures, low[title], high[title])))
        hide_rest(axes, len(values))
        axes.flat[0].set_yticks(range(len(labels)), labels)
        axes.flat[0].set_ylim(len(labels) - 0.4, -0.6)
        finish(figure, "Macro metrics on test, with 95 % intervals over patients", note)
    return figure


def _panel(axis: Axes, title: str, values: Array, low: Array, high: Array) -> None:
    y = np.arange(len(values))
    colours = [COLOURS[0], *["#9cc3dd"] * (len(values) - 1)]
    axis.barh(y, np.nan_to_num(values), height=0.62, color=colours)
    known = ~np.isnan(low)
    ends = np.clip([values - low, high - values], 0, None)[:, known]
    axis.errorbar(values[known], y[known], xerr=ends, fmt="none", ecolor=INK, elinewidth=1.1, capsize=2.5)
    for position, value in enumerate(values):
        axis.text(1.04, position, three(value), va="center", ha="left", fontsize=9)
    axis.set_title(title)
    axis.set_xlim(0, 1)
    axis.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    axis.grid(axis="y", visible=False)
    axis.tick_params(axis="y", length=0)
