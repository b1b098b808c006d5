"""Cheap models that every report shows: what a network has to beat.

They are fitted at once and not by steps: `describe` makes numbers of rows, `fit` learns from the numbers of all
training rows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ecgtrain.models.classifiers import SignalModel
from ecgtrain.models.registry import InputShape, register_model
from ecgtrain.models.resnet1d_wang import resnet1d_wang
from store.errors import UserError

SHAPE_BINS = 24
BEAT_AROUND_S = 0.3
SHORTEST_RR_S, LONGEST_BEAT_S = 0.3, 2.0
LEAST_PROBABILITY = 1e-6
SETTINGS = {"epochs": 1, "context": []}

Floats = NDArray[np.float32]


class FittedModel(nn.Module, ABC):
    """A model that is fitted at once.

    Parameters
    ----------
    shape : InputShape
        What it is made for.
    """

    def __init__(self, shape: InputShape) -> None:
        super().__init__()
        self.shape = shape

    @abstractmethod
    def describe(self, signal: Tensor, features: Tensor | None = None, extent: Tensor | None = None) -> Floats:
        """Return the numbers that rows are judged by, shape (batch, n_numbers)."""

    @abstractmethod
    def fit(self, numbers: Floats, shares: Floats) -> None:
        """Learn from all training rows.

        Parameters
        ----------
        numbers : ndarray of float32, shape (n_rows, n_numbers)
            From `describe`.
        shares : ndarray of float32, shape (n_rows, n_classes)
            1 where a row has a class, 0 elsewhere.
        """


class ClassPrior(FittedModel):
    """How often each class occurs, whatever the row.

    Parameters
    ----------
    shape : InputShape
        What it is made for.
    """

    def __init__(self, shape: InputShape) -> None:
        super().__init__(shape)
        self.register_buffer("logits", torch.zeros(shape.n_classes))

    def describe(self, signal: Tensor, features: Tensor | None = None, extent: Tensor | None = None) -> Floats:
        """Return nothing of a row."""
        return np.zeros((len(signal), 0), np.float32)

    def fit(self, numbers: Floats, shares: Floats) -> None:
        """Count."""
        share = shares.mean(axis=0).clip(LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
        odds = np.log(share) - (np.log1p(-share) if self.shape.multilabel else 0.0)
        self.get_buffer("logits").copy_(torch.from_numpy(odds))

    def forward(self, signal: Tensor, features: Tensor | None = None, extent: Tensor | None = None) -> Tensor:
        """Return the same logits for all rows."""
        return self.get_buffer("logits").expand(len(signal), -1)


class Boosting(FittedModel):
    """Gradient-boosted trees on RR intervals and coarse shape.

    Parameters
    ----------
    shape : InputShape
        What it is made for.
    """

    def __init__(self, shape: InputShape) -> None:
        super().__init__(shape)
        self.trees: list[Any] = []

    def describe(self, signal: Tensor, features: Tensor | None = None, extent: Tensor | None = None) -> Floats:
        """Return the RR intervals beside a beat and its shape; of longer rows those of the beats found in them."""
        if signal.shape[2] <= LONGEST_BEAT_S * self.shape.fs_hz:
            numbers = [_coarse(signal)]
        else:
            numbers = [torch.from_numpy(np.stack([_of_record(one, self.shape.fs_hz) for one in signal.cpu().numpy()]))]
        if features is not None:
            numbers.append(features.cpu())
        joined: Floats = torch.cat([one.cpu() for one in numbers], dim=1).numpy()
        return joined

    def fit(self, numbers: Floats, shares: Floats) -> None:
        """Grow the trees: of one label a row together, of several one set a label."""
        from sklearn.ensemble import HistGradientBoostingClassifier

        targets = list(shares.T > 0.5) if self.shape.multilabel else [shares.argmax(axis=1)]
        self.trees = [HistGradientBoostingClassifier(random_state=0).fit(numbers, target) for target in targets]

    def forward(self, signal: Tensor, features: Tensor | None = None, extent: Tensor | None = None) -> Tensor:
        """Return ln p of one label a row, the log odds of several."""
        numbers = self.describe(signal, features)
        if not self.trees:
            raise UserError("the trees are not grown yet: call fit first")
        logits = np.full((len(numbers), self.shape.n_classes), np.log(LEAST_PROBABILITY), np.float32)
        if self.shape.multilabel:
            for c, trees in enumerate(self.trees):
                logits[:, c] = _log_odds(trees, numbers)
        else:
            probability = self.trees[0].predict_proba(numbers)
            logits[:, self.trees[0].classes_] = np.log(probability.clip(LEAST_PROBABILITY))
        return torch.from_numpy(logits).to(signal.device)


class RandomEncoder(FittedModel):
    """A network of random weights, never trained, and a linear head on what it makes of a row.

    Parameters
    ----------
    shape : InputShape
        What it is made for.
    """

    def __init__(self, shape: InputShape) -> None:
        super().__init__(shape)
        network = resnet1d_wang(shape)
        assert isinstance(network, SignalModel)
        self.encoder = network.encoder
        self.head = nn.Linear(self.encoder.width + shape.n_features, shape.n_classes)
        self.requires_grad_(False)

    def describe(self, signal: Tensor, features: Tensor | None = None, extent: Tensor | None = None) -> Floats:
        """Return the random network's vectors, and the numbers beside the rows."""
        vectors: Floats = self._vectors(signal, features, extent).cpu().numpy()
        return vectors

    def _vectors(self, signal: Tensor, features: Tensor | None, extent: Tensor | None) -> Tensor:
        vector: Tensor = self.encoder.eval()(signal, extent)
        return vector if features is None else torch.cat([vector, features], dim=1)

    def fit(self, numbers: Floats, shares: Floats) -> None:
        """Fit the head by logistic regression on standardised vectors, and take the standardisation into it."""
        from sklearn.linear_model import LogisticRegression

        mean, sd = numbers.mean(axis=0), numbers.std(axis=0)
        sd = np.where(sd > 0, sd, 1.0)
        standard = (numbers - mean) / sd
        weight, bias = np.zeros(self.head.weight.shape), np.full(self.shape.n_classes, np.log(LEAST_PROBABILITY))
        if self.shape.multilabel:
            for c in np.flatnonzero((shares.min(axis=0) < 0.5) & (shares.max(axis=0) > 0.5)):
                line = LogisticRegression(max_iter=300, tol=1e-3).fit(standard, shares[:, c] > 0.5)
                weight[c], bias[c] = line.coef_[0], line.intercept_[0]
        else:
            line = LogisticRegression(max_iter=300, tol=1e-3).fit(standard, shares.argmax(axis=1))
            weight[line.classes_], bias[line.classes_] = _one_row_a_class(line)
        weight = weight / sd
        with torch.no_grad():
            self.head.weight.copy_(torch.from_numpy(weight))
            self.head.bias.copy_(torch.from_numpy(bias - weight @ mean))

    def forward(self, signal: Tensor, features: Tensor | None = None, extent: Tensor | None = None) -> Tensor:
        """Return the head's logits."""
        logits: Tensor = self.head(self._vectors(signal, features, extent))
        return logits


def _one_row_a_class(line: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return coefficients and constants of each class; scikit-learn gives one row for two classes."""
    if len(line.classes_) > 2:
        return line.coef_, line.intercept_
    return np.concatenate([-line.coef_, line.coef_]) / 2, np.concatenate([-line.intercept_, line.intercept_]) / 2


def _log_odds(trees: Any, numbers: Floats) -> Floats:
    if len(trees.classes_) == 1:
        sign = 1.0 if trees.classes_[0] else -1.0
        return np.full(len(numbers), -sign * np.log(LEAST_PROBABILITY), np.float32)
    odds: Floats = trees.decision_function(numbers).astype(np.float32)
    return odds


def _coarse(signal: Tensor) -> Tensor:
    """Return means of 24 stretches of each lead, and its range and spread, shape (n, n_leads · 28)."""
    bins = functional.adaptive_avg_pool1d(signal, SHAPE_BINS)
    low, high = signal.amin(dim=2), signal.amax(dim=2)
    place = signal.abs().argmax(dim=2) / signal.shape[2]
    return torch.cat([bins.flatten(1), low, high, signal.std(dim=2), place], dim=1)


def _of_record(signal: Floats, fs_hz: float) -> Floats:
    """Return RR intervals (mean, SD, RMSSD, shortest, longest, number) and the median beat's coarse shape."""
    from scipy.signal import find_peaks

    steepness = np.abs(np.diff(signal, axis=1, prepend=signal[:, :1])).sum(axis=0)
    width = max(round(0.1 * fs_hz), 1)
    energy = np.convolve(steepness, np.ones(width) / width, mode="same")
    peaks, _ = find_peaks(energy, distance=max(round(SHORTEST_RR_S * fs_hz), 1), height=0.4 * energy.max())
    rr_s = np.diff(peaks) / fs_hz
    rhythm = np.full(6, np.nan)
    if len(rr_s) > 1:
        rhythm[:5] = rr_s.mean(), rr_s.std(), np.sqrt(np.square(np.diff(rr_s)).mean()), rr_s.min(), rr_s.max()
    rhythm[5] = len(peaks)
    side = round(BEAT_AROUND_S * fs_hz)
    inside = peaks[(peaks >= side) & (peaks + side <= signal.shape[1])]
    beats = signal[:, inside[:, None] + np.arange(-side, side)] if len(inside) else np.zeros((len(signal), 1, 2 * side))
    shape = _coarse(torch.from_numpy(np.median(beats, axis=1)).float()[None])[0]
    return np.concatenate([rhythm, shape.numpy()]).astype(np.float32)


@register_model(reads="signal", source="how often each class occurs", settings=SETTINGS)
def class_prior(shape: InputShape) -> nn.Module:
    """Baseline: how often each class occurs among the training rows."""
    return ClassPrior(shape)


@register_model(
    reads="signal", source="Ke et al. 2017 (LightGBM), as scikit-learn's HistGradientBoosting", settings=SETTINGS
)
def boosting(shape: InputShape) -> nn.Module:
    """Baseline: gradient-boosted trees on RR intervals and the coarse shape of the beat.

    References
    ----------
    .. [1] Ke et al., LightGBM: a highly efficient gradient boosting decision tree, NeurIPS 2017. Ours takes
       scikit-learn's trees with its default settings.
    """
    return Boosting(shape)


@register_model(reads="signal", source="Wang et al. 2017 (arXiv:1611.06455), untrained", settings=SETTINGS)
def random_encoder(shape: InputShape) -> nn.Module:
    """Baseline: `resnet1d_wang` with random weights that are never trained, and a linear head."""
    return RandomEncoder(shape)
