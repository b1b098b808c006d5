"""From the index of a database to the plan of a store: rows, labels, splits, attributes, and what each rule dropped."""

from __future__ import annotations

import importlib.metadata
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ecgprep import croissant
from ecgprep.beats import BeatPreset
from ecgprep.config import NOT_IN_HASH, Prepare
from ecgprep.execute import SOFTWARE
from ecgprep.index import Quarantined
from ecgprep.representations import Representation, parse_reps
from ecgprep.rows import Index, make_rows
from ecgprep.splits import Protocol, Rows
from ecgprep.units import GivenRows, parse_unit
from pipelines.recipe import recipe_hash
from store.plan import StorePlan, Values
from store.schema import SCHEMA_VERSION, representation_spec, signal_spec
from store.vocabulary import SPLIT_NAMES, TEST, TRAIN, UNUSED, VALIDATION

BEATS_GIVEN = GivenRows("beat")


def resolve_reps(prepare: Prepare, n_samples: int) -> tuple[Representation, ...]:
    """Return the representations that a resolved recipe asks for, with every default filled in."""
    if not prepare.reps:
        return ()
    assert prepare.fs is not None
    unit = parse_unit(str(prepare.unit))
    kind: Literal["beat", "record"] = "beat" if isinstance(unit, BeatPreset) or unit == BEATS_GIVEN else "record"
    return tuple(parse_reps(prepare.reps, kind=kind, fs_hz=prepare.fs, n_samples=n_samples))


def row_samples(indexes: Sequence[Index], prepare: Prepare) -> int:
    """Return the length of a row: the preset's, or that of the longest row."""
    unit = parse_unit(str(prepare.unit))
    if isinstance(unit, BeatPreset):
        return unit.n_samples
    return max(index.block.row_samples for index in indexes)


def make_plan(indexes: Sequence[Index], prepare: Prepare) -> tuple[StorePlan, tuple[Representation, ...]]:
    """Return the plan of the store that holds the rows of some databases, and its representations.

    Parameters
    ----------
    indexes : sequence of Index
        One a database, in the order of their rows.
    prepare : Prepare
        The resolved recipe.
    """
    n_samples = row_samples(indexes, prepare)
    reps = resolve_reps(prepare, n_samples)
    rows, protocols = make_rows(indexes, n_samples)
    key = recipe_hash(prepare, NOT_IN_HASH)
    name = f"{'-'.join(prepare.databases)}-{key[:8]}.zarr"
    attributes = _attributes(indexes, prepare, rows, protocols, key)
    values = _stored_values(rows, protocols)
    quarantined = [item for index in indexes for item in index.block.quarantined]
    files = {"quarantine.jsonl": _quarantine_text(quarantined), "sources.sha256": _sources_text(indexes)}
    signal = signal_spec(rows.n, prepare.leads or (), n_samples, _signal_attributes(indexes, prepare))
    attributes["rows_key"] = StorePlan(name, (signal,), values, attributes, files).digest
    pictures = [representation_spec(rep.name, signal, rep.shape, rep.dtype, _picture_attributes(rep)) for rep in reps]
    plan = StorePlan(name, (signal, *pictures), values, attributes, files)
    files = {**files, "croissant.json": croissant.describe(name, attributes, plan.specs)}
    return StorePlan(name, plan.filled, values, attributes, files), reps


def _stored_values(rows: Rows, protocols: Sequence[Protocol]) -> dict[str, Values]:
    return {
        **{f"label/{scheme}": label for scheme, label in rows.labels.items()},
        **{f"column/{name}": Values(values, {}) for name, values in rows.columns.items()},
        **{f"split/{protocol.name}": protocol.stored() for protocol in protocols},
    }


def _signal_attributes(indexes: Sequence[Index], prepare: Prepare) -> dict[str, Any]:
    all_sources = [sources for index in indexes for sources in index.block.sources]
    used = [sorted({sources[lead] for sources in all_sources}) for lead in range(len(prepare.leads or ()))]
    clipped = sum(index.block.n_clipped for index in indexes)
    sources = dict(zip(prepare.leads or (), used, strict=True))
    return {"fs_hz": prepare.fs, "lead_sources": sources, "clipped_samples": clipped}


def _picture_attributes(rep: Representation) -> dict[str, Any]:
    scale = {"value_range": list(rep.value_range)} if rep.value_range else {}
    return {"parameters": rep.parameters(), **scale}


def _attributes(
    indexes: Sequence[Index], prepare: Prepare, rows: Rows, protocols: Sequence[Protocol], key: str
) -> dict[str, Any]:
    return {
        "schema": SCHEMA_VERSION,
        "unit": prepare.unit,
        "default_scheme": next(iter(rows.labels)) if not protocols else protocols[0].scheme,
        "default_protocol": protocols[0].name if protocols else "",
        "synthetic": any(index.found.synthetic for index in indexes),
        "recipe": prepare.model_dump(mode="json", exclude=NOT_IN_HASH),
        "recipe_hash": key,
        "software": {name: importlib.metadata.version(name) for name in SOFTWARE},
        "card": _card(indexes, rows),
        "audit": [*_record_audit(indexes), *_protocol_audit(rows, protocols)],
    }


def _card(indexes: Sequence[Index], rows: Rows) -> dict[str, Any]:
    return {
        "databases": [_about(index) for index in indexes],
        "rows": rows.n,
        "synthetic": any(index.found.synthetic for index in indexes),
    }


def _about(index: Index) -> dict[str, Any]:
    database = index.database
    return {
        "name": database.name,
        "title": database.title,
        "version": index.found.version,
        "licence": database.licence,
        "citation": database.citation,
        "url": database.url,
        "records_published": index.found.published,
        "records_used": len(index.records),
        "records_quarantined": len(index.block.quarantined),
        "rows": index.n_rows,
        "patients": len({record.patient for record in index.records}),
        "synthetic": index.found.synthetic,
        **({"note": index.found.note} if index.found.note else {}),
    }


def _record_audit(indexes: Sequence[Index]) -> list[dict[str, Any]]:
    """Return how many records and annotations each rule of the first pass kept and dropped."""
    kept: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    for index in indexes:
        kept["record can be used"] += len(index.records)
        dropped["record can be used"] += len(index.block.quarantined)
        for rule, (yes, no) in index.block.audit.items():
            kept[rule] += yes
            dropped[rule] += no
    return [{"rule": rule, "kept": kept[rule], "dropped": dropped[rule]} for rule in kept]


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


def _sources_text(indexes: Sequence[Index]) -> str:
    """Return the raw files' digests as ``sha256sum -c`` reads them, in the database's folder or, of several, above."""
    if len(indexes) == 1:
        return indexes[0].block.digests
    above = [f"  {index.database.folder}/" for index in indexes]
    texts = [index.block.digests.splitlines(keepends=True) for index in indexes]
    return "".join(line.replace("  ", folder, 1) for lines, folder in zip(texts, above, strict=True) for line in lines)
