"""From indexed records to the rows of a store: columns, labels and splits, of one database or of several together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ecgprep.config import Prepare
from ecgprep.datasets.base import Database, Found, RecordRef
from ecgprep.index_blocks import IndexedBlock
from ecgprep.splits import Protocol, Rows, cross_protocol, leaking, patient_protocols, score_classes, widened
from store.errors import UserError
from store.patients import NUMBER_COLUMN, SHARE_COLUMN, patient_shares
from store.plan import Values

UNKNOWN = {"U": "", "f": np.nan, "i": -1, "b": False}


@dataclass(frozen=True)
class Index:
    """The first pass over a database: its rows, in their final order, and what was left out.

    Parameters
    ----------
    database : Database
        The database.
    found : Found
        What of it is here.
    prepare : Prepare
        The recipe, resolved for it.
    patients : tuple of str
        Its patients, whether chosen or not, in order.
    records : tuple of RecordRef
        The records that can be used.
    block : IndexedBlock
        Their rows, and the records that cannot.
    """

    database: Database
    found: Found
    prepare: Prepare
    patients: tuple[str, ...]
    records: tuple[RecordRef, ...]
    block: IndexedBlock

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.block.start)


def shared_schemes(databases: Sequence[Database], prepares: Sequence[Prepare]) -> tuple[str, ...]:
    """Return the label schemes that all databases have, in the order of the first.

    Raises
    ------
    UserError
        If there is none.
    """
    known = [database.schemes(prepare) for database, prepare in zip(databases, prepares, strict=True)]
    shared = tuple(scheme for scheme in known[0] if all(scheme in schemes for schemes in known))
    if not shared:
        said = "; ".join(f"{database.name}: {', '.join(own)}" for database, own in zip(databases, known, strict=True))
        raise UserError(f"these databases share no label scheme ({said}); build them one by one")
    return shared


def make_rows(indexes: Sequence[Index], n_samples: int) -> tuple[Rows, list[Protocol]]:
    """Return the rows of all databases, one after the other, and their split protocols, the default one first.

    Parameters
    ----------
    indexes : sequence of Index
        One a database.
    n_samples : int
        Length of a row; shorter ones get the columns ``valid_from`` and ``valid_n``.
    """
    facts = [_facts_of_rows(index) for index in indexes]
    parts = [_rows_of(index, known) for index, known in zip(indexes, facts, strict=True)]
    columns = _joined_columns([part.columns for part in parts])
    if "beat" in columns:
        columns |= _neighbours(columns["record"], columns.pop("beat"))
    valid_n = np.concatenate([index.block.valid_n for index in indexes])
    if (valid_n < n_samples).any():
        columns |= {"valid_from": np.zeros(len(valid_n), np.int32), "valid_n": valid_n}
    rows = Rows(columns, _joined_labels([part.labels for part in parts], [part.n for part in parts]))
    if len(indexes) == 1:
        protocols = indexes[0].database.protocols(rows, facts[0], indexes[0].prepare)
    else:
        protocols = _joined_protocols(indexes, rows, parts, facts)
    unknown = [index.database.unknown_patients(known) for index, known in zip(indexes, facts, strict=True)]
    note = "; ".join(why for why in unknown if why)
    return rows, [leaking(protocol, note) if note else protocol for protocol in protocols]


def _rows_of(index: Index, facts: Sequence[Mapping[str, Any]]) -> Rows:
    n_rows = index.block.n_rows
    number = {patient: i for i, patient in enumerate(index.patients)}
    columns = {
        "record": np.repeat([record.record for record in index.records], n_rows),
        "patient": np.repeat([record.patient for record in index.records], n_rows),
        "database": np.full(index.n_rows, index.database.name),
        **index.block.columns,
        NUMBER_COLUMN: np.repeat([number[record.patient] for record in index.records], n_rows),
    }
    columns[SHARE_COLUMN] = patient_shares(len(number))[columns[NUMBER_COLUMN]]
    return Rows(columns, index.database.labels(facts, index.block.marks, index.prepare))


def _facts_of_rows(index: Index) -> list[Mapping[str, Any]]:
    pairs = zip(index.records, index.block.n_rows.tolist(), strict=True)
    return [record.facts for record, n_rows in pairs for _ in range(n_rows)]


def _joined_columns(parts: Sequence[Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """Put columns one after the other; what a database does not have is unknown there."""
    if len(parts) == 1:
        return dict(parts[0])
    names = list(dict.fromkeys(name for part in parts for name in part))
    joined = {}
    for name in names:
        model = next(part[name] for part in parts if name in part)
        unknown = UNKNOWN[model.dtype.kind]
        blocks = [
            part.get(name, np.full((len(part["record"]), *model.shape[1:]), unknown, model.dtype)) for part in parts
        ]
        joined[name] = np.concatenate(blocks)
    return joined


def _joined_labels(parts: Sequence[Mapping[str, Values]], n_rows: Sequence[int]) -> dict[str, Values]:
    """Put labels one after the other; a scheme that a database does not have is unknown there."""
    joined = {}
    for scheme in dict.fromkeys(scheme for part in parts for scheme in part):
        own = [part[scheme] for part in parts if scheme in part]
        if any(label.attributes["classes"] != own[0].attributes["classes"] for label in own):
            raise UserError(f"these databases have different classes in the label scheme {scheme!r}; build them apart")
        model = own[0].values
        unknown = 255 if own[0].attributes["multilabel"] else -1
        blocks = [
            part[scheme].values if scheme in part else np.full((n, *model.shape[1:]), unknown, model.dtype)
            for part, n in zip(parts, n_rows, strict=True)
        ]
        rule = "; ".join(dict.fromkeys(str(label.attributes["rule"]) for label in own))
        joined[scheme] = Values(np.concatenate(blocks), {**own[0].attributes, "rule": rule})
    return joined


def _joined_protocols(
    indexes: Sequence[Index], rows: Rows, parts: Sequence[Rows], facts: Sequence[Sequence[Mapping[str, Any]]]
) -> list[Protocol]:
    """Return training on one database and testing on another, draws over all, and each database's own protocols."""
    prepares = [index.prepare for index in indexes]
    databases = [index.database for index in indexes]
    scheme = shared_schemes(databases, prepares)[0]
    seed = prepares[0].seed
    known = list(zip(databases, prepares, parts, facts, strict=True))
    usable = np.concatenate([database.usable(part, own, prepare) for database, prepare, part, own in known])
    names = [database.name for database in databases]
    scored = score_classes(rows.labels[scheme])
    crossed = [cross_protocol(rows, a, b, scheme, scored, usable, seed) for a, b in permutations(names, 2)]
    pooled = patient_protocols(rows, scheme, scored, usable, seed)
    own = [
        widened(protocol, database.name, rows.columns["database"] == database.name)
        for database, prepare, part, of_rows in known
        for protocol in database.protocols(part, of_rows, prepare)
    ]
    return [*(protocol for protocol in crossed if protocol), *pooled, *own]


def _neighbours(record: NDArray[Any], beat: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    """Return the rows of the beats before and after each; −1 where that beat has no row."""
    row = np.arange(len(beat))
    follows = np.zeros(len(beat), bool)
    follows[1:] = (record[1:] == record[:-1]) & (beat[1:] == beat[:-1] + 1)
    precedes = np.append(follows[1:], False)
    return {"prev_row": np.where(follows, row - 1, -1), "next_row": np.where(precedes, row + 1, -1)}
