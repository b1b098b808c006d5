"""A run's test predictions scored. The rows themselves are not kept: forty runs of two million rows fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ecgeval.benchmark import is_ptbxl, ptbxl_numbers
from ecgeval.calibration import apply_temperature, calibration_figures
from ecgeval.config import Evaluate
from ecgeval.decision import Decision, decide
from ecgeval.header import Header, StoreIdentity
from ecgeval.metrics import Array, Counts, exact_match, predict_labels
from ecgeval.passport import Key, Number, Provenance, Sample, provenance
from ecgeval.predictions import Predictions, read_predictions
from ecgeval.runs import Calibration, Run
from ecgeval.scoring import macro_figures, score_rows
from ecgeval.windows import combine_windows, window_counts

ROWS_AT_ONCE = 100_000  # whose probabilities are scaled: of all at once there would be several copies
ABOUT = ("database", "sex", "age", "quality", "t_s")


@dataclass(frozen=True)
class Evaluation:
    """One run, scored on its test split.

    Parameters
    ----------
    run : Run
        The run.
    sample : Sample
        What was scored.
    decision : Decision
        How probabilities became labels.
    source : Provenance
        What its numbers have in common.
    counts : Counts
        Of each class, shape (n_classes,).
    numbers : dict of Key to Number
        Every number.
    at_half : dict of Key to Number
        The same without intervals at a threshold of 0.5; empty for a single-label task.
    resampled : dict of Key to ndarray, shape (n_resamples,)
        Some numbers in each resample; see `ecgeval.scoring.Scored`.
    right : ndarray of uint8
        Which rows have all labels right, eight to a byte.
    folds : dict of int to dict of str to float
        Macro means of each fold; empty without folds.
    by_windows : dict of str to dict of str to float
        Macro means with windows combined by ``mean`` and by ``max``; empty where no row has several.
    calibration : dict of str to dict of str to float
        Figures of calibration, of the probabilities as they are and at the fitted temperature.
    validation_f1 : float
        Macro F1 on validation by the same rule; NaN where the run has no validation predictions.
    """

    run: Run
    sample: Sample
    decision: Decision
    source: Provenance
    counts: Counts
    numbers: dict[Key, Number]
    at_half: dict[Key, Number]
    resampled: dict[Key, Array]
    right: NDArray[np.uint8]
    folds: dict[int, dict[str, float]]
    by_windows: dict[str, dict[str, float]]
    calibration: dict[str, dict[str, float]]
    validation_f1: float

    @property
    def header(self) -> Header:
        """The footer of the run's test predictions."""
        return self.run.header

    @property
    def rule(self) -> str:
        """How probabilities became labels, in words."""
        return self.decision.rule

    def of(self, metric: str, average: str = "macro", label: str = "") -> Number:
        """Return one number."""
        return self.numbers[Key(metric, average, label)]

    def right_rows(self) -> NDArray[np.bool_]:
        """Return which rows have all labels right, shape (n_rows,)."""
        return np.unpackbits(self.right, count=self.sample.n_rows).astype(bool)


def evaluate(run: Run, config: Evaluate) -> Evaluation:
    """Return a run's numbers on its test split, with intervals.

    Parameters
    ----------
    run : Run
        The run.
    config : Evaluate
        How to score.
    """
    predictions = read_predictions(run.test_file)
    return evaluate_predictions(run, predictions, config, _validation_f1(run, config))


def evaluate_predictions(
    run: Run, predictions: Predictions, config: Evaluate, validation_f1: float = float("nan")
) -> Evaluation:
    """Return the numbers of test predictions, with intervals.

    Parameters
    ----------
    run : Run
        Whose predictions they are.
    predictions : Predictions
        Every window.
    config : Evaluate
        How to score.
    validation_f1 : float
        Macro F1 on validation.
    """
    test = combine_windows(predictions, config.window, config.unit)
    folds = np.unique(test.fold).tolist()
    decision = decide(run, folds, config)
    predicted = decision.predict(test)
    sample = _sample(test, int(window_counts(predictions).max()))
    n_resamples = config.bootstrap if sample.n_patients > 1 else 0
    how = (f"{config.window} of a {config.unit}", n_resamples, config.seed, str(run.environment.get("commit") or ""))
    source = provenance(run.header, sample, decision.rule, *how)
    scored = score_rows(test, predicted, source)
    return Evaluation(
        run=run,
        sample=sample,
        decision=decision,
        source=source,
        counts=scored.counts,
        numbers=scored.numbers | (ptbxl_numbers(test, source) if is_ptbxl(test) else {}),
        at_half=_at_half(test, run.header, sample, config) if decision.thresholds else {},
        resampled=scored.resampled,
        right=np.packbits(exact_match(test.y, predicted)),
        folds=_by_fold(test, predicted, folds),
        by_windows=_by_windows(predictions, decision, config) if sample.most_windows > 1 else {},
        calibration=_calibration(test, run.calibrations, folds),
        validation_f1=validation_f1,
    )


def evaluate_arrays(
    y: ArrayLike,
    p: Mapping[str, ArrayLike],
    classes: Sequence[str],
    *,
    patients: ArrayLike | None = None,
    thresholds: Mapping[str, float] | None = None,
    config: Evaluate | None = None,
) -> list[Evaluation]:
    """Return the numbers of models whose predictions are arrays, for every table that takes runs.

    Parameters
    ----------
    y : array_like of bool, shape (n, n_classes)
        Labels. Where each row has exactly one the task is taken as single-label, unless there are thresholds.
    p : mapping of str to array_like, shape (n, n_classes)
        Each model's probabilities.
    classes : sequence of str
        Their names.
    patients : array_like, shape (n,), optional
        Patient of each row; each row one of its own by default.
    thresholds : mapping of str to float, optional
        Threshold a class of a multi-label task; 0.5 by default.
    config : Evaluate, optional
        How to score.
    """
    labels = np.asarray(y, dtype=bool)
    n = len(labels)
    single = thresholds is None and bool((labels.sum(axis=1) == 1).all())
    names, place = np.unique(np.arange(n) if patients is None else np.asarray(patients), return_inverse=True)
    patient = place.astype(np.int32)
    evaluations = []
    for model, probabilities in p.items():
        header = Header(
            schema=1, task="single" if single else "multi", classes=tuple(classes), score_classes=tuple(classes),
            scheme="given", protocol="given", run=model, model=model,
            store=StoreIdentity(name="arrays", digest="", rows_digest=""),
        )  # fmt: skip
        rows = Predictions(
            header, np.arange(n), np.zeros(n, np.int16), np.full(n, -1, np.int16), patient, patient,
            tuple(map(str, names)), tuple(map(str, names)), labels, np.asarray(probabilities, dtype=np.float64),
        )  # fmt: skip
        run = Run(Path(model), header, {-1: Calibration(dict(thresholds or {}))})
        evaluations.append(evaluate_predictions(run, rows, config or Evaluate()))
    return evaluations


def read_test(run: Run, config: Evaluate) -> Predictions:
    """Return a run's test rows again, with what is known about them, for what needs rows.

    Parameters
    ----------
    run : Run
        The run.
    config : Evaluate
        How its windows are combined.
    """
    return combine_windows(read_predictions(run.test_file, ABOUT), config.window, config.unit)


def _sample(test: Predictions, most_windows: int) -> Sample:
    n_records, n_patients = (len(np.unique(ids)) for ids in (test.record, test.patient))
    return Sample(len(test), n_records, n_patients, test.digest(), most_windows, n_patients == len(test))


def _at_half(test: Predictions, header: Header, sample: Sample, config: Evaluate) -> dict[Key, Number]:
    source = provenance(header, sample, "threshold 0.5", f"{config.window} of a {config.unit}", 0, config.seed)
    return score_rows(test, predict_labels(test.p), source).numbers


def _by_fold(test: Predictions, predicted: NDArray[np.bool_], folds: list[int]) -> dict[int, dict[str, float]]:
    if len(folds) < 2:
        return {}
    return {fold: macro_figures(test.take(test.fold == fold), predicted[test.fold == fold]) for fold in folds}


def _by_windows(predictions: Predictions, decision: Decision, config: Evaluate) -> dict[str, dict[str, float]]:
    combined = {how: combine_windows(predictions, how, config.unit) for how in ("mean", "max")}
    return {how: macro_figures(rows, decision.predict(rows)) for how, rows in combined.items()}


def _calibration(
    test: Predictions, calibrations: Mapping[int, Calibration], folds: list[int]
) -> dict[str, dict[str, float]]:
    multilabel = test.header.task == "multi"
    figures = {"as predicted": calibration_figures(test.y, test.p, multilabel)}
    fitted = {fold: calibrations.get(fold, calibrations.get(-1, Calibration())).temperature for fold in folds}
    temperatures = {fold: value for fold, value in fitted.items() if value is not None}
    if len(temperatures) == len(folds):
        scaled = test.p.copy()
        for fold, temperature in temperatures.items():
            rows = np.flatnonzero(test.fold == fold)
            for part in np.array_split(rows, len(rows) // ROWS_AT_ONCE + 1):
                scaled[part] = apply_temperature(test.p[part], temperature, multilabel)
        name = f"temperature {', '.join(f'{t:.3f}' for t in dict.fromkeys(temperatures.values()))}"
        figures[name] = calibration_figures(test.y, scaled, multilabel)
    return figures


def _validation_f1(run: Run, config: Evaluate) -> float:
    if not run.validation_file.is_file():
        return float("nan")
    rows = combine_windows(read_predictions(run.validation_file), config.window, config.unit)
    decision = decide(run, np.unique(rows.fold).tolist(), config)
    return macro_figures(rows, decision.predict(rows))["f1"]
