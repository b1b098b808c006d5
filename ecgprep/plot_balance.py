"""A balance in one figure: the classes before and after, and real beats beside synthetic ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgprep.plot import save
from store.balance import Balance, mix_rows
from store.read import Store, damage_named

SHOWN_BEATS = 12
SHOWN_CLASSES = 6
LONG_NAME = 6  # letters; longer ones have a line of their own, or stand upright
REAL, SYNTHETIC = "#404040", "#c03028"


def plot_balance(store: Store, balance: Balance, place: Path) -> None:
    """Draw a balance of a store into an image file.

    Parameters
    ----------
    store : Store
        The store.
    balance : Balance
        One of its balances.
    place : Path
        Image file to write.

    Raises
    ------
    UserError
        If no image of that kind can be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    classes = balance.facts["classes"]
    made = _most_made(balance)
    upright = any(len(name) > LONG_NAME for name in classes)
    width_counts = max(3.2, 0.6 * sum(n > 0 for n in balance.facts["before"].values()))
    figure = Figure(figsize=(width_counts + 2.6 * max(len(made), 1), 6.6 if upright else 5.2), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2, 1 + len(made), width_ratios=[width_counts / 2.6, *([1.0] * len(made))])
    _draw_counts(figure.add_subplot(grid[:, 0]), balance, upright)
    space = "\n" if upright else " "
    shared = None
    for column, number in enumerate(made, start=1):
        for line, (signals_mv, colour, what) in enumerate(_beats(store, balance, number)):
            axis = figure.add_subplot(grid[line, column], sharex=shared)
            shared = shared or axis
            axis.plot(
                np.arange(signals_mv.shape[1]) / store.fs_hz, signals_mv.T, color=colour, linewidth=0.6, alpha=0.7
            )
            axis.set(title=f"{classes[number]},{space}{what}", xlabel="s", ylabel=f"{store.leads[0]} (mV)")
    run = "" if balance.fold is None else f", run {balance.fold}"
    mark = "SYNTHETIC recordings, " if store.synthetic else ""
    figure.suptitle(f"{mark}{balance.protocol}{run}: training rows balanced by {balance.name}", wrap=True)
    save(figure, place)


def _most_made(balance: Balance) -> list[int]:
    """Return the classes that rows were made of, ascending; of many those whose rows count most often."""
    facts = balance.facts
    made = np.unique(balance.classes).tolist()
    made.sort(key=lambda number: -facts["replication"][facts["classes"][number]])
    return sorted(made[:SHOWN_CLASSES])


def _draw_counts(axis: Any, balance: Balance, upright: bool) -> None:
    """Draw the rows of each class before and after, with how often each row counts."""
    before, after = balance.facts["before"], balance.facts["after"]
    names = [name for name in balance.facts["classes"] if before[name]]
    places = np.arange(len(names))
    axis.bar(places - 0.2, [before[name] for name in names], 0.4, color=REAL, label="before")
    axis.bar(places + 0.2, [after[name] for name in names], 0.4, color=SYNTHETIC, label="after")
    for at, name in zip(places, names, strict=True):
        axis.text(at, max(before[name], after[name]) * 1.08, f"×{after[name] / before[name]:.3g}", ha="center")
    axis.set(yscale="log", ylabel="training rows", xticks=places, xticklabels=names)
    axis.margins(y=0.12)
    if upright:
        axis.tick_params(axis="x", rotation=90)
    axis.figure.legend(loc="outside lower left", ncols=2, frameon=False)


def _beats(store: Store, balance: Balance, number: int) -> list[tuple[NDArray[np.floating[Any]], str, str]]:
    """Return some real rows of a class and some synthetic ones, of the first lead in mV."""
    of_class = np.flatnonzero(balance.classes == number)
    shown = of_class[np.linspace(0, len(of_class) - 1, min(SHOWN_BEATS, len(of_class))).astype(int)]
    with damage_named(store.location):
        first, second = (np.stack([store.signal[int(row)] for row in rows]) for rows in balance.parents[shown].T)
    mixed = mix_rows(first, second, balance.weights[shown])
    first_mv, mixed_mv = (rows[:, 0] * store.scale_mv for rows in (first, mixed))
    if "valid_n" in store.columns:
        valid_n = store.column("valid_n")[balance.parents[shown]]
        _blank_padding(first_mv, valid_n[:, 0])
        _blank_padding(mixed_mv, valid_n.max(axis=1))
    return [
        (first_mv, REAL, "real"),
        (mixed_mv, SYNTHETIC, "copied" if balance.facts["method"] == "over" else "synthetic"),
    ]


def _blank_padding(signals_mv: NDArray[np.floating[Any]], valid_n: NDArray[np.integer[Any]]) -> None:
    signals_mv[np.arange(signals_mv.shape[1]) >= valid_n[:, None]] = np.nan  # has no line
