"""From the index of a database to the plan of a store: rows, labels, splits, attributes, and what each rule dropped."""

from __future__ import annotations

import importlib.metadata
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ecgprep import croissant
from ecgprep.config import NOT_IN_HASH, Prepare
from ecgprep.datasets.base import Database, Found, preset_of
from ecgprep.index import IndexedRecord, Quarantined
from ecgprep.representations import Representation, parse_reps
from ecgprep.splits import Protocol, Rows
from pipelines.recipe import recipe_hash
from store.plan import StorePlan, Values
from store.schema import SCHEMA_VERSION, representation_spec, signal_spec
from store.vocabulary import SPLIT_NAMES, TEST, TRAIN, UNUSED, VALIDATION

SOFTWARE = ("ecgprep", "numpy", "scipy", "zarr", "zarrs", "scikit-learn", "wfdb", "pyts", "PyWavelets")


@dataclass(frozen=True)
class Index:
    """The first pass over a database: its rows, in their final order, and what was left out."""

    database: Database
    found: Found
    records: tuple[IndexedRecord, ...]
    quarantined: tuple[Quarantined, ...]


def resolve_reps(prepare: Prepare, n_samples: int) -> tuple[Representation, ...]:
    """Return the representations that a resolved recipe asks for, with every default filled in."""
    if not prepare.reps:
        return ()
    assert prepare.fs is not None
    kind: Literal["beat", "record"] = "beat" if preset_of(str(prepare.unit)) else "record"
    return tuple(parse_reps(prepare.reps, kind=kind, fs_hz=prepare.fs, n_samples=n_samples))


def row_samples(index: Index, prepare: Prepare) -> int:
    """Return the length of a row: the preset's, or that of the longest record."""
    preset = preset_of(str(prepare.unit))
    return preset.n_samples if preset else max(int(record.valid_n.max()) for record in index.records)


def make_plan(index: Index, prepare: Prepare) -> tuple[StorePlan, tuple[Representation, ...]]:
    """Return the plan of the store that holds an index's rows, and its representations."""
    n_samples = row_samples(index, prepare)
    reps = resolve_reps(prepare, n_samples)
    facts = [record.ref.facts for record in index.records for _ in record.start]
    rows = _assemble(index, facts, prepare, n_samples)
    protocols = index.database.protocols(rows, facts, prepare)
    key = recipe_hash(prepare, NOT_IN_HASH)
    name = f"{index.database.name}-{key[:8]}.zarr"
    attributes = _attributes(index, prepare, rows, protocols, key)
    values = _stored_values(rows, protocols)
    files = {"quarantine.jsonl": _quarantine_text(index.quarantined), "sources.sha256": _sources_text(index.records)}
    signal = signal_spec(rows.n, prepare.leads or (), n_samples, _signal_attributes(index, prepare))
    attributes["rows_key"] = StorePlan(name, (signal,), values, attributes, files).digest
    pictures = [representation_spec(rep.name, signal, rep.shape, rep.dtype, _picture_attributes(rep)) for rep in reps]
    plan = StorePlan(name, (signal, *pictures), values, attributes, files)
    files = {**files, "croissant.json": croissant.describe(name, attributes, plan.specs)}
    return StorePlan(name, plan.filled, values, attributes, files), reps


def _assemble(index: Index, facts: Sequence[Mapping[str, Any]], prepare: Prepare, n_samples: int) -> Rows:
    """Put the records' rows one after the other, with labels and neighbours."""
    records = index.records
    columns = {name: np.concatenate([record.columns[name] for record in records]) for name in records[0].columns}
    if "beat" in columns:
        columns |= _neighbours(columns["record"], columns.pop("beat"))
    valid_n = np.concatenate([record.valid_n for record in records])
    if (valid_n < n_samples).any():
        columns |= {"valid_from": np.zeros(len(valid_n), np.int32), "valid_n": valid_n}
    symbols = columns.get("symbol", np.full(len(facts), ""))
    return Rows(columns, index.database.labels(facts, symbols, prepare))


def _neighbours(record: NDArray[Any], beat: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    """Return the rows of the beats before and after each; −1 where that beat has no row."""
    row = np.arange(len(beat))
    follows = np.zeros(len(beat), bool)
    follows[1:] = (record[1:] == record[:-1]) & (beat[1:] == beat[:-1] + 1)
    precedes = np.append(follows[1:], False)
    return {"prev_row": np.where(follows, row - 1, -1), "next_row": np.where(precedes, row + 1, -1)}


def _stored_values(rows: Rows, protocols: Sequence[Protocol]) -> dict[str, Values]:
    return {
        **{f"label/{scheme}": label for scheme, label in rows.labels.items()},
        **{f"column/{name}": Values(values, {}) for name, values in rows.columns.items()},
        **{f"split/{protocol.name}": protocol.stored() for protocol in protocols},
    }


def _signal_attributes(index: Index, prepare: Prepare) -> dict[str, Any]:
    used = [sorted({record.sources[lead] for record in index.records}) for lead in range(len(prepare.leads or ()))]
    clipped = sum(record.n_clipped for record in index.records)
    sources = dict(zip(prepare.leads or (), used, strict=True))
    return {"fs_hz": prepare.fs, "lead_sources": sources, "clipped_samples": clipped}


def _picture_attributes(rep: Representation) -> dict[str, Any]:
    scale = {"value_range": list(rep.value_range)} if rep.value_range else {}
    return {"parameters": rep.parameters(), **scale}


def _attributes(index: Index, prepare: Prepare, rows: Rows, protocols: Sequence[Protocol], key: str) -> dict[str, Any]:
    database = index.database
    return {
        "schema": SCHEMA_VERSION,
        "unit": prepare.unit,
        "default_scheme": database.default_scheme,
        "default_protocol": database.default_protocol,
        "synthetic": index.found.synthetic,
        "recipe": prepare.model_dump(mode="json", exclude=NOT_IN_HASH),
        "recipe_hash": key,
        "software": {name: importlib.metadata.version(name) for name in SOFTWARE},
        "card": _card(index, rows),
        "audit": [*_record_audit(index), *_protocol_audit(rows, protocols)],
    }


def _card(index: Index, rows: Rows) -> dict[str, Any]:
    database = index.database
    about = {
        "name": database.name,
        "title": database.title,
        "version": index.found.version,
        "licence": database.licence,
        "citation": database.citation,
        "url": database.url,
        "records_published": index.found.published,
        "records_used": len(index.records),
        "records_quarantined": len(index.quarantined),
        "patients": len(np.unique(rows.columns["patient"])),
    }
    return {"databases": [about], "rows": rows.n, "synthetic": index.found.synthetic}


def _record_audit(index: Index) -> list[dict[str, Any]]:
    """Return how many records and annotations each rule of the first pass kept and dropped."""
    kept: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    for record in index.records:
        for rule, (yes, no) in record.audit.items():
            kept[rule] += yes
            dropped[rule] += no
    records = {"rule": "record can be used", "kept": len(index.records), "dropped": len(index.quarantined)}
    return [records, *({"rule": rule, "kept": kept[rule], "dropped": dropped[rule]} for rule in kept)]


def _protocol_audit(rows: Rows, protocols: Sequence[Protocol]) -> list[dict[str, Any]]:
    """Return how many rows each protocol uses, and the classes of each part."""
    lines = []
    for protocol in protocols:
        used = int((protocol.values != UNUSED).sum())
        line: dict[str, Any] = {"rule": protocol.name, "kept": used, "dropped": rows.n - used}
        if protocol.kind == "split":
            label = rows.labels[protocol.scheme]
            line["classes"] = {
                SPLIT_NAMES[part]: _class_counts(label, protocol.values == part) for part in (TRAIN, VALIDATION, TEST)
            }
        lines.append(line)
    return lines


def _class_counts(label: Values, rows: NDArray[np.bool_]) -> dict[str, int]:
    values, classes = label.values[rows], label.attributes["classes"]
    if label.attributes["multilabel"]:
        return {name: int((values[:, i] == 1).sum()) for i, name in enumerate(classes)}
    return {name: int((values == i).sum()) for i, name in enumerate(classes)}


def _quarantine_text(quarantined: Sequence[Quarantined]) -> str:
    return "".join(json.dumps(vars(item), sort_keys=True) + "\n" for item in quarantined)


def _sources_text(records: Sequence[IndexedRecord]) -> str:
    """Return the raw files' digests in the format of ``sha256sum -c``, run in the database's folder."""
    return "".join(f"{digest}  {path}\n" for record in records for path, digest in sorted(record.digests.items()))
