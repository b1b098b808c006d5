"""Learning curves, of one training or of many beside each other; a dot marks the epoch that was kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ecgeval.figures.style import COLOURS, MOST_LETTERS_OF_ROWS, finish, line, panels, shorten, style, width_of
from ecgeval.metrics import Array

DRAWN_CLASSES = 10
LEGEND_LETTERS = 22  # of a run's name, for which the figures have room


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
        epochs = np.array([float(entry.get("epoch", i)) + 1 for i, entry in enumerate(self.history)])
        return epochs, np.array([_look_up(entry, path) for entry in self.history], dtype=np.float64)

    def best_epoch(self) -> int | None:
        """Return the position of the epoch whose weights were kept, by the figure that the run watched, or None."""
        watched = self.history[0].get("watched", "validation_loss") if self.history else "validation_loss"
        if watched == "validation_loss":
            _, badness = self.curve("validation_loss")
        else:
            badness = -self.curve("validation", watched.removeprefix("macro_"))[1]
        return None if np.isnan(badness).all() else int(np.nanargmin(badness))


def loss(trainings: Sequence[Training], note: str) -> Figure:
    """Draw the losses of training (thin dots) and validation by epoch.

    Parameters
    ----------
    trainings : sequence of Training
        The runs.
    note : str
        Foot.
    """
    return _one_panel(trainings, note, "Loss", lambda axis: _draw_loss(axis, trainings))


def macro(trainings: Sequence[Training], note: str, metric: str = "f1") -> Figure:
    """Draw a macro figure of validation by epoch.

    Parameters
    ----------
    trainings : sequence of Training
        The runs.
    note : str
        Foot.
    metric : {"f1", "auroc"}
        The figure.
    """
    return _one_panel(trainings, note, f"Macro {_NAMES[metric]}", lambda axis: _draw_macro(axis, trainings, metric))


def per_class(training: Training, classes: Sequence[str], note: str, metric: str = "f1") -> Figure:
    """Draw a figure of each class of validation by epoch.

    Parameters
    ----------
    training : Training
        The run.
    classes : sequence of str
        Names; of more than ten the first ten.
    note : str
        Foot.
    metric : {"f1", "auroc"}
        The figure.
    """
    title = f"{_NAMES[metric]} of each class, {training.label}"
    return _one_panel([training], note, title, lambda axis: _draw_classes(axis, training, classes, metric))


def training_curves(trainings: Sequence[Training], best: str, classes: Sequence[str], note: str) -> Figure:
    """Draw loss and macro figures of all runs by epoch, and F1 of each class of one.

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
    with style():
        listed = len(trainings) + min(len(classes), DRAWN_CLASSES) + 3  # at the right, below each other, with headings
        figure, axes = panels(2, 2, (_width(trainings, 9.2), max(6.4, 0.6 + 0.23 * listed)))
        first, f1, auroc, of_classes = axes.flat
        _draw_loss(first, trainings)
        _draw_macro(f1, trainings, "f1")
        _draw_macro(auroc, trainings, "auroc")
        for training in (t for t in trainings if t.label == best):
            _draw_classes(of_classes, training, classes, "f1")
        of_classes.set(title=f"F1 of each class, {best}")
        for axis in axes.flat:
            _label_epochs(axis)
        figure.legend(*first.get_legend_handles_labels(), loc="outside right upper", title="validation")
        if _is_recorded(of_classes):
            figure.legend(*of_classes.get_legend_handles_labels(), loc="outside right lower", title="classes")
        finish(figure, "Training, dots at the epoch that was kept", note)
    return figure


_NAMES = {"f1": "F1", "auroc": "AUROC"}
_LOWEST = {"f1": 0.0, "auroc": 0.4}


def _one_panel(trainings: Sequence[Training], note: str, title: str, draw: Any) -> Figure:
    with style():
        figure, axes = panels(1, 1, (_width(trainings, 7.6), max(4.6, 0.8 + 0.23 * len(trainings))))
        draw(axes.flat[0])
        _label_epochs(axes.flat[0])
        axes.flat[0].set_title("")
        figure.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside right center")
        finish(figure, title, note)
    return figure


def _width(trainings: Sequence[Training], inches: float) -> float:
    names = shorten([training.label for training in trainings], MOST_LETTERS_OF_ROWS)
    return width_of(names, inches, LEGEND_LETTERS)


def _draw_loss(axis: Axes, trainings: Sequence[Training]) -> None:
    for i, training in enumerate(trainings):
        axis.plot(*training.curve("train_loss"), color=COLOURS[i % len(COLOURS)], lw=1.1, ls=":")
        _draw_epochs(axis, training, ("validation_loss",), i, *shorten([training.label], MOST_LETTERS_OF_ROWS))
    axis.set(title="Loss (thin dots: training)", ylabel="loss")


def _draw_macro(axis: Axes, trainings: Sequence[Training], metric: str) -> None:
    for i, training in enumerate(trainings):
        _draw_epochs(axis, training, ("validation", metric), i, *shorten([training.label], MOST_LETTERS_OF_ROWS))
    axis.set(title=f"Macro {_NAMES[metric]}", ylim=(_LOWEST[metric], 1.02))


def _draw_classes(axis: Axes, training: Training, classes: Sequence[str], metric: str) -> None:
    drawn = classes[:DRAWN_CLASSES]
    for i, (name, short) in enumerate(zip(drawn, shorten(drawn), strict=True)):
        _draw_epochs(axis, training, ("per_class", name, metric), i, short)
    axis.set_ylim(_LOWEST[metric], 1.02)


def _draw_epochs(axis: Axes, training: Training, path: tuple[str, ...], i: int, label: str) -> None:
    epochs, values = training.curve(*path)
    axis.plot(epochs, values, label=label, **line(i))
    best = training.best_epoch()
    if best is not None:
        axis.plot(epochs[best], values[best], "o", ms=6.5, mec="white", color=COLOURS[i % len(COLOURS)], zorder=3)


def _is_recorded(axis: Axes) -> bool:
    return any(np.isfinite(np.asarray(curve.get_ydata(), dtype=np.float64)).any() for curve in axis.lines)


def _label_epochs(axis: Axes) -> None:
    axis.set_xlabel("epoch")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    if not _is_recorded(axis):
        axis.set(xticks=[], yticks=[], xlabel="")
        axis.text(0.5, 0.5, "not recorded", ha="center", va="center", transform=axis.transAxes)


def _look_up(entry: Mapping[str, Any], path: Sequence[str]) -> float:
    value: Any = entry
    for part in path:
        value = value.get(part) if isinstance(value, Mapping) else None
    return float(value) if isinstance(value, int | float) else float("nan")
