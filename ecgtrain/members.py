"""The runs that an ensemble is made of: their answers, calibrated, and a look at whether they go together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ecgtrain.predicting import combined, probabilities
from ecgtrain.predictions import read_predictions
from ecgtrain.run_folder import FINISHED, RunFolder
from ecgtrain.scores import score
from store.errors import MissingDataError, UserError

SAME = {
    "task": "task",
    "scheme": "labels",
    "classes": "classes",
    "score_classes": "scored classes",
    "protocol": "protocol",
    "leaks": "leaks",
}
LEAST_PROBABILITY = 1e-7

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Answers:
    """What one run says of the rows of validation or test, a line a row.

    Parameters
    ----------
    table : pyarrow.Table
        The columns of the first window of each row.
    truth : ndarray of int8, shape (n_rows, n_classes)
        What is true.
    probability : ndarray of float32, shape (n_rows, n_classes)
        Means over windows of what the run says at its own temperature.
    decision : ndarray of bool, shape (n_rows, n_classes)
        What the run decides: the most probable class, or all above their thresholds.
    """

    table: pa.Table
    truth: NDArray[np.int8]
    probability: Floats
    decision: NDArray[np.bool_]

    def logits(self, *, multilabel: bool) -> Floats:
        """Return the probabilities as logits."""
        return as_logits(self.probability, multilabel=multilabel)


@dataclass(frozen=True)
class Member:
    """A finished run with its answers.

    Parameters
    ----------
    folder : RunFolder
        Its folder.
    footer : mapping
        What its predictions say of it.
    temperature : float
        What its logits are divided by; 1 where it fitted none.
    validation, test : Answers
        What it says.
    """

    folder: RunFolder
    footer: Mapping[str, Any]
    temperature: float
    validation: Answers
    test: Answers

    @property
    def multilabel(self) -> bool:
        """Whether a row can have several classes."""
        return bool(self.footer["task"] == "multi")

    @property
    def validation_f1(self) -> float:
        """Macro F1 on validation over the scored classes."""
        found = score(self.validation.truth == 1, self.validation.probability, multilabel=self.multilabel)
        return found.macro([self.footer["classes"].index(name) for name in self.footer["score_classes"]])["f1"]


def as_logits(probability: Floats, *, multilabel: bool) -> Floats:
    """Return probabilities as logits: those of a softmax or, of several labels a row, of a sigmoid each."""
    p = np.clip(probability.astype(np.float64), LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
    return (np.log(p) - np.log1p(-p) if multilabel else np.log(p)).astype(np.float32)


def read_member(folder: RunFolder) -> Member:
    """Return a finished run with its answers.

    Raises
    ------
    MissingDataError
        If it is not finished.
    UserError
        If it is a run over folds, or an ensemble.
    """
    if folder.state != FINISHED:
        raise MissingDataError(
            f"run {folder.name!r} is {folder.state or 'not started'}; finish it with `ecgtrain run --resume "
            f"{folder.name}`, or leave it out"
        )
    if folder.is_ensemble:
        raise UserError(f"{folder.name} is an ensemble; name its members instead: {', '.join(folder.members)}")
    if (folder.path / "fold-0").is_dir():
        raise UserError(f"{folder.name} is a run over folds; name the same fold of each run: {folder.name}/fold-0")
    calibration = folder.read_json("calibration.json")
    temperature = calibration["temperature"] or 1.0
    found = {part: read_predictions(folder.path / "predictions" / f"{part}.parquet") for part in ("validation", "test")}
    answers = {part: _answers(table, footer, calibration) for part, (table, footer) in found.items()}
    return Member(folder, found["test"][1], temperature, answers["validation"], answers["test"])


def _answers(table: pa.Table, footer: Mapping[str, Any], calibration: Mapping[str, Any]) -> Answers:
    rows, first = np.unique(table["row"].to_numpy(), return_index=True)
    multilabel, shape = footer["task"] == "multi", (len(rows), -1, len(footer["classes"]))
    said = _columns(table, "p", footer).reshape(shape)
    logits = _columns(table, "logit", footer).reshape(shape)
    calibrated = said
    if not np.isnan(logits).any():
        calibrated = probabilities(logits / np.float32(calibration["temperature"] or 1.0), multilabel=multilabel)
    mean = combined(said)
    if multilabel:
        decision = mean >= np.array([calibration["thresholds"][name] for name in footer["classes"]])
    else:
        decision = np.arange(mean.shape[1]) == mean.argmax(axis=1)[:, None]
    truth = _columns(table, "y", footer)[first].astype(np.int8)
    return Answers(table.take(first), truth, combined(calibrated), decision)


def _columns(table: pa.Table, prefix: str, footer: Mapping[str, Any]) -> Floats:
    columns = [table[f"{prefix}_{name}"].to_numpy() for name in footer["classes"]]
    return np.stack(columns, axis=1).astype(np.float32)


def check_members(members: Sequence[Member]) -> None:
    """Raise if runs cannot answer together.

    Raises
    ------
    UserError
        If one is there twice, or two differ in rows, labels or protocol, with what differs.
    """
    first = members[0]
    for i, member in enumerate(members):
        if any(member.folder.path.resolve() == other.folder.path.resolve() for other in members[:i]):
            raise UserError(f"{member.folder.name} is named twice; an ensemble takes each run once")
        if differences := _differences(first, member):
            names = f"{first.folder.name} and {member.folder.name}"
            raise UserError(f"{names} cannot answer together: they differ in {', '.join(differences)}")


def _differences(a: Member, b: Member) -> list[str]:
    found = [
        f"{words} ({_say(a.footer[key])} and {_say(b.footer[key])})"
        for key, words in SAME.items()
        if a.footer[key] != b.footer[key]
    ]
    if a.footer["store"]["rows_digest"] != b.footer["store"]["rows_digest"]:
        found.append(f"rows of the store ({a.footer['store']['name']} and {b.footer['store']['name']})")
    for part in ("validation", "test"):
        one, other = getattr(a, part), getattr(b, part)
        if not found and not (one.table["row"].equals(other.table["row"]) and np.array_equal(one.truth, other.truth)):
            found.append(f"{part} rows or their labels")
    return found


def _say(value: object) -> str:
    return (", ".join(map(str, value)) or "none") if isinstance(value, list) else str(value)


def disagreement(answers: Sequence[Answers]) -> list[list[float]]:
    """Return for each pair of runs the share of rows, or of several labels a row that of labels, decided differently.

    Parameters
    ----------
    answers : sequence of Answers
        Of the same rows.

    References
    ----------
    Kuncheva LI, Whitaker CJ. Measures of diversity in classifier ensembles. Machine Learning 51 (2003): the
    disagreement measure, of decisions instead of hits. Departure: of several labels a row the mean over labels.
    """
    return [[_disagree(one.decision, other.decision) for other in answers] for one in answers]


def _disagree(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    differs = one != other
    single = bool((one.sum(axis=1) == 1).all() and (other.sum(axis=1) == 1).all())
    return float(differs.any(axis=1).mean() if single else differs.mean())
