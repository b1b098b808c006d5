"""Trends of a recording: heart rate and burden over time, with marks of episodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from ecgeval.figures.style import COLOURS, finish, line, panels, style


def trends(
    hours: ArrayLike, heart_rate_bpm: ArrayLike, percent: Mapping[str, ArrayLike], marks: Sequence[float], note: str
) -> Figure:
    """Draw heart rate and the burden of each class over time.

    Parameters
    ----------
    hours, heart_rate_bpm : array_like, shape (n_bins,)
        Middle of each bin, and its rate; NaN is a gap.
    percent : mapping of str to array_like, shape (n_bins,)
        Share of each class in the bin's beats.
    marks : sequence of float
        Hours at which an episode starts.
    note : str
        Foot.
    """
    with style():
        figure, axes = panels(2, 1, (8.4, 5.0), sharex=True)
        rate, burden = axes.flat
        rate.plot(hours, heart_rate_bpm, marker="o", ms=3, **line(0))
        rate.set(ylabel="heart rate (1/min)")
        for mark in marks:
            rate.axvline(mark, color=COLOURS[1], lw=0.8, alpha=0.7)
        if len(marks):
            rate.plot([], [], color=COLOURS[1], lw=0.8, label="episode")
        for i, (name, values) in enumerate(percent.items(), start=1):
            burden.plot(hours, np.asarray(values), marker="o", ms=3, label=name, **line(i))
        burden.set(xlabel="hours from the start", ylabel="burden (%)", ylim=(0, None))
        if percent or len(marks):
            figure.legend(loc="outside right center")
        finish(figure, "Heart rate and burden, in bins of 5 minutes", note)
    return figure
