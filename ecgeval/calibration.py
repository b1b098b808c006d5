"""Calibration: whether a probability of 0.8 is right eight times in ten, and the temperature that mends it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecgeval.metrics import Array, divide

N_BINS = 15
FLOOR = 1e-12  # of a probability under a logarithm


class Bins(NamedTuple):
    """Rows, mean probability and share of positives of each bin; NaN where a bin is empty."""

    n: NDArray[np.int64]
    confidence: Array
    accuracy: Array

    def error(self) -> float:
        """Return the mean distance of the two, weighted by rows."""
        gap = np.nan_to_num(np.abs(self.accuracy - self.confidence))
        return float((self.n * gap).sum() / self.n.sum())


def bin_equal_width(probability: ArrayLike, positive: ArrayLike, n_bins: int = N_BINS) -> Bins:
    """Return probabilities in bins of equal width, a bin holding its upper end.

    Parameters
    ----------
    probability : array_like of float, shape (n,)
        Probabilities of one thing.
    positive : array_like of bool, shape (n,)
        Whether it was so.
    n_bins : int
        Bins between 0 and 1.
    """
    p = np.asarray(probability, dtype=np.float64)
    return _bins(p, positive, np.clip(np.ceil(p * n_bins).astype(np.int64) - 1, 0, n_bins - 1), n_bins)


def bin_equal_mass(probability: ArrayLike, positive: ArrayLike, n_bins: int = N_BINS) -> Bins:
    """Return probabilities in bins of equally many rows; ties may fall on both sides of an edge.

    Parameters
    ----------
    probability : array_like of float, shape (n,)
        Probabilities of one thing.
    positive : array_like of bool, shape (n,)
        Whether it was so.
    n_bins : int
        Bins; at most as many as rows.
    """
    p = np.asarray(probability, dtype=np.float64)
    bins = np.empty(len(p), dtype=np.int64)
    bins[np.argsort(p, kind="stable")] = np.arange(len(p)) * n_bins // len(p)
    return _bins(p, positive, bins, n_bins)


def top_label(y: ArrayLike, p: ArrayLike) -> tuple[Array, NDArray[np.bool_]]:
    """Return the probability of each row's most probable class, and whether it is the label.

    Parameters
    ----------
    y, p : array_like, shape (n, n_classes)
        One-hot labels and probabilities.
    """
    y, p = np.asarray(y, dtype=bool), np.asarray(p, dtype=np.float64)
    top = p.argmax(axis=1)
    rows = np.arange(len(p))
    return p[rows, top], y[rows, top]


def ece(y: ArrayLike, p: ArrayLike, n_bins: int = N_BINS) -> float:
    """Return the expected calibration error of the most probable class, bins of equal width.

    Parameters
    ----------
    y, p : array_like, shape (n, n_classes)
        One-hot labels and probabilities.
    n_bins : int
        Bins.

    References
    ----------
    Guo C et al. On calibration of modern neural networks. ICML (2017).
    """
    return bin_equal_width(*top_label(y, p), n_bins).error()


def adaptive_ece(y: ArrayLike, p: ArrayLike, n_bins: int = N_BINS) -> float:
    """Return the expected calibration error of the most probable class, bins of equally many rows.

    Parameters
    ----------
    y, p : array_like, shape (n, n_classes)
        One-hot labels and probabilities.
    n_bins : int
        Bins.
    """
    return bin_equal_mass(*top_label(y, p), n_bins).error()


def classwise_ece(y: ArrayLike, p: ArrayLike, n_bins: int = N_BINS) -> Array:
    """Return the calibration error of each class's own probability, bins of equal width.

    Parameters
    ----------
    y, p : array_like, shape (n, n_classes)
        Labels and probabilities.
    n_bins : int
        Bins.
    """
    pairs = zip(np.asarray(y, dtype=bool).T, np.asarray(p).T, strict=True)
    return np.array([bin_equal_width(score, truth, n_bins).error() for truth, score in pairs])


def brier(y: ArrayLike, p: ArrayLike) -> float:
    """Return the Brier score: the mean over rows of the squared distances summed over classes.

    Parameters
    ----------
    y, p : array_like, shape (n, n_classes)
        Labels and probabilities.
    """
    pairs = zip(np.asarray(y).T, np.asarray(p, dtype=np.float64).T, strict=True)
    return float(sum(((score - truth) ** 2).mean() for truth, score in pairs))


def nll(y: ArrayLike, p: ArrayLike, multilabel: bool = False) -> float:
    """Return the mean negative log-likelihood of the labels; of a multi-label row the sum over its classes.

    Parameters
    ----------
    y, p : array_like, shape (n, n_classes)
        Labels and probabilities.
    multilabel : bool
        Whether a row may have several classes.
    """
    y, p = np.asarray(y, dtype=bool), np.asarray(p, dtype=np.float64)
    likelihoods = (
        np.where(truth, score, 1 - score if multilabel else 1.0) for truth, score in zip(y.T, p.T, strict=True)
    )
    return float(-sum(np.log(np.maximum(likelihood, FLOOR)).mean() for likelihood in likelihoods))


def apply_temperature(p: ArrayLike, temperature: float, multilabel: bool = False) -> Array:
    """Return probabilities as they are when the logits are divided by a temperature.

    Logits are found from the probabilities, so this also holds for the mean of several windows. The order of
    probabilities stays, and with it every metric of decisions and ranks.

    Parameters
    ----------
    p : array_like, shape (n, n_classes)
        Probabilities, of a softmax or of sigmoids.
    temperature : float
        Above 1 softens.
    multilabel : bool
        Whether they are of sigmoids.

    References
    ----------
    Guo C et al. On calibration of modern neural networks. ICML (2017).
    """
    from scipy.special import expit, logit, softmax

    p = np.clip(np.asarray(p, dtype=np.float64), FLOOR, 1 - FLOOR if multilabel else 1)
    if multilabel:
        return np.asarray(expit(logit(p) / temperature))
    return np.asarray(softmax(np.log(p) / temperature, axis=1))


def correct_prior(p: ArrayLike, trained: ArrayLike, expected: ArrayLike) -> Array:
    """Return softmax probabilities corrected for classes that are more or less frequent than in training.

    Parameters
    ----------
    p : array_like, shape (n, n_classes)
        Probabilities of a single-label task.
    trained, expected : array_like, shape (n_classes,)
        Shares of the classes in training, after balancing, and where the probabilities are to be read.

    References
    ----------
    Saerens M, Latinne P, Decaestecker C. Adjusting the outputs of a classifier to new a priori probabilities.
    Neural Computation 14 (2002).
    """
    weighted = np.asarray(p, dtype=np.float64) * np.asarray(expected) / np.asarray(trained)
    return np.asarray(weighted / weighted.sum(axis=1, keepdims=True))


def calibration_figures(y: ArrayLike, p: ArrayLike, multilabel: bool = False) -> dict[str, float]:
    """Return all figures of calibration; the errors of the most probable class are of single-label tasks alone.

    Parameters
    ----------
    y, p : array_like, shape (n, n_classes)
        Labels and probabilities.
    multilabel : bool
        Whether a row may have several classes.
    """
    top = {} if multilabel else {"ECE": ece(y, p), "Adaptive-ECE": adaptive_ece(y, p)}
    rest = {"Class-wise-ECE": float(classwise_ece(y, p).mean()), "Brier": brier(y, p), "NLL": nll(y, p, multilabel)}
    return top | rest


def _bins(p: Array, positive: ArrayLike, bins: NDArray[np.int64], n_bins: int) -> Bins:
    n = np.bincount(bins, minlength=n_bins)
    sums = (np.bincount(bins, weights=w, minlength=n_bins) for w in (p, np.asarray(positive, dtype=np.float64)))
    confidence, accuracy = (divide(s, n) for s in sums)
    return Bins(n, confidence, accuracy)
