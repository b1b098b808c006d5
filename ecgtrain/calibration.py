"""What is fitted on validation alone after training: thresholds of the classes, and a temperature.

References
----------
.. [1] Guo et al., On calibration of modern neural networks, ICML 2017 (temperature).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from ecgtrain.predicting import Said, combined
from ecgtrain.scores import best_threshold

LEAST_LOG, MOST_LOG = math.log(0.05), math.log(20.0)


def calibrate(said: Said, truth: NDArray[np.int8], classes: Sequence[str], *, multilabel: bool) -> dict[str, Any]:
    """Return the content of ``calibration.json``.

    Parameters
    ----------
    said : Said
        What the model says of the rows of validation.
    truth : ndarray of int8, shape (n_rows, n_classes)
        What is true.
    classes : sequence of str
        Names of the classes.
    multilabel : bool
        Whether a row can have several classes; only then there are thresholds, since else the highest probability wins.

    Returns
    -------
    dict
        ``thresholds``: by class, of the probabilities' mean over a row's windows; ``temperature``: what logits are
        divided by, None where there are none; ``fitted_on``: ``validation``.
    """
    probability = combined(said.probability)
    thresholds = {
        name: best_threshold(truth[:, c] == 1, probability[:, c]) for c, name in enumerate(classes) if multilabel
    }
    temperature = None if said.logits is None else fit_temperature(said.logits, truth, multilabel=multilabel)
    return {"thresholds": thresholds, "temperature": temperature, "fitted_on": "validation"}


def fit_temperature(logits: NDArray[np.float32], truth: NDArray[np.int8], *, multilabel: bool) -> float:
    """Return the temperature, between 0.05 and 20, that makes labels most likely.

    Parameters
    ----------
    logits : ndarray of float32, shape (n_rows, n_windows, n_classes)
        What the model says.
    truth : ndarray of int8, shape (n_rows, n_classes)
        What is true.
    multilabel : bool
        Whether a row can have several classes.
    """
    from scipy.optimize import minimize_scalar

    values = torch.from_numpy(logits).double().flatten(0, 1)
    target = torch.from_numpy(truth).double().repeat_interleave(logits.shape[1], dim=0)
    loss = functional.binary_cross_entropy_with_logits if multilabel else functional.cross_entropy

    def surprise(log_temperature: float) -> float:
        return float(loss(values / math.exp(log_temperature), target))

    return math.exp(minimize_scalar(surprise, bounds=(LEAST_LOG, MOST_LOG), method="bounded").x)
