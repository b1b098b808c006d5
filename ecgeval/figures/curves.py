"""ROC, precision–recall and calibration curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from numpy.typing import ArrayLike, NDArray

from ecgeval.calibration import Bins
from ecgeval.figures.style import COLOURS, FAINT, MARKERS, finish, line, panels, shorten, style, width_of
from ecgeval.metrics import Array, pr_curve, ranking, roc_curve

CURVE_POINTS = 2000
NAMED = 10  # classes with a line of their own; of more, the weakest are drawn and the rest is grey
WEAKEST = 6


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
        Names; of more than ten, the six of lowest area have a colour and the rest is grey.
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
    classes = shorten(classes)
    curves = [thin(*roc_curve(truth, score)) for truth, score in zip(y.T, p.T, strict=True)]
    named = _named(y, p, "auroc")
    with style():
        figure, axes = panels(1, 1, (width_of(classes, 7.6), 5.2))
        axis = axes.flat[0]
        _draw_classes(axis, curves, [f"{label}\n{area}" for label, area in zip(classes, areas, strict=True)], named)
        defined = [np.interp(grid, *curve) for i, curve in enumerate(curves) if averaged[i] and _is_defined(curve)]
        if defined:
            mean = np.append(0, np.mean(defined, axis=0))
            name = f"mean of the curves\n{macro}"
            axis.plot(np.append(0, grid), mean, color=FAINT, lw=4.5, alpha=0.6, zorder=1.5, label=name)
        axis.plot([0, 1], [0, 1], color=FAINT, lw=1, ls=":", label="chance")
        _unit_square(axis, "1 − specificity", "sensitivity")
        figure.legend(loc="outside right center")
        finish(figure, title, note)
    return figure


def pr(classes: Sequence[str], y: NDArray[np.bool_], p: Array, areas: Sequence[str], title: str, note: str) -> Figure:
    """Draw a precision–recall curve a class, with its prevalence as a thin line at the level of chance.

    Parameters
    ----------
    classes : sequence of str
        Names; of more than ten, the six of lowest area have a colour and the rest is grey.
    y, p : ndarray, shape (n, n_classes)
        Labels and probabilities.
    areas : sequence of str
        Each class's average precision in words, for the legend.
    title, note : str
        Heading and foot.
    """
    curves = [thin(*pr_curve(truth, score)) for truth, score in zip(y.T, p.T, strict=True)]
    classes, prevalence = shorten(classes), y.mean(axis=0)
    names = [f"{c}, prevalence {v:.3f}\n{a}" for c, v, a in zip(classes, prevalence, areas, strict=True)]
    named = _named(y, p, "auprc")
    with style():
        figure, axes = panels(1, 1, (width_of(classes, 7.6), 5.2))
        axis = axes.flat[0]
        _draw_classes(axis, curves, names, named)
        for k, i in enumerate(named):
            axis.axhline(prevalence[i], lw=0.9, alpha=0.8, color=COLOURS[k % len(COLOURS)], ls=":")
        axis.plot([], [], color=FAINT, lw=0.9, ls=":", label="prevalence:\nthe level of chance")
        _unit_square(axis, "recall (sensitivity)", "precision")
        figure.legend(loc="outside right center")
        finish(figure, title, note)
    return figure


def calibration(curves: Mapping[str, Bins], title: str, note: str) -> Figure:
    """Draw the share of positives against the mean probability of each bin, and below how many rows are in it.

    Parameters
    ----------
    curves : mapping of str to Bins
        By name, such as a class; of more than ten only the first six.
    title, note : str
        Heading and foot.
    """
    first = WEAKEST if len(curves) > NAMED else NAMED
    drawn = list(zip(shorten(list(curves)), curves.values(), strict=True))[:first]
    with style():
        figure, axes = panels(
            2, 1, (width_of([name for name, _ in drawn], 7.6), 6.4), height_ratios=(3, 1), sharex=True
        )
        top, bottom = axes.flat
        top.plot([0, 1], [0, 1], color=FAINT, lw=1, ls=":", label="perfect")
        for i, (name, bins) in enumerate(drawn):
            known = bins.n > 0
            marker = {"marker": MARKERS[i % len(MARKERS)], "ms": 4.5, **line(i)}
            top.plot(bins.confidence[known], bins.accuracy[known], label=name, **marker)
            bottom.plot(bins.confidence[known], bins.n[known], **marker)
        top.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), ylabel="share that has the class")
        bottom.set(xlabel="mean probability of the bin", ylabel="rows", yscale="log")
        bottom.yaxis.set_major_formatter(lambda n, _: f"{n:,.0f}")
        bottom.yaxis.set_minor_formatter(NullFormatter())  # its powers of ten would stand there as formulas
        figure.legend(loc="outside right center")
        finish(figure, title, note)
    return figure


def thin(x: Array, y: Array) -> tuple[Array, Array]:
    """Return at most 2,000 of a curve's points, its ends among them."""
    index = np.unique(np.linspace(0, len(x) - 1, min(len(x), CURVE_POINTS)).astype(int))
    return x[index], y[index]


def _named(y: NDArray[np.bool_], p: Array, metric: str) -> list[int]:
    """Return the classes that are drawn in colour: all of a few, else the weakest."""
    if y.shape[1] <= NAMED:
        return list(range(y.shape[1]))
    areas = ranking(y, p)[metric]
    order = np.argsort(np.nan_to_num(areas, nan=2.0), kind="stable")
    return [int(i) for i in order[:WEAKEST]]


def _draw_classes(axis: Axes, curves: list[tuple[Array, Array]], names: Sequence[str], named: list[int]) -> None:
    others = [i for i in range(len(curves)) if i not in named]
    for i in others:
        axis.plot(*curves[i], color="#c4c4c4", lw=0.7, zorder=1)
    for k, i in enumerate(named):
        axis.plot(*curves[i], label=names[i], **line(k))
    if others:
        axis.plot([], [], color="#c4c4c4", lw=0.7, label=f"{len(others)} other classes")


def _is_defined(curve: tuple[Array, Array]) -> bool:
    return not np.isnan([curve[0][-1], curve[1][-1]]).any()


def _unit_square(axis: Axes, x: str, y: str) -> None:
    axis.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel=x, ylabel=y, aspect="equal")
