"""One row of a store on ECG paper, beside its pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from store.errors import UserError
from store.read import Store, damage_named

PAPER_MAJOR, PAPER_MINOR = "#e8a0a0", "#f6d8d8"
MAJOR_S, MINOR_S, MAJOR_MV, MINOR_MV = 0.2, 0.04, 0.5, 0.1
MINOR_GRID_UP_TO_S = 3.0


def plot_row(store: Store, row: int, place: Path) -> None:
    """Draw one row's leads, and every stored picture of each lead, into an image file.

    Parameters
    ----------
    store : Store
        The store.
    row : int
        Number of the row.
    place : Path
        Image file to write.

    Raises
    ------
    UserError
        If there is no such row, or no image of that kind can be written.
    """
    if not 0 <= row < store.n_rows:
        raise UserError(f"--row {row}: {store.name} has rows 0 to {store.n_rows - 1}")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with damage_named(store.location):
        signal_mv = np.asarray(store.signal[row]) * store.scale_mv
        pictures = {name: np.asarray(store.representation(name)[row], np.float32) for name in store.representations}
    ratios = [3.0, *(1.2 for _ in pictures)]
    figure = Figure(figsize=(2.2 * sum(ratios), 2.4 * len(store.leads) + 0.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(store.leads), len(ratios), squeeze=False, width_ratios=ratios)
    for lead, name in enumerate(store.leads):
        _draw_paper(axes[lead][0], signal_mv[lead], store.fs_hz, name)
        for column, (rep, planes) in enumerate(pictures.items(), start=1):
            axes[lead][column].imshow(planes[lead], aspect="equal", interpolation="nearest")
            axes[lead][column].set(xticks=[], yticks=[], title=f"{rep}, {name}")
    figure.suptitle(_title(store, row))
    try:
        figure.savefig(place, dpi=120)
    except (ValueError, OSError) as error:
        raise UserError(f"--out {place}: {error}") from error


def _title(store: Store, row: int) -> str:
    record = store.column("record")[row]
    label = store.label()
    value = label.values[row]
    here = np.flatnonzero(value == 1) if label.multilabel else [value] * int(value >= 0)
    names = [label.classes[i] for i in here]
    mark = "SYNTHETIC " if store.synthetic else ""
    stand_in = ", one lead stands in for another" if store.column("lead_substituted")[row] else ""
    return f"{mark}{record}, row {row}: {' + '.join(names) or 'no class'}{stand_in}"


def _draw_paper(axis: Any, signal_mv: Any, fs_hz: float, lead: str) -> None:
    t_s = np.arange(len(signal_mv)) / fs_hz
    low = np.floor(signal_mv.min() / MAJOR_MV) * MAJOR_MV
    high = max(np.ceil(signal_mv.max() / MAJOR_MV) * MAJOR_MV, low + MAJOR_MV)
    for step_s, step_mv, colour in ((MINOR_S, MINOR_MV, PAPER_MINOR), (MAJOR_S, MAJOR_MV, PAPER_MAJOR)):
        if colour == PAPER_MINOR and t_s[-1] > MINOR_GRID_UP_TO_S:
            continue
        axis.vlines(np.arange(0, t_s[-1] + step_s, step_s), low, high, colors=colour, linewidth=0.5)
        axis.hlines(np.arange(low, high + step_mv / 2, step_mv), 0, t_s[-1], colors=colour, linewidth=0.5)
    axis.plot(t_s, signal_mv, color="black", linewidth=0.8)
    axis.set(xlim=(0, t_s[-1]), ylim=(low, high), xlabel="s", ylabel=f"{lead} (mV)")
