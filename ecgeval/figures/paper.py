"""ECG paper: signals true to scale, 25 mm a second and 10 mm a millivolt, with what a model looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ecgeval.figures.style import INK, style
from ecgeval.metrics import Array

MM_PER_S, MM_PER_MV = 25.0, 10.0
MM_PER_INCH = 25.4
PAPER_WIDTH_MM = 250.0
GAP_MM, TITLE_MM, EDGE_MM, NOTE_MM = 6.0, 11.0, 6.0, 8.0
LEAST_MV, MOST_MV = 1.5, 6.0  # height of a lead's strip; what goes beyond is cut at the paper's edge
FINE, COARSE = "#f4c9c9", "#dd9494"
SHADE = (0.0, 0.45, 0.70)


@dataclass(frozen=True)
class Strip:
    """One piece of signal to draw.

    Parameters
    ----------
    signal_mv : ndarray, shape (n_leads, n_samples)
        Voltage in mV; NaN is a gap.
    fs_hz : float
        Samples a second.
    leads : sequence of str
        Their names.
    title : str
        Such as the beat's label and the model's probability.
    attribution : ndarray, shape (n_leads, n_samples), optional
        How much each sample mattered, of any scale; its size is drawn as shading behind the signal.
    """

    signal_mv: NDArray[np.floating]
    fs_hz: float
    leads: Sequence[str]
    title: str
    attribution: NDArray[np.floating] | None = None

    @property
    def width_mm(self) -> float:
        """Width on paper."""
        return float(MM_PER_S * self.signal_mv.shape[1] / self.fs_hz)

    def ranges_mv(self) -> list[tuple[float, float]]:
        """Return the lowest and highest voltage that each lead's strip shows, on whole half millivolts."""
        return [_range(lead) for lead in self.signal_mv]

    @property
    def height_mm(self) -> float:
        """Height on paper."""
        return sum(MM_PER_MV * (high - low) for low, high in self.ranges_mv())


def strips(pieces: Sequence[Strip], note: str) -> Figure:
    """Draw pieces of signal on ECG paper, true to scale when printed at the figure's own size.

    Parameters
    ----------
    pieces : sequence of Strip
        As many side by side as fit on 250 mm.
    note : str
        Foot.
    """
    cell_mm = max(max(piece.width_mm for piece in pieces), 42.0) + GAP_MM
    across = max(1, min(len(pieces), int(PAPER_WIDTH_MM // cell_mm)))
    rows = [pieces[i : i + across] for i in range(0, len(pieces), across)]
    heights = [max(piece.height_mm for piece in row) + TITLE_MM for row in rows]
    width_mm = max(across * cell_mm + 2 * EDGE_MM, 90.0)
    height_mm = sum(heights) + 2 * EDGE_MM + NOTE_MM
    with style():
        figure = Figure(figsize=(width_mm / MM_PER_INCH, height_mm / MM_PER_INCH))
        top = height_mm - EDGE_MM
        for row, height in zip(rows, heights, strict=True):
            for i, piece in enumerate(row):
                _draw_piece(figure, piece, EDGE_MM + i * cell_mm, top - TITLE_MM, (width_mm, height_mm))
            top -= height
        foot = f"25 mm/s, 10 mm/mV. {note}"
        figure.text(EDGE_MM / width_mm, 2.5 / height_mm, foot, fontsize=8, color="#555555", wrap=True)
    return figure


def _draw_piece(figure: Figure, piece: Strip, left: float, top: float, size: tuple[float, float]) -> None:
    """Draw one piece with its top left corner at a place in mm from the figure's lower left."""
    figure.text(left / size[0], (top + 2) / size[1], piece.title, fontsize=8.5, va="bottom", color=INK)
    for i, (low, high) in enumerate(piece.ranges_mv()):
        height = MM_PER_MV * (high - low)
        top -= height
        place = (left / size[0], top / size[1], piece.width_mm / size[0], height / size[1])
        axis = figure.add_axes(place)
        _draw_paper(axis, piece.signal_mv.shape[1] / piece.fs_hz, low, high)
        _draw_lead(axis, piece, i)


def _draw_paper(axis: Axes, duration_s: float, low: float, high: float) -> None:
    for step_s, step_mv, colour, width in ((0.04, 0.1, FINE, 0.4), (0.2, 0.5, COARSE, 0.6)):
        across = [[(t, low), (t, high)] for t in np.arange(0, duration_s + 1e-9, step_s)]
        down = [[(0, v), (duration_s, v)] for v in np.arange(low, high + 1e-9, step_mv)]
        axis.add_collection(LineCollection([*across, *down], colors=colour, linewidths=width, zorder=0))
    axis.set(xlim=(0, duration_s), ylim=(low, high), xticks=[], yticks=[])
    axis.grid(visible=False)
    axis.spines[:].set_visible(False)


def _draw_lead(axis: Axes, piece: Strip, i: int) -> None:
    n = piece.signal_mv.shape[1]
    if piece.attribution is not None:
        size = np.abs(piece.attribution)
        strength = size[i] / size.max() if size.max() > 0 else np.zeros(n)
        shade = np.zeros((1, n, 4))
        shade[0, :, :3], shade[0, :, 3] = SHADE, 0.7 * strength  # clear where nothing mattered: the grid stays
        extent = (0, n / piece.fs_hz, *axis.get_ylim())
        axis.imshow(shade, aspect="auto", extent=extent, zorder=0.5)
    axis.plot(np.arange(n) / piece.fs_hz, piece.signal_mv[i], color="black", lw=0.9, zorder=2)
    box = {"facecolor": "white", "alpha": 0.7, "lw": 0, "pad": 0.6}
    look: dict[str, Any] = {"fontsize": 8, "fontweight": "bold", "va": "bottom", "zorder": 3, "bbox": box}
    axis.text(0.012, 0.03, piece.leads[i], transform=axis.transAxes, **look)


def _range(lead: Array | NDArray[np.floating]) -> tuple[float, float]:
    known = lead[np.isfinite(lead)]
    if not len(known):
        return -LEAST_MV / 2, LEAST_MV / 2
    low, high = np.floor((known.min() - 0.1) * 2) / 2, np.ceil((known.max() + 0.1) * 2) / 2
    middle = np.round(low + high) / 2
    if high - low > MOST_MV:
        return float(middle - MOST_MV / 2), float(middle + MOST_MV / 2)
    return float(min(low, middle - LEAST_MV / 2)), float(max(high, middle + LEAST_MV / 2))
