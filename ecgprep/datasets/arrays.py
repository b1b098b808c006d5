"""Beats and records that other projects keep as plain arrays: CSV tables, .npy pairs and batches, .pt tensors.

Such files name no patient, so a split of their rows cannot keep patients apart: every protocol of them leaks, and says
so. Amplitudes are taken as they are, a value of 1 as 1 mV.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ecgprep.array_files import find_array_files, label_file, named_part, read_labels, read_signals
from ecgprep.config import Prepare
from ecgprep.datasets.base import Database, Found, RecordRef, is_synthetic
from ecgprep.export import ABOUT
from ecgprep.folders import files_below
from ecgprep.records import Record
from ecgprep.splits import Protocol, Rows, random_rows, score_classes, strata
from store.errors import RecordError, UserError
from store.plan import Values
from store.vocabulary import AAMI_CLASSES, MI_CLASSES, STANDARD_LEADS, SUPERCLASSES, TEST, TRAIN, VALIDATION

LEAKS = ("patient", "neighbour")
LEAK_NOTE = "the files name no patient: rows of one person may be on both sides"
PART_NUMBERS = {"train": TRAIN, "validation": VALIDATION, "test": TEST}
PUBLIC_TABLES = {"aami": ("mitbih_train", "mitbih_test"), "mi": ("ptbdb_normal", "ptbdb_abnormal")}


class Labelling(NamedTuple):
    """What a label rule makes of the files' labels."""

    classes: tuple[str, ...]
    multilabel: bool
    kind: str  # of the rows


LABELLINGS = {
    "aami": Labelling(AAMI_CLASSES, False, "beat"),
    "mi": Labelling(MI_CLASSES, False, "beat"),
    "superclass": Labelling(SUPERCLASSES, True, "record"),
}


class Arrays(Database):
    """Ready-made arrays of other projects; see docs/arrays.md for their layouts."""

    name = "arrays"
    folder = "arrays"
    title = "Ready-made arrays"
    licence = "that of the project that made them"
    citation = (
        "The project that made the arrays; of the public beat tables: Kachuee M, Fazeli S, Sarrafzadeh M. ECG "
        "heartbeat classification: a deep transferable representation. ICHI 2018."
    )
    url = "https://doi.org/10.1109/ICHI.2018.00092"
    published_records = 0
    download_size = "your own"
    rates_hz = (100.0, 125.0, 250.0, 360.0, 500.0)
    leads = (*STANDARD_LEADS, "MLII", "ECG")
    default_leads = ("II",)
    ready_cut = True
    described_by_folder = True
    exported_hz: float | None = None  # the rate of the exports in the folder
    default_unit = "given:beat"
    label_rules: ClassVar[tuple[str, ...]] = tuple(LABELLINGS)

    def at(self, folder: Path) -> Self:
        """Return the database with the rate that all exports of a folder name."""
        rates = {said["fs_hz"] for path in _exports(folder) if (said := _read_about(path))}
        here = type(self)()
        here.exported_hz = rates.pop() if len(rates) == 1 else None
        return here

    def resolve(self, prepare: Prepare) -> Prepare:
        """Return `prepare` with the defaults filled in; arrays that are no export do not say their rate.

        Raises
        ------
        UserError
            If the rate is missing, or a name is unknown.
        """
        prepare = prepare.model_copy(update={"fs": prepare.fs or self.exported_hz})
        if prepare.fs is None:
            raise UserError(
                "arrays do not say their sampling rate: add --fs 125 (public beat tables and ECGTransForm's tensors), "
                "--fs 360 (beats of MIT-BIH as X_*.npy) or --fs 100 (batches of PTB-XL)"
            )
        if prepare.noise:
            raise UserError(f"--noise {prepare.noise}: arrays are cut and scaled already; leave it out")
        kind = LABELLINGS[prepare.label_rule].kind if prepare.label_rule in LABELLINGS else "beat"
        return super().resolve(prepare.model_copy(update={"unit": prepare.unit or f"given:{kind}"}))

    def raw_places(self, raw: Path, source: Path | None) -> list[Path]:
        """Return where the folder ``arrays`` may be, or the folder that was named itself."""
        return [raw / self.folder] if source is None else [source / self.folder, source]

    def how_to_get(self, options: str = "") -> str:
        """Return how to name a folder."""
        return (
            "Name the folder of the files by --from DIR: *.csv of 188 columns, X_*.npy with y_*.npy beside it, *.pt, "
            "or signals/*.npy with labels/*.npy"
        )

    def find(self, folder: Path, prepare: Prepare) -> Found:
        """Return the files of signals that are here; of the public tables those that hold the wanted classes.

        Raises
        ------
        UserError
            If two would be one record of the store, or an export says that it holds other rows than are asked for.
        """
        (scheme,) = self.schemes(prepare)
        balanced = [path.parent for path in _exports(folder) if _holds_synthetic_rows(path, scheme, prepare.fs)]
        other = {name for rule, names in PUBLIC_TABLES.items() if rule != prepare.label_rule for name in names}
        paths = [path for path in find_array_files(folder) if path.stem not in other]
        refs = tuple(_ref(folder, path, any(path.is_relative_to(place) for place in balanced)) for path in paths)
        if twice := [name for name, n in Counter(ref.record for ref in refs).items() if n > 1]:
            name = twice[0].removeprefix("arrays/")
            raise UserError(f"{folder}: {name} is two files that differ in the suffix alone; rename or remove one")
        return Found(refs, len(refs), "as found", is_synthetic(folder))

    def read(self, ref: RecordRef, prepare: Prepare) -> Record:
        """Return a file's rows, one after the other, as one long recording.

        Raises
        ------
        RecordError
            If the file cannot be read, or has other leads, labels or numbers of them than were asked for.
        """
        assert prepare.fs is not None
        assert prepare.leads is not None
        (scheme,) = self.schemes(prepare)
        rows, labels = read_signals(ref.facts["file"]), _read_classes(ref.facts["file"], scheme)
        n_rows, n_leads, n_samples = rows.shape
        if n_leads != len(prepare.leads):
            named = f"--leads names {len(prepare.leads)} ({','.join(prepare.leads)})"
            raise RecordError("leads", f"holds {n_leads} leads, {named}; name them all, in the file's order")
        if len(labels) != n_rows:
            raise RecordError("label", f"holds {n_rows} rows and {len(labels)} labels")
        signal = rows.transpose(1, 0, 2).reshape(n_leads, -1)
        return Record(prepare.leads, prepare.fs, signal, (), row_samples=n_samples)

    def row_lengths(self, ref: RecordRef) -> tuple[int, NDArray[np.int32]]:
        """Return the length of a file's rows, and of each row what is left without the zeros at its end."""
        rows = read_signals(ref.facts["file"])
        is_padding = np.logical_and.accumulate((rows == 0).all(axis=1)[:, ::-1], axis=1)
        return rows.shape[2], np.maximum(rows.shape[2] - is_padding.sum(axis=1), 1).astype(np.int32)

    def person(self, ref: RecordRef, record: Record) -> Mapping[str, Any]:
        """Return unknown age and sex."""
        return {"age": float("nan"), "sex": ""}

    def schemes(self, prepare: Prepare) -> tuple[str, ...]:
        """Return the scheme that the label rule names."""
        return (prepare.label_rule or self.label_rules[0],)

    def labels(
        self, facts: Sequence[Mapping[str, Any]], marks: Mapping[str, NDArray[Any]], prepare: Prepare
    ) -> dict[str, Values]:
        """Return the files' own labels."""
        (scheme,) = self.schemes(prepare)
        known = LABELLINGS[scheme]
        files = dict.fromkeys(fact["file"] for fact in facts)
        values = np.concatenate([_read_classes(file, scheme) for file in files])
        rule = "as the files say, numbered in the order of the classes"
        attributes = {"classes": list(known.classes), "multilabel": known.multilabel, "rule": rule}
        return {scheme: Values(values.astype(np.uint8 if known.multilabel else np.int8), attributes)}

    def protocols(self, rows: Rows, facts: Sequence[Mapping[str, Any]], prepare: Prepare) -> list[Protocol]:
        """Return the files' own parts, where their names say them, and rows at random.

        Of an export with synthetic rows the parts alone, as it made them: others would test on what is mixed of
        training rows.
        """
        (scheme,) = self.schemes(prepare)
        stratum, scored = strata(rows.labels[scheme]), score_classes(rows.labels[scheme])
        rule = f"rows drawn at random, class by class, 64/16/20 %, seed {prepare.seed}"
        at_random = random_rows(stratum, (0.16, 0.20), prepare.seed)
        drawn = Protocol("intrapatient", at_random, scheme, scored, rule, "row", LEAKS, LEAK_NOTE)
        parts, balanced = [fact["part"] for fact in facts], any(fact["balanced"] for fact in facts)
        others = [] if balanced else [drawn]
        if not all(parts) or len(set(parts)) == 1 or (balanced and "validation" not in parts):
            return others
        values = np.array([PART_NUMBERS[part] for part in parts], dtype=np.int8)
        rule = "train, validation and test as the files are named"
        if VALIDATION not in values:
            trains = np.where(values == TRAIN, stratum, -1)
            values = np.where(random_rows(trains, (0.20, 0.0), prepare.seed) == VALIDATION, VALIDATION, values)
            rule += f"; a fifth of the training rows validates, seed {prepare.seed}"
        return [Protocol("as-published", values, scheme, scored, rule, "row", LEAKS, LEAK_NOTE), *others]


def _exports(folder: Path) -> list[Path]:
    return [path for path in files_below(folder) if path.name == ABOUT]


def _read_about(path: Path) -> dict[str, Any] | None:
    """Return what an export says of itself; None for another program's file."""
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return None
    return said if isinstance(said, dict) and {"classes", "fs_hz"} <= said.keys() else None


def _holds_synthetic_rows(about: Path, scheme: str, fs_hz: float | None) -> bool:
    """Tell whether an export says that its training part has synthetic rows, and refuse one of other rows.

    Arrays of other classes, or of another rate, would fit if they were read for themselves.

    Raises
    ------
    UserError
        If they differ.
    """
    said = _read_about(about)
    if said is None:
        return False
    classes = tuple(said["classes"])
    if classes != LABELLINGS[scheme].classes:
        rule = next((name for name, known in LABELLINGS.items() if known.classes == classes), None)
        advice = f"add --label-rule {rule}" if rule else f"arrays knows those of {', '.join(LABELLINGS)} alone"
        raise UserError(f"{about}: the classes are {', '.join(classes)}, not those of {scheme}; {advice}")
    if said["fs_hz"] != fs_hz:
        raise UserError(f"{about}: the signals have {said['fs_hz']:g} Hz, not {fs_hz:g}; add --fs {said['fs_hz']:g}")
    return bool(said.get("synthetic_rows"))


def _read_classes(file: Path, scheme: str) -> NDArray[np.int64]:
    """Return the labels of a file's rows in the form of a scheme; one-hot rows give class numbers.

    Raises
    ------
    RecordError
        If they are of another form, or have other classes.
    """
    known, labels = LABELLINGS[scheme], read_labels(file)
    if not known.multilabel and _is_one_hot(labels, len(known.classes)):
        return np.asarray(labels.argmax(axis=1), dtype=np.int64)
    if (labels.ndim == 2) != known.multilabel:
        advice = "--label-rule superclass" if labels.ndim == 2 else "--label-rule aami or mi"
        raise RecordError("label", f"has labels of shape {labels.shape}, which {scheme} has not; try {advice}")
    n_classes = labels.shape[1] if known.multilabel else int(labels.max(initial=0)) + 1
    wrong = n_classes != len(known.classes) if known.multilabel else n_classes > len(known.classes)
    if wrong:
        raise RecordError("label", f"has {n_classes} classes, {scheme} has {len(known.classes)}")
    if known.multilabel and labels.max(initial=0) > 1:
        raise RecordError("label", f"has a label {labels.max()}; each class of {scheme} is 0 or 1")
    return labels


def _is_one_hot(labels: NDArray[np.int64], n_classes: int) -> bool:
    shaped = labels.ndim == 2 and labels.shape[1] == n_classes
    return shaped and bool(
        ((labels == 1).sum(axis=1) == 1).all() and ((labels == 0).sum(axis=1) == n_classes - 1).all()
    )


def _ref(folder: Path, path: Path, balanced: bool) -> RecordRef:
    name = path.relative_to(folder).with_suffix("").as_posix()
    labels = label_file(path)
    beside = () if labels == path else (labels,)
    facts = {"file": path, "part": named_part(path, folder), "balanced": balanced}
    return RecordRef(f"arrays/{name}", "arrays/unknown", folder, (path.suffix,), facts, beside)


DATABASE = Arrays()
