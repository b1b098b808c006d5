"""Any folder of WFDB records: leads and units as the headers say, labels from a CSV file or from annotations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ecgprep.config import Prepare
from ecgprep.datasets.annotated import AnnotatedDatabase
from ecgprep.datasets.base import Found, RecordRef, is_synthetic, person_in
from ecgprep.folders import files_below
from ecgprep.label_table import NO_LABELS, LabelLine, LabelTable, has_labels, read_labels
from ecgprep.records import Record, number_repeated, read_record
from ecgprep.wfdb_files import lead_names, parse_header, parse_segments, read_header_text, samples_a_frame, signal_files
from store.errors import MissingDataError, UserError
from store.plan import Values
from store.vocabulary import MV_PER_UNIT, lead_key

LABEL = "label"
OTHER_VOLTAGES = ("EEG", "EOG", "EMG")  # of brain, eyes and muscles, which sleep studies record beside the heart's


class WfdbFolder(AnnotatedDatabase):
    """A folder of WFDB records, with whatever folders in it.

    Without a label file, beats and rhythms come from the annotation files. Without patients, in the label file's
    column ``patient``, every protocol leaks and says so.
    """

    name = "wfdb"
    folder = "wfdb"
    title = "WFDB records of one's own"
    licence = "that of the recordings"
    citation = ""
    url = ""
    published_records = 0
    download_size = "–"
    rates_hz: tuple[float, ...] = ()
    leads: tuple[str, ...] = ()
    default_leads: tuple[str, ...] = ()
    default_unit = "record"
    described_by_folder = True
    takes_labels = True

    def raw_places(self, raw: Path, source: Path | None) -> list[Path]:
        """Return the folder that was named, whatever it is called."""
        return [source or raw / self.folder]

    def how_to_get(self, options: str = "") -> str:
        """Return how to name a folder."""
        return "Name the folder of the records by --from DIR"

    def at(self, folder: Path) -> Self:
        """Return the database with the leads and rates that the headers of a folder state.

        Raises
        ------
        MissingDataError
            If there is no header in it.
        """
        stated = [header for header in _read_headers(folder).values() if header.leads]
        if not stated:
            raise MissingDataError(f"{folder}: no WFDB header (*.hea) that names a lead with a voltage is in it")
        here = type(self)()
        spelling = {lead_key(lead): lead for header in reversed(stated) for lead in reversed(header.leads)}
        n_records = Counter(key for header in stated for key in dict.fromkeys(map(lead_key, header.leads)))
        here.rates_hz = tuple(rate for rate, _ in Counter(header.fs_hz for header in stated).most_common())
        here.leads = tuple(spelling[key] for key in n_records)
        of_hearts = {key: n for key, n in n_records.items() if not key.startswith(OTHER_VOLTAGES)}
        here.default_leads = tuple(spelling[key] for key in _most_common_leads(stated, of_hearts or n_records))
        here.all_leads = here.leads if set(n_records.values()) == {len(stated)} else None
        return here

    def raw_rate(self, fs_hz: float) -> float:
        """Return the wanted rate: each record is read at its own."""
        return fs_hz

    def annotator(self, prepare: Prepare) -> str | None:
        """Return the annotator that was named; ``atr`` where labels come from nowhere else."""
        return prepare.annotator or (None if has_labels(prepare.labels) else "atr")

    def find(self, folder: Path, prepare: Prepare) -> Found:
        """Return a record for each header, with its line of the label file.

        Raises
        ------
        UserError
            If the label file cannot be used, or names none of the records.
        MissingDataError
            If there is no annotation file where labels come from them.
        """
        if not {"/", "."}.isdisjoint(prepare.annotator or ""):
            raise UserError(
                f"--annotator {prepare.annotator}: write the suffix of the annotation files alone, such as atr"
            )
        annotation = f".{self.annotator(prepare)}" if self.annotator(prepare) else None
        headers = _read_headers(folder)
        names = [path.relative_to(folder).as_posix() for path in headers]
        table, lines = read_labels(prepare.labels, folder, names) if prepare.labels else (LabelTable(), {})
        refs = [_ref(folder, path, header.files, annotation, table, lines) for path, header in headers.items()]
        if annotation and not any(path.with_name(path.name + annotation).is_file() for path in headers):
            raise MissingDataError(
                f"{folder}: no annotation file (*{annotation}) is in it; name a CSV file of labels by --labels, or the "
                "suffix of its annotation files by --annotator, or say --labels none"
            )
        refs.sort(key=lambda ref: ref.record.encode())
        if table.lines and refs and not lines:
            theirs, ours = next(iter(table.lines)), refs[0].record.removeprefix("wfdb/")
            raise UserError(
                f"--labels {prepare.labels}: none of its {len(table.lines)} records (such as {theirs!r}) is one of the "
                f"{len(refs)} here (such as {ours!r}); write each as its path below {folder}, without a suffix"
            )
        note = _unmatched(table, lines, refs) if table.lines else ""
        return Found(tuple(refs), len(refs), "", is_synthetic(folder), note)

    def read(self, ref: RecordRef, prepare: Prepare) -> Record:
        """Return a record's signals, whatever files its header names."""
        return read_record(ref.path, ref.suffixes)

    def person(self, ref: RecordRef, record: Record) -> Mapping[str, Any]:
        """Return age and sex from the label file, else from the header's comments."""
        return ref.facts["person"] or person_in("\n".join(record.comments))

    def schemes(self, prepare: Prepare) -> tuple[str, ...]:
        """Return the label file's scheme, then those of the annotations."""
        from_file = (LABEL,) if has_labels(prepare.labels) else ()
        return from_file + (super().schemes(prepare) if self.annotator(prepare) else ())

    def labels(
        self, facts: Sequence[Mapping[str, Any]], marks: Mapping[str, NDArray[Any]], prepare: Prepare
    ) -> dict[str, Values]:
        """Return the label of each row's record, and what its annotations say."""
        rule = "no labels" if prepare.labels == NO_LABELS else "the label file's word for the record"
        from_file = {LABEL: _record_labels(facts, rule)} if has_labels(prepare.labels) else {}
        return from_file | (super().labels(facts, marks, prepare) if self.annotator(prepare) else {})

    def unknown_patients(self, facts: Sequence[Mapping[str, Any]]) -> str:
        """Return what follows where the patient of some record that has labels is not known."""
        if not any(fact["patient_in_doubt"] for fact in facts):
            return ""
        return "whose recordings these are is not known: recordings of one patient may be on both sides"


class _Stated(NamedTuple):
    """What a header says of its record and its leads that are voltages.

    Nothing where it cannot be read, which the build finds out again.
    """

    fs_hz: float = 0.0
    leads: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    segments: tuple[str, ...] = ()


def _most_common_leads(stated: Sequence[_Stated], n_records: Mapping[str, int]) -> list[str]:
    """Return the leads that most records have; of leads of equally many, those that one record has together."""
    largest = max(n_records.values())
    most = [key for key, n in n_records.items() if n == largest]
    together = max(({lead_key(lead) for lead in header.leads}.intersection(most) for header in stated), key=len)
    return [key for key in most if key in together]


def _read_headers(folder: Path) -> dict[Path, _Stated]:
    """Return what the headers of a folder say, by record; segments of a multi-segment record are parts of it."""
    headers = [path for path in files_below(folder) if path.name.endswith(".hea") and not path.name.startswith(".")]
    paths = sorted(path.with_suffix("") for path in headers)
    stated = {path: _read_header(path) for path in paths}
    parts = {path.parent / segment for path, header in stated.items() for segment in header.segments}
    return {path: _with_segments(path, header, stated) for path, header in stated.items() if path not in parts}


def _with_segments(path: Path, header: _Stated, stated: Mapping[Path, _Stated]) -> _Stated:
    """Return what a record and its segments, where it has any, say together."""
    parts = {name: stated[path.parent / name] for name in header.segments if path.parent / name in stated}
    if not parts:
        return header
    leads = tuple(dict.fromkeys(lead for part in parts.values() for lead in part.leads))
    rate_hz = max(part.fs_hz for part in parts.values())  # a segment without a lead has that of its frames
    return header._replace(
        fs_hz=rate_hz, leads=leads, files=tuple(file for name in parts for file in (f"{name}.hea", *parts[name].files))
    )


def _read_header(path: Path) -> _Stated:
    try:
        text = read_header_text(path.with_name(f"{path.name}.hea"))
        if segments := parse_segments(text):
            return _Stated(segments.fs_hz, segments=(segments.layout, *(name for name, _ in segments.parts)))
        fs_hz, units = _rate_and_units(path, text)
        pairs = list(zip(number_repeated(lead_names(text)), units, strict=True))
    except Exception:  # the parser raises whatever a damaged file trips
        return _Stated()
    leads = tuple(name for name, unit in pairs if unit.lower() in MV_PER_UNIT)
    return _Stated(fs_hz, leads, tuple(signal_files(text)))


def _rate_and_units(path: Path, text: str) -> tuple[float, Sequence[str]]:
    import wfdb

    if header := parse_header(text):
        return header.fs_hz, [signal.units for signal in header.signals]
    read = wfdb.rdheader(str(path))
    return float(read.fs) * samples_a_frame(text), [str(unit) for unit in read.units or ()]


def _ref(
    folder: Path,
    path: Path,
    files: Sequence[str],
    annotation: str | None,
    table: LabelTable,
    lines: Mapping[str, LabelLine],
) -> RecordRef:
    own = sorted({file.removeprefix(path.name) for file in files if file.startswith(f"{path.name}.")})
    others = sorted({file for file in files if not file.startswith(f"{path.name}.") and _is_beside(file)})
    suffixes = (".hea", *own, *([annotation] if annotation else []))
    name = path.relative_to(folder).as_posix()
    line = lines.get(name, LabelLine())
    patient = line.patient or name
    facts = {
        "label": line.label,
        "classes": table.classes,
        "multilabel": table.multilabel,
        "person": line.person,
        "patient_in_doubt": not line.patient and bool(line.label or annotation),
    }
    beside = tuple(path.with_name(file) for file in others)
    return RecordRef(f"wfdb/{name}", f"wfdb/{patient}", folder, suffixes, facts, beside)


def _unmatched(table: LabelTable, lines: Mapping[str, LabelLine], refs: Sequence[RecordRef]) -> str:
    """Return which lines of a label file are of no record here, and which records have no label; "" if none.

    In a file without labels those count that have no line.
    """
    paths = {ref.record.removeprefix("wfdb/") for ref in refs}
    known = paths | {path.rpartition("/")[2] for path in paths}
    absent = [record for record in table.lines if record not in known]
    what, named = ("label", {path for path in lines if lines[path].label}) if table.classes else ("line", lines.keys())
    silent = [ref.record for ref in refs if ref.record.removeprefix("wfdb/") not in named]
    said = [
        f"{len(absent)} of its {len(table.lines)} records are not here, such as {absent[0]!r}" if absent else "",
        f"{len(silent)} of {len(refs)} records have no {what} in it, such as {silent[0]!r}" if silent else "",
    ]
    return f"label file: {'; '.join(filter(None, said))}" if any(said) else ""


def _is_beside(file: str) -> bool:
    """Tell whether a file that a header names lies in its folder; ``~`` stands for none, ``-`` for standard input."""
    return Path(file).name == file and file not in ("~", "-")


def _record_labels(facts: Sequence[Mapping[str, Any]], rule: str) -> Values:
    """Return one class a row, or several where the label file separates them by semicolons."""
    classes, multilabel = list(facts[0]["classes"]), bool(facts[0]["multilabel"])
    attributes = {"classes": classes, "multilabel": multilabel, "rule": rule}
    if not multilabel:
        return Values(np.array([_number(fact["label"], classes) for fact in facts], np.int8), attributes)
    values = [[name in fact["label"] for name in classes] if fact["label"] else [255] * len(classes) for fact in facts]
    return Values(np.array(values, np.uint8), attributes)


def _number(label: Sequence[str], classes: Sequence[str]) -> int:
    return classes.index(label[0]) if label else -1


DATABASE = WfdbFolder()
