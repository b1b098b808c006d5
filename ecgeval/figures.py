"""Figures on arrays, in one style: readable in print, and without relying on colour alone.

Each function returns a Matplotlib figure that belongs to no window; `save` writes it as PNG and SVG.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from ecgeval.metrics import Array, pr_curve, roc_curve

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
INK, FAINT = "#222222", "#8a8a8a"
CURVE_POINTS = 2000
BARS_ACROSS = 4
DPI = 200
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


@dataclass(frozen=True)
class Training:
    """What one run's training looked like.

    Parameters
    ----------
    label : str
        Its name.
    history : list of dict
        One entry an epoch, as in ``history.jsonl``; absent figures are left out of the curves.
    """

    label: str
    history: list[dict[str, Any]]

    def curve(self, *path: str) -> tuple[Array, Array]:
        """Return epochs, from 1, and values of one figure, such as ``curve("validation", "f1")``; NaN where absent."""
        epochs = np.array([float(line.get("epoch", i)) + 1 for i, line in enumerate(self.history)])
        return epochs, np.array([_look_up(line, path) for line in self.history], dtype=np.float64)

    def best_epoch(self) -> int | None:
        """Return the position of the epoch whose weights were kept, by the figure that the run watched, or None."""
        watched = self.history[0].get("watched", "validation_loss") if self.history else "validation_loss"
        if watched == "validation_loss":
            _, badness = self.curve("validation_loss")
        else:
            badness = -self.curve("validation", watched.removeprefix("macro_"))[1]
        return None if np.isnan(badness).all() else int(np.nanargmin(badness))


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
    with _style():
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # laid out once, not once a file
        figure.savefig(files[0], dpi=DPI)
        figure.savefig(files[1], metadata={"Date": None})
    return files


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
    n_rows = -(-len(values) // BARS_ACROSS)
    width = 0.3 + 0.085 * max(map(len, labels)) + 1.75 * BARS_ACROSS
    with _style():
        size = (width, 0.9 + n_rows * (0.75 + 0.34 * len(labels)))
        figure, axes = _panels(n_rows, BARS_ACROSS, size, sharey=True)
        for axis, (title, figures) in zip(axes.flat, values.items(), strict=False):
            _bar_panel(axis, title, *(np.asarray(a, dtype=float) for a in (figures, low[title], high[title])))
        for axis in axes.flat[len(values) :]:
            axis.set_visible(False)
        axes.flat[0].set_yticks(range(len(labels)), labels)
        axes.flat[0].set_ylim(len(labels) - 0.4, -0.6)
        _finish(figure, "Macro metrics on test, with 95 % intervals over patients", note)
    return figure


def heatmap(rows: Sequence[str], columns: Sequence[str], values: ArrayLike, title: str, note: str) -> Figure:
    """Draw values between 0 and 1 as a table of colours with their figures.

    Parameters
    ----------
    rows, columns : sequence of str
        Models and classes.
    values : array_like, shape (n_rows, n_columns)
        NaN is drawn as a hatched cell with a dash.
    title, note : str
        Heading and foot.
    """
    cells = np.asarray(values, dtype=float)
    width = 2.2 + 0.085 * max(map(len, rows)) + max(0.95, 0.11 * max(map(len, columns))) * len(columns)
    with _style():
        figure, axes = _panels(1, 1, (max(width, 5.0), 1.7 + 0.42 * len(rows)))
        axis = axes.flat[0]
        image = axis.imshow(np.ma.masked_invalid(cells), cmap="cividis", vmin=0, vmax=1, aspect="auto")
        axis.patch.set(hatch="///", edgecolor="#bbbbbb", facecolor="white")
        _write_cells(axis, cells, [[_three(v) for v in row] for row in cells], cells)
        axis.set_xticks(range(len(columns)), columns)
        axis.set_yticks(range(len(rows)), rows)
        _no_frame(axis)
        figure.colorbar(image, ax=axis, fraction=0.05, pad=0.02).outline.set_visible(False)
        _finish(figure, title, note)
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
    n_columns = min(3, len(classes))
    n_rows = -(-len(classes) // n_columns)
    with _style():
        figure, axes = _panels(n_rows, n_columns, (2.75 * n_columns + 0.4, 2.75 * n_rows + 0.9))
        for axis, label, (tp, fp, fn, tn) in zip(axes.flat, classes, np.asarray(counts), strict=False):
            _matrix(axis, np.array([[tn, fp], [fn, tp]]), ("no", "yes"), label)
        for axis in axes.flat[len(classes) :]:
            axis.set_visible(False)
        _finish(figure, title, note)
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
    side = max(3.3, 0.64 * len(classes) + 0.9)
    with _style():
        figure, axes = _panels(1, 2, (2 * side + 0.5, side + 0.9))
        _matrix(axes.flat[0], counts, classes, "rows")
        _matrix(axes.flat[1], counts, classes, "share of each label", shares=True)
        _finish(figure, title, note)
    return figure


def roc(
    classes: Sequence[str],
    y: NDArray[np.bool_],
    p: Array,
    areas: Sequence[str],
    averaged: ArrayLike,
    macro: str,
    title: str,
    note: str,
) -> Figure:
    """Draw a ROC curve a class and their vertical average.

    Parameters
    ----------
    classes : sequence of str
        Names.
    y, p : ndarray, shape (n, n_classes)
        Labels and probabilities.
    areas : sequence of str
        Each class's area in words, for the legend.
    averaged : array_like of bool, shape (n_classes,)
        The classes that the mean is over.
    macro : str
        The mean area in words.
    title, note : str
        Heading and foot.
    """
    averaged, grid = np.asarray(averaged), np.linspace(0, 1, 501)
    defined = []
    with _style():
        figure, axes = _panels(1, 1, (7.6, 5.2))
        axis = axes.flat[0]
        for i, (label, area) in enumerate(zip(classes, areas, strict=True)):
            fpr, tpr = _thin(*roc_curve(y[:, i], p[:, i]))
            axis.plot(fpr, tpr, label=f"{label}\n{area}", **_line(i))
            if averaged[i] and not np.isnan([fpr[-1], tpr[-1]]).any():
                defined.append(np.interp(grid, fpr, tpr))
        if defined:
            mean = np.append(0, np.mean(defined, axis=0))
            axis.plot(
                np.append(0, grid),
                mean,
                color=FAINT,
                lw=4.5,
                alpha=0.6,
                zorder=1.5,
                label=f"mean of the curves\n{macro}",
            )
        axis.plot([0, 1], [0, 1], color=FAINT, lw=1, ls=":", label="chance")
        _unit_square(axis, "1 − specificity", "sensitivity")
        figure.legend(loc="outside right center")
        _finish(figure, title, note)
    return figure


def pr(classes: Sequence[str], y: NDArray[np.bool_], p: Array, areas: Sequence[str], title: str, note: str) -> Figure:
    """Draw a precision–recall curve a class, with its prevalence as a thin line at the level of chance.

    Parameters
    ----------
    classes : sequence of str
        Names.
    y, p : ndarray, shape (n, n_classes)
        Labels and probabilities.
    areas : sequence of str
        Each class's average precision in words, for the legend.
    title, note : str
        Heading and foot.
    """
    with _style():
        figure, axes = _panels(1, 1, (7.6, 5.2))
        axis = axes.flat[0]
        for i, (label, area) in enumerate(zip(classes, areas, strict=True)):
            prevalence = y[:, i].mean()
            recall, precision = _thin(*pr_curve(y[:, i], p[:, i]))
            axis.plot(recall, precision, label=f"{label}, prevalence {prevalence:.3f}\n{area}", **_line(i))
            axis.axhline(prevalence, lw=0.9, alpha=0.8, color=COLOURS[i % len(COLOURS)], ls=":")
        axis.plot([], [], color=FAINT, lw=0.9, ls=":", label="prevalence:\nthe level of chance")
        _unit_square(axis, "recall (sensitivity)", "precision")
        figure.legend(loc="outside right center")
        _finish(figure, title, note)
    return figure


def training_curves(trainings: Sequence[Training], best: str, classes: Sequence[str], note: str) -> Figure:
    """Draw loss and macro figures of all runs by epoch, and F1 of each class of one; best epochs are marked.

    Parameters
    ----------
    trainings : sequence of Training
        The runs.
    best : str
        The label of the run whose classes are drawn.
    classes : sequence of str
        Their names.
    note : str
        Foot.
    """
    with _style():
        figure, axes = _panels(2, 2, (9.2, max(6.4, 0.6 + 0.23 * len(trainings))))
        loss, f1, auroc, per_class = axes.flat
        for i, training in enumerate(trainings):
            loss.plot(*training.curve("train_loss"), color=COLOURS[i % len(COLOURS)], lw=1.1, ls=":")
            _epoch_curve(loss, training, ("validation_loss",), i, training.label)
            _epoch_curve(f1, training, ("validation", "f1"), i)
            _epoch_curve(auroc, training, ("validation", "auroc"), i)
        for training in (t for t in trainings if t.label == best):
            for i, name in enumerate(classes):
                _epoch_curve(per_class, training, ("per_class", name, "f1"), i, name)
        _label_training(loss, f1, auroc, per_class, best)
        figure.legend(*loss.get_legend_handles_labels(), loc="outside right upper", title="validation")
        _finish(figure, "Training, dots at the epoch that was kept", note)
    return figure


@contextmanager
def _style() -> Iterator[None]:
    with mpl.rc_context(STYLE):
        yield


def _panels(n_rows: int, n_columns: int, size: tuple[float, float], **options: Any) -> tuple[Figure, NDArray[Any]]:
    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(n_rows, n_columns, squeeze=False, **options)


def _finish(figure: Figure, title: str, note: str) -> None:
    """Put the heading above and the protocol below, wrapped to the figure's width."""
    characters = int(figure.get_figwidth() * 14)
    figure.suptitle("\n".join(textwrap.wrap(title, int(characters * 0.6))), fontsize=12, fontweight="bold")
    figure.supxlabel("\n".join(textwrap.wrap(note, characters)), fontsize=8.5, color="#555555")


def _bar_panel(axis: Axes, title: str, values: Array, low: Array, high: Array) -> None:
    y = np.arange(len(values))
    colours = [COLOURS[0], *["#9cc3dd"] * (len(values) - 1)]
    axis.barh(y, np.nan_to_num(values), height=0.62, color=colours)
    known = ~np.isnan(low)
    ends = np.clip([values - low, high - values], 0, None)[:, known]
    axis.errorbar(values[known], y[known], xerr=ends, fmt="none", ecolor=INK, elinewidth=1.1, capsize=2.5)
    for position, value in enumerate(values):
        axis.text(1.04, position, _three(value), va="center", ha="left", fontsize=9)
    axis.set_title(title)
    axis.set_xlim(0, 1)
    axis.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    axis.grid(axis="y", visible=False)
    axis.tick_params(axis="y", length=0)


def _matrix(axis: Axes, counts: NDArray[Any], names: Sequence[str], title: str, shares: bool = False) -> None:
    """Draw counts, coloured by their share of each label, with either as text."""
    totals = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, totals, out=np.full(counts.shape, np.nan), where=totals > 0)
    axis.imshow(np.ma.masked_invalid(share), cmap="Blues", vmin=0, vmax=1)
    axis.patch.set(hatch="///", edgecolor="#bbbbbb", facecolor="white")
    text = [
        [_three(s) if shares else f"{int(c):,}" for c, s in zip(*row, strict=True)]
        for row in zip(counts, share, strict=True)
    ]
    _write_cells(axis, share, text, 1 - share)
    axis.set_xticks(range(len(names)), names)
    axis.set_yticks(range(len(names)), names)
    axis.set_xlabel("predicted")
    axis.set_ylabel("label")
    axis.set_title(title)
    _no_frame(axis)


def _write_cells(axis: Axes, values: Array, text: Sequence[Sequence[str]], lightness: Array) -> None:
    for i, j in np.ndindex(values.shape):
        dark = not np.isnan(lightness[i, j]) and lightness[i, j] < 0.5
        axis.text(j, i, text[i][j], ha="center", va="center", fontsize=9.5, color="white" if dark else "black")


def _no_frame(axis: Axes) -> None:
    axis.grid(visible=False)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)


def _unit_square(axis: Axes, x: str, y: str) -> None:
    axis.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel=x, ylabel=y, aspect="equal")


def _line(i: int) -> dict[str, Any]:
    return {"color": COLOURS[i % len(COLOURS)], "ls": DASHES[i % len(DASHES)], "lw": 1.8}


def _epoch_curve(axis: Axes, training: Training, path: tuple[str, ...], i: int, label: str | None = None) -> None:
    epochs, values = training.curve(*path)
    axis.plot(epochs, values, label=label, **_line(i))
    best = training.best_epoch()
    if best is not None:
        axis.plot(epochs[best], values[best], "o", ms=6.5, mec="white", color=COLOURS[i % len(COLOURS)], zorder=3)


def _label_training(loss: Axes, f1: Axes, auroc: Axes, per_class: Axes, best: str) -> None:
    loss.set(title="Loss (thin dots: training)", ylabel="loss")
    f1.set(title="Macro F1", ylim=(0, 1.02))
    auroc.set(title="Macro AUROC", ylim=(0.4, 1.02))
    per_class.set(title=f"F1 of each class, {best}", ylim=(0, 1.02))
    if per_class.lines:
        per_class.legend(loc="lower right", ncols=2)
    for axis in (loss, f1, auroc, per_class):
        axis.set_xlabel("epoch")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        if not any(np.isfinite(line.get_ydata()).any() for line in axis.lines):
            axis.set(xticks=[], yticks=[], xlabel="")
            axis.text(0.5, 0.5, "not recorded", ha="center", va="center", transform=axis.transAxes)


def _thin(x: Array, y: Array) -> tuple[Array, Array]:
    """Return at most `CURVE_POINTS` of a curve's points, its ends among them."""
    index = np.unique(np.linspace(0, len(x) - 1, min(len(x), CURVE_POINTS)).astype(int))
    return x[index], y[index]


def _three(value: float) -> str:
    return UNDEFINED if np.isnan(value) else f"{value:.3f}"


def _look_up(line: Mapping[str, Any], path: Sequence[str]) -> float:
    value: Any = line
    for part in path:
        value = value.get(part) if isinstance(value, Mapping) else None
    return float(value) if isinstance(value, int | float) else float("nan")
