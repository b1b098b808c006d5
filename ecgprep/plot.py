"""One row of a store on ECG paper, beside its pictures."""

from __future__ import annotations

from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgprep.export import OUT_ADVICE
from ecgprep.representations import dequantise, stored_rep
from store.errors import EcgError, UnknownNameError, UserError
from store.files import full_disk_named
from store.read import Store, damage_named

PAPER_MAJOR, PAPER_MINOR = "#e8a0a0", "#f6d8d8"
MAJOR_S, MINOR_S, MAJOR_MV, MINOR_MV = 0.2, 0.04, 0.5, 0.1
MINOR_GRID_UP_TO_S = 3.0
MAJOR_GRID_UP_TO_S = 12.0  # beyond it a second has a line
PICTURES_ABREAST = 4  # more of them stand in further lines
VALUES = {  # of pictures whose kind or scale has a better name for the bar than its own
    "summation": "cos of the angles' sum",
    "difference": "sin of the\nangles' difference",
    "mtf": "probability\nof transition",
    "rp": "distance, share\nof the largest",
    "log10_power": "log power, 5th\nto 95th percentile",
    "log1p_magnitude": "log(1 + magnitude\nin mV)",
    "phasogram": "phase, 0 to 1\nfor −π to π",
    "db": "dB below the peak",
    "linear": "magnitude, mV",
}


def choose_row(store: Store, row: int, patient: str | None = None, class_name: str | None = None) -> int:
    """Return the number of a row: the one of that number among those of a patient and a class.

    Parameters
    ----------
    store : Store
        The store.
    row : int
        Number among the rows that are left, from 0.
    patient : str, optional
        Their patient, such as ``mitdb/208`` or ``208``; all by default.
    class_name : str, optional
        Their class, of the store's own label scheme; all by default.

    Raises
    ------
    UserError
        If there are not so many rows, a name is unknown, or patients of two databases are called so.
    """
    chosen = np.ones(store.n_rows, bool)
    if patient is not None:
        chosen &= _is_of_patient(store, patient)
    if class_name is not None:
        chosen &= _has_class(store, class_name)
    rows = np.flatnonzero(chosen)
    if not 0 <= row < len(rows):
        which = " and ".join(f"{what} {name}" for what, name in (("patient", patient), ("class", class_name)) if name)
        of = f" of {which}" if which else ""
        has = f"rows 0 to {len(rows) - 1}" if len(rows) else "no row"
        raise UserError(f"--row {row}: {store.name} has {has}{of}")
    return int(rows[row])


def _is_of_patient(store: Store, patient: str) -> NDArray[np.bool_]:
    patients = store.column("patient").astype(str)
    every = np.unique(patients).tolist()
    meant = [name for name in every if patient in (name, name.partition("/")[2])]
    if not meant:
        known = sorted({*every, *(name.partition("/")[2] for name in every)})
        raise UnknownNameError(f"patient of {store.name}", patient, known, "See the column patient.")
    if len(meant) > 1:
        raise UserError(f"--patient {patient}: {store.name} has {' and '.join(meant)}; name one of them in full")
    return np.asarray(patients == meant[0])


def _has_class(store: Store, name: str) -> NDArray[np.bool_]:
    label = store.label()
    if name not in label.classes:
        raise UnknownNameError(f"class of {label.scheme}", name, label.classes)
    number = label.classes.index(name)
    here = label.values[:, number] == 1 if label.multilabel else label.values == number
    return np.asarray(here)


def plot_row(store: Store, row: int, place: Path) -> None:
    """Draw one row's leads without padding, and every stored picture of each lead, into an image file.

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
        If no image of that kind can be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with damage_named(store.location):
        signal_mv = np.asarray(store.signal[row]) * store.scale_mv
        pictures = {name: _planes(store, name, row) for name in store.representations}
    n_lines = max(ceil(len(pictures) / PICTURES_ABREAST), 1)
    abreast = ceil(len(pictures) / n_lines)
    ratios = [3.0, *(1.6 for _ in range(abreast))]
    figure = Figure(figsize=(2.2 * sum(ratios), 2.4 * n_lines * len(store.leads) + 0.5), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(n_lines * len(store.leads), len(ratios), width_ratios=ratios)
    valid_n = store.column("valid_n")[row] if "valid_n" in store.columns else store.signal.shape[2]
    for lead, name in enumerate(store.leads):
        first = lead * n_lines
        paper = figure.add_subplot(grid[first : first + n_lines, 0])
        _draw_paper(paper, signal_mv[lead], store.fs_hz, name, valid_n)
        for number, (rep, planes) in enumerate(pictures.items()):
            line, column = divmod(number, abreast)
            axis = figure.add_subplot(grid[first + line, 1 + column])
            axis.set_title(f"{rep}, {name}")
            _draw_picture(figure, axis, planes[lead], store, rep)
    figure.suptitle(_title(store, row))
    save(figure, place)


def save(figure: Any, place: Path) -> None:
    """Write a figure.

    Raises
    ------
    UserError
        If no image of that kind can be written there, or its kind is not said.
    ResourceError
        If the disk is full.
    """
    if not place.suffix:
        raise UserError(f"--out {place}: say the kind of image by a suffix, such as {place}.png")
    try:
        with full_disk_named(place):
            figure.savefig(place, dpi=120)
    except ValueError as error:
        raise UserError(f"--out {place}: {error}") from error
    except OSError as error:
        if isinstance(error, EcgError):
            raise
        raise UserError(f"--out {place}: cannot be written ({error.strerror}); {OUT_ADVICE}") from error


def _planes(store: Store, name: str, row: int) -> NDArray[np.float32]:
    """Return a row's stored pictures as the values that they stand for."""
    array = store.representation(name)
    stored = np.asarray(array[row])
    rep = stored_rep(name, array.attrs)
    return stored.astype(np.float32) if rep is None else np.asarray(dequantise(stored, rep))


def _draw_picture(figure: Any, axis: Any, plane: NDArray[np.float32], store: Store, name: str) -> None:
    """Draw a plane with time, or time and frequency, along its sides and its values in a bar."""
    parameters: dict[str, Any] = dict(store.representation(name).attrs.get("parameters", {}))  # type: ignore[arg-type]
    kind, duration_s = parameters.get("representation", ""), store.signal.shape[2] / store.fs_hz
    edges_s = np.linspace(0, duration_s, plane.shape[1] + 1)
    if "f_min_hz" in parameters:
        edges = np.geomspace(parameters["f_max_hz"], parameters["f_min_hz"], plane.shape[0] + 1)
        axis.set_yscale("log")
    elif "nfft" in parameters:
        edges = np.arange(plane.shape[0], -1, -1) * store.fs_hz / parameters["nfft"]
    else:
        edges = np.linspace(0, duration_s, plane.shape[0] + 1)
    drawn = axis.pcolormesh(
        edges_s, edges, plane, cmap="twilight" if kind == "phasogram" else "viridis", rasterized=True
    )
    if edges[0] < edges[-1]:
        axis.invert_yaxis()  # the first row is at the top, as in the array
    axis.set(xlabel="s", ylabel="Hz" if edges[0] > edges[-1] else "s")
    label = VALUES.get(parameters.get("value", parameters.get("scale", parameters.get("method", kind))), kind)
    figure.colorbar(drawn, ax=axis, label=label)


def _title(store: Store, row: int) -> str:
    record = store.column("record")[row]
    label = store.label()
    value = label.values[row]
    here = np.flatnonzero(value == 1) if label.multilabel else [value] * int(value >= 0)
    names = [label.classes[i] for i in here]
    mark = "SYNTHETIC " if store.synthetic else ""
    stand_in = ", one lead stands in for another" if store.column("lead_substituted")[row] else ""
    return f"{mark}{record}, row {row}: {' + '.join(names) or 'no class'}{stand_in}"


def _draw_paper(axis: Any, signal_mv: Any, fs_hz: float, lead: str, valid_n: int) -> None:
    """Draw a lead over the length of the whole row, as the pictures have it; padding has paper and no line."""
    t_s = np.arange(len(signal_mv)) / fs_hz
    low = np.floor(signal_mv.min() / MAJOR_MV) * MAJOR_MV
    high = max(np.ceil(signal_mv.max() / MAJOR_MV) * MAJOR_MV, low + MAJOR_MV)
    major_s = MAJOR_S if t_s[-1] <= MAJOR_GRID_UP_TO_S else 1.0
    for step_s, step_mv, colour in ((MINOR_S, MINOR_MV, PAPER_MINOR), (major_s, MAJOR_MV, PAPER_MAJOR)):
        if colour == PAPER_MINOR and t_s[-1] > MINOR_GRID_UP_TO_S:
            continue
        axis.vlines(np.arange(0, t_s[-1] + step_s, step_s), low, high, colors=colour, linewidth=0.5)
        axis.hlines(np.arange(low, high + step_mv / 2, step_mv), 0, t_s[-1], colors=colour, linewidth=0.5)
    axis.plot(t_s[:valid_n], signal_mv[:valid_n], color="black", linewidth=0.8)
    axis.set(xlim=(0, t_s[-1]), ylim=(low, high), xlabel="s", ylabel=f"{lead} (mV)")
