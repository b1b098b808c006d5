"""Split protocols: which rows train, validate and test, made once and stored with the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgprep.stratify import deal_patients
from store.plan import Values
from store.vocabulary import AAMI_CLASSES, AAMI_SCORE_CLASSES, TEST, TRAIN, UNUSED, VALIDATION

CROSS_FOLDS = 7  # one of them validates


@dataclass(frozen=True)
class Rows:
    """The rows of a store before they are filled.

    Parameters
    ----------
    columns : mapping
        Columns by name, one value a row.
    labels : mapping
        Labels by scheme.
    """

    columns: Mapping[str, NDArray[Any]]
    labels: Mapping[str, Values]

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.columns["record"])


@dataclass(frozen=True)
class Protocol:
    """One use of the rows, with what a reader must know of it; see `store.read.Split`."""

    name: str
    values: NDArray[np.int8]
    scheme: str
    score_classes: Sequence[str]
    rule: str
    unit: str = "patient"
    leaks: Sequence[str] = ()
    leak_note: str = ""
    kind: str = "split"

    def stored(self) -> Values:
        """Return the values with the attributes that the store keeps."""
        attributes = {
            "scheme": self.scheme,
            "score_classes": list(self.score_classes),
            "rule": self.rule,
            "unit": self.unit,
            "leaks": list(self.leaks),
            "leak_note": self.leak_note,
            "kind": self.kind,
        }
        return Values(self.values.astype(np.int8), attributes)


def strata(label: Values) -> NDArray[np.int64]:
    """Return one number a row for what a split should spread evenly: its class, or its combination of classes.

    Rows without a label get −1. Combinations are counted in the order of their classes, the last one first.
    """
    values = np.asarray(label.values)
    if values.ndim == 1:
        return values.astype(np.int64)
    unknown = ((values == 255) | (values == 0)).all(axis=1)
    _, combination = np.unique((values == 1)[:, ::-1], axis=0, return_inverse=True)
    return np.where(unknown, -1, combination).astype(np.int64)


def patient_parts(
    stratum: NDArray[np.int64],
    patients: NDArray[Any],
    usable: NDArray[np.bool_],
    shares: Sequence[float],
    seed: int,
) -> NDArray[np.int8] | None:
    """Return the part of each usable row, no patient in two; −1 elsewhere.

    Parameters
    ----------
    stratum : ndarray of int64, shape (n_rows,)
        What to spread evenly over the parts.
    patients : ndarray of str, shape (n_rows,)
        Whose row it is.
    usable : ndarray of bool, shape (n_rows,)
        Rows that take part.
    shares : sequence of float
        Share of each part; they add to 1.
    seed : int
        Seed of the draw.

    Returns
    -------
    ndarray of int8, shape (n_rows,), or None
        None where there are too few patients to give every part one, or fewer rows than parts in every stratum.
    """
    rows = np.flatnonzero(usable)
    _, n_rows = np.unique(stratum[rows], return_counts=True)
    enough = round(len(np.unique(patients[rows])) * min(shares), 6) >= 1
    if not enough or n_rows.max() < len(shares):
        return None
    dealt = deal_patients(stratum[rows], np.asarray(patients[rows], np.str_), shares, seed)
    if len(np.unique(dealt)) < len(shares):
        return None
    parts = np.full(len(usable), UNUSED, np.int8)
    parts[rows] = dealt
    return parts


def patient_protocols(
    rows: Rows, scheme: str, score_classes: Sequence[str], usable: NDArray[np.bool_], seed: int
) -> list[Protocol]:
    """Return the protocols that any database with patients has: 70/15/15, five and ten folds.

    Parameters
    ----------
    rows : Rows
        The rows.
    scheme : str
        The label scheme to spread evenly.
    score_classes : sequence of str
        Classes that averages are taken over.
    usable : ndarray of bool, shape (n_rows,)
        Rows that take part.
    seed : int
        Seed of the draws.
    """
    stratum = strata(rows.labels[scheme])
    usable = usable & (stratum >= 0)
    drawn = {
        "patient-70-15-15": ((0.70, 0.15, 0.15), "into 70/15/15 %", "split"),
        "kfold-5": ((0.2,) * 5, "into 5 folds", "folds"),
        "kfold-10": ((0.1,) * 10, "into 10 folds", "folds"),
    }
    protocols = []
    for name, (shares, into, kind) in drawn.items():
        values = patient_parts(stratum, rows.columns["patient"], usable, shares, seed)
        if values is not None:
            rule = f"patients drawn {into}, classes spread as evenly as whole patients allow, seed {seed}"
            protocols.append(Protocol(name, values, scheme, score_classes, rule, kind=kind))
    return protocols


def score_classes(label: Values) -> tuple[str, ...]:
    """Return the classes that averages are taken over: N, S, V and F of AAMI, else all."""
    classes = tuple(label.attributes["classes"])
    return AAMI_SCORE_CLASSES if classes == AAMI_CLASSES else classes


def random_rows(stratum: NDArray[np.int64], shares: Sequence[float], seed: int) -> NDArray[np.int8]:
    """Return a split of single rows at random, class by class: it leaks patients and neighbouring beats.

    Parameters
    ----------
    stratum : ndarray of int64, shape (n_rows,)
        Class of each row; −1 is left out.
    shares : sequence of float
        Shares of validation and test; the rest trains.
    seed : int
        Seed of the draw.
    """
    generator = np.random.default_rng(seed)
    values = np.full(len(stratum), UNUSED, np.int8)
    for number in np.unique(stratum[stratum >= 0]):
        members = generator.permutation(np.flatnonzero(stratum == number))
        n_validation, n_test = (round(share * len(members)) for share in shares)
        values[members] = TRAIN
        values[members[:n_test]] = TEST
        values[members[n_test : n_test + n_validation]] = VALIDATION
    return values


def cross_protocol(
    rows: Rows,
    train_on: str,
    test_on: str,
    scheme: str,
    score_classes: Sequence[str],
    usable: NDArray[np.bool_],
    seed: int,
) -> Protocol | None:
    """Return the protocol that trains on one database and tests on another, both with their natural mix of classes.

    Validation is drawn by patient from the database that trains. A patient who is in both does not train.

    Parameters
    ----------
    rows : Rows
        The rows of both databases, and of others perhaps.
    train_on, test_on : str
        Names of the databases.
    scheme : str
        The label scheme that both have.
    score_classes : sequence of str
        Classes that averages are taken over.
    usable : ndarray of bool, shape (n_rows,)
        Rows that take part.
    seed : int
        Seed of the draw.

    Returns
    -------
    Protocol or None
        None where the one database has fewer than two patients, or the other no row.
    """
    database, patients = rows.columns["database"], rows.columns["patient"]
    stratum = strata(rows.labels[scheme])
    usable = usable & (stratum >= 0)
    tested = usable & (database == test_on)
    trained = usable & (database == train_on) & ~np.isin(patients, np.unique(patients[tested]))
    n_folds = min(CROSS_FOLDS, len(np.unique(patients[trained])))
    if n_folds < 2 or not tested.any():
        return None
    parts = patient_parts(stratum, patients, trained, (1 - 1 / n_folds, 1 / n_folds), seed)
    if parts is None:
        return None
    values = np.select([parts == 0, parts == 1], [TRAIN, VALIDATION], UNUSED)
    rule = (
        f"train on {train_on}, validate on one patient in {n_folds} of it, drawn at random with seed {seed}, "
        f"test on {test_on}"
    )
    values = np.where(tested, TEST, values).astype(np.int8)
    return Protocol(f"cross-{train_on}-{test_on}", values, scheme, score_classes, rule)


def widened(protocol: Protocol, database: str, rows: NDArray[np.bool_]) -> Protocol:
    """Return one database's protocol over the rows of several, under the name ``<database>-<protocol>``.

    Parameters
    ----------
    protocol : Protocol
        Of the database's rows alone.
    database : str
        Its name.
    rows : ndarray of bool, shape (n_rows,)
        Which rows are the database's; the others are unused.
    """
    values = np.full(len(rows), UNUSED, np.int8)
    values[rows] = protocol.values
    return replace(protocol, name=f"{database}-{protocol.name}", values=values)


def leaking(protocol: Protocol, note: str) -> Protocol:
    """Return a protocol that declares that it leaks patients, and why."""
    leaks = tuple(dict.fromkeys(("patient", *protocol.leaks)))
    return replace(protocol, unit="record", leaks=leaks, leak_note="; ".join(filter(None, (protocol.leak_note, note))))
