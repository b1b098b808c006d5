"""Several trainings of one model: what they scatter by, which the interval of one of them does not show."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class Spread(NamedTuple):
    """Mean, standard deviation (n − 1), least, greatest and number of some figures."""

    mean: float
    sd: float
    least: float
    greatest: float
    n: int

    def __str__(self) -> str:
        if not self.n:
            return "–"
        return f"{self.mean:.3f} ± {self.sd:.3f} (n = {self.n})" if self.n > 1 else f"{self.mean:.3f} (n = 1)"


def spread(values: ArrayLike) -> Spread:
    """Return the spread of figures over seeds or folds; undefined ones are left out and `n` shows it.

    Parameters
    ----------
    values : array_like of float, shape (n,)
        A figure a training.
    """
    numbers = np.asarray(values, dtype=np.float64)
    numbers = numbers[~np.isnan(numbers)]
    if not len(numbers):
        return Spread(math.nan, math.nan, math.nan, math.nan, 0)
    sd = float(numbers.std(ddof=1)) if len(numbers) > 1 else math.nan
    return Spread(float(numbers.mean()), sd, float(numbers.min()), float(numbers.max()), len(numbers))
