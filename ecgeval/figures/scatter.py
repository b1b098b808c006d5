"""Points: features of test rows on a plane, and F1 against the fraction of pre-training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from ecgeval.figures.style import COLOURS, FAINT, MARKERS, finish, line, panels, shorten, style, width_of
from ecgeval.statistics.spread import spread

RANDOM_START = 0.003  # where a fraction of 0 stands on the logarithmic axis


def features(
    xy: ArrayLike, label: NDArray[np.int64], classes: Sequence[str], wrong: NDArray[np.bool_], title: str, note: str
) -> Figure:
    """Draw rows on a plane, a colour and a marker a class, wrong rows ringed.

    Parameters
    ----------
    xy : array_like, shape (n, 2)
        From `ecgeval.features.project`.
    label : ndarray of int64, shape (n,)
        Class of each row.
    classes : sequence of str
        Names.
    wrong : ndarray of bool, shape (n,)
        Which rows are ringed.
    title, note : str
        Heading and foot.
    """
    points = np.asarray(xy)
    with style():
        figure, axes = panels(1, 1, (width_of(shorten(classes), 7.6), 5.6))
        axis = axes.flat[0]
        for i, name in enumerate(shorten(classes)):
            of_class = points[label == i]
            look = {"marker": MARKERS[i % len(MARKERS)], "color": COLOURS[i % len(COLOURS)]}
            axis.scatter(*of_class.T, s=9, alpha=0.65, lw=0, label=f"{name} ({len(of_class):,})", **look)
        axis.scatter(*points[wrong].T, s=26, facecolors="none", edgecolors="#222222", lw=0.6, label="wrong")
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
        figure.legend(loc="outside right center", markerscale=1.8)
        finish(figure, title, note)
    return figure


def pretraining_fraction(
    scores: Mapping[str, Mapping[float, ArrayLike]], title: str, note: str, ylabel: str = "macro F1"
) -> Figure:
    """Draw mean ± SD over trials against the fraction of patients that pre-training saw.

    Parameters
    ----------
    scores : mapping of str to mapping of float to array_like
        For each curve and each fraction (0 is a random start) a score a trial.
    title, note : str
        Heading and foot.
    ylabel : str
        What the score is.
    """
    with style():
        figure, axes = panels(1, 1, (7.2, 4.6))
        axis = axes.flat[0]
        for i, (name, by_fraction) in enumerate(scores.items()):
            fractions = sorted(by_fraction)
            spreads = [spread(by_fraction[fraction]) for fraction in fractions]
            x = [max(fraction, RANDOM_START) for fraction in fractions]
            mean, sd = ([getattr(s, part) for s in spreads] for part in ("mean", "sd"))
            marker = {"marker": MARKERS[i % len(MARKERS)], "ms": 6, "capsize": 3, **line(i)}
            axis.errorbar(x, mean, yerr=np.nan_to_num(sd), label=name, **marker)
        seen = sorted({fraction for by_fraction in scores.values() for fraction in by_fraction})
        axis.set(xscale="log", xlabel="fraction of the patients in pre-training", ylabel=ylabel)
        axis.set_xticks([max(f, RANDOM_START) for f in seen], [f"{100 * f:g} %" if f else "random" for f in seen])
        axis.minorticks_off()
        if 0 in seen:
            axis.axvline(RANDOM_START * 1.6, color=FAINT, lw=0.8, ls=":")
        figure.legend(loc="outside right center")
        finish(figure, title, note)
    return figure
