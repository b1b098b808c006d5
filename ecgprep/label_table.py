"""A file of labels for records of one's own: a CSV with a line a record."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from store.errors import UnknownNameError, UserError
from store.manifest import file_digest

COLUMNS = ("record", "label", "patient", "age", "sex")
NEEDED = ("record", "label")
DELIMITERS = ",\t;"
REMARK = "#"  # begins a line above those of the records; no record has a name with it
SEVERAL = ";"  # between the labels of one record
NO_LABELS = "none"  # in place of a file, or of its column of labels
UNLABELLED = "unlabelled"  # the one class of all records then, so that they can be split by patient
MAX_CLASSES = 127  # their numbers are int8
MAX_AGE = 130.0  # years; databases write 300 for "over 89", and −1 for unknown
SEXES = {"m": "male", "male": "male", "f": "female", "female": "female"}


@dataclass(frozen=True)
class LabelLine:
    """What the file says of a record.

    Parameters
    ----------
    label : tuple of str
        Its labels; empty where unknown.
    patient : str
        Whose recording it is; empty where unknown.
    person : mapping
        ``age`` and ``sex``, or nothing where the file has neither column.
    """

    label: tuple[str, ...] = ()
    patient: str = ""
    person: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LabelTable:
    """The lines of a label file by record, and the classes that it names, in the order of the alphabet.

    `first` are the cells of its first line, where none is the name of a column and all lines are taken for records.
    """

    lines: Mapping[str, LabelLine] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    multilabel: bool = False
    first: tuple[str, ...] = ()

    def lines_of(self, records: Sequence[str]) -> dict[str, LabelLine]:
        """Return the line of each record that has one: by its path below the folder, else by its own name.

        Raises
        ------
        UserError
            If a line has the name of several records, or the first line seems to name the columns.
        """
        found = {record: self.lines[record] for record in records if record in self.lines}
        by_name: dict[str, list[str]] = {}
        for record in records:
            if record not in found:
                by_name.setdefault(record.rpartition("/")[2], []).append(record)
        for name in sorted(by_name.keys() & self.lines.keys() - found.keys()):  # a line that is a path is of that alone
            same = by_name[name]
            if len(same) > 1:
                raise UserError(
                    f"label file: {name!r} is the name of {len(same)} records, such as {same[0]!r} and {same[1]!r}; "
                    "write each as its path below the folder, without a suffix"
                )
            found[same[0]] = self.lines[name]
        if found:
            self._check_first(found.values())
        return found

    def _check_first(self, used: Iterable[LabelLine]) -> None:
        """Refuse a first line that is of no record here and has labels that no other line has: it names the columns."""
        if not self.first:
            return
        line = self.lines[self.first[0]]
        others = {label for other in self.lines.values() if other is not line for label in other.label}
        if line.label and others.isdisjoint(line.label) and all(line is not other for other in used):
            record, label, *_ = self.first
            raise UserError(
                f"label file: its first line, {','.join(self.first)[:60]!r}, is of no record here; if it names the "
                f"columns, say which by --labels FILE:record={record}:label={label}, else take it out"
            )


def find_label_file(labels: str, folder: Path) -> Path:
    """Return the label file that a request names, from here or from the records' folder.

    Raises
    ------
    UserError
        If it is in neither.
    """
    name = labels.split(":")[0]
    for path in (Path(name), folder / name):
        if path.is_file():
            return path
    raise UserError(f"--labels {name}: no such file, neither here nor in {folder}")


def has_labels(labels: str | None) -> bool:
    """Tell whether a request for labels names any for records; ``FILE:label=none`` names their patients alone."""
    return labels is not None and _column_names(labels)["label"] != NO_LABELS


def label_request_digest(labels: str, folder: Path) -> str:
    """Return what a store keeps of a request for labels: the file's SHA-256 in place of its path, and the columns."""
    if labels == NO_LABELS:
        return labels
    _, colon, columns = labels.partition(":")
    return f"sha256-{file_digest(find_label_file(labels, folder))}{colon}{columns}"


def read_labels(labels: str, folder: Path, records: Sequence[str]) -> tuple[LabelTable, Mapping[str, LabelLine]]:
    """Return what a label file says, and the line of each record that has one; see `read_label_table`.

    Parameters
    ----------
    labels : str
        As in `read_label_table`, or ``none`` for records without labels.
    folder : Path
        Of the records.
    records : sequence of str
        Their paths below it, without a suffix.
    """
    if labels == NO_LABELS:
        return LabelTable(classes=(UNLABELLED,)), dict.fromkeys(records, LabelLine((UNLABELLED,)))
    table = read_label_table(labels, folder)
    return table, table.lines_of(records)


def read_label_table(labels: str, folder: Path) -> LabelTable:
    """Read a label file.

    Parameters
    ----------
    labels : str
        ``FILE``, or ``FILE:label=diagnosis:patient=subject`` where columns have other names than `COLUMNS`, or
        ``FILE:label=none`` where it says whose the records are and no label. A file whose first line names no such
        column holds records and labels alone.
    folder : Path
        Of the records.

    Raises
    ------
    UserError
        If there is no such file, a column is missing, a record is there twice, or there are too few or many classes.
    """
    path = find_label_file(labels, folder)
    names = _column_names(labels)
    rows = _read_rows(path, names.values())
    header = _spelled_as(names.values(), rows[0]) if rows else []
    first: tuple[str, ...] = ()
    if not set(names.values()).isdisjoint(header) or labels != labels.split(":")[0]:
        needed = [column for column in COLUMNS if column in NEEDED or names[column] != column]  # or named on purpose
        if not has_labels(labels):
            needed.remove("label")
        if absent := [column for column in needed if names[column] not in header]:
            say = f"Say which it is: --labels {path.name}:{absent[0]}=NAME"
            say += f", or label={NO_LABELS} where annotations label the records" if absent[0] == "label" else ""
            raise UnknownNameError(f"column of {path.name}", names[absent[0]], header, say)
        rows = rows[1:]
    else:
        first, header = tuple(header), list(NEEDED)
    place = {column: header.index(name) for column, name in names.items() if name in header}
    lines = _lines(path, [{column: _cell(row, i) for column, i in place.items()} for row in rows])
    return replace(_table(path, lines) if has_labels(labels) else LabelTable(lines), first=first)


def _read_rows(path: Path, names: Iterable[str]) -> list[list[str]]:
    """Return the lines of a CSV file that are not blank, without the remarks before them."""
    text = _without_remarks(_read_text(path), {name.lower() for name in names})
    delimiter = _delimiter(text.partition("\n")[0])
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    try:
        return [row for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise UserError(f"{path}: line {reader.line_num} cannot be read as CSV: {error}") from error


def _read_text(path: Path) -> str:
    """Return a file's text: what its first bytes say, else UTF-8, else Latin-1; spreadsheets write all of these."""
    raw = path.read_bytes()
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return raw.decode("utf-16", errors="replace")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _without_remarks(text: str, names: Collection[str]) -> str:
    """Return a file's text from the first line that is no remark, such as ``# of ward 3``, or is one with the names."""
    lines = text.splitlines(keepends=True)
    n_remarks = next((i for i, line in enumerate(lines) if not line.startswith(REMARK)), len(lines))
    for i, line in enumerate(lines[:n_remarks]):
        header = max(line, line.lstrip(f"{REMARK} "), key=lambda text: _n_named(text, names))
        if _n_named(header, names):
            return "".join([header, *lines[i + 1 :]])
    return "".join(lines[n_remarks:])


def _n_named(line: str, names: Collection[str]) -> int:
    return sum(cell.strip().lower() in names for cell in re.split(f"[{DELIMITERS}]", line))


def _spelled_as(names: Iterable[str], header: Sequence[str]) -> list[str]:
    """Return the cells of a first line; one that is a wanted name in another case is spelled as that."""
    cells = [cell.strip() for cell in header]
    spelling = {name.lower(): name for name in names if name not in cells}
    return [spelling.get(cell.lower(), cell) for cell in cells]


def _delimiter(line: str) -> str:
    """Return what stands between the cells of a line: a comma, else a tab, else a semicolon."""
    return next((mark for mark in DELIMITERS if mark in line), DELIMITERS[0])


def _column_names(labels: str) -> dict[str, str]:
    names = dict(zip(COLUMNS, COLUMNS, strict=True))
    for part in labels.split(":")[1:]:
        column, equals, name = part.partition("=")
        if column not in COLUMNS:
            raise UnknownNameError("column of a label file", column, COLUMNS)
        if not (equals and name):
            raise UserError(f"--labels {labels}: {part!r} is not of the form {column}=NAME")
        names[column] = name
    return names


def _cell(row: Sequence[str], place: int) -> str:
    return row[place].strip() if place < len(row) else ""


def _lines(path: Path, rows: Sequence[Mapping[str, str]]) -> dict[str, LabelLine]:
    lines: dict[str, LabelLine] = {}
    for number, row in enumerate(rows, start=1):
        if row["record"] in lines:
            raise UserError(f"{path}: record {row['record']!r} is there twice, the second time as entry {number}")
        labels = tuple(label.strip() for label in row.get("label", "").split(SEVERAL) if label.strip())
        lines[row["record"]] = LabelLine(labels, row.get("patient", ""), _person(row))
    return lines


def _table(path: Path, lines: Mapping[str, LabelLine]) -> LabelTable:
    classes = tuple(sorted({label for line in lines.values() for label in line.label}))
    if len(classes) < 2:
        raise UserError(f"{path}: labels need two classes or more, found {', '.join(classes) or 'none'}")
    multilabel = any(len(line.label) > 1 for line in lines.values())
    if len(classes) > MAX_CLASSES and not multilabel:
        raise UserError(
            f"{path}: {len(classes)} different labels, such as {classes[0]!r} and {classes[1]!r}; a store has "
            f"{MAX_CLASSES} classes at most, so name the column of the labels by FILE:label=COLUMN"
        )
    return LabelTable(lines, classes, multilabel)


def age_in_years(text: str) -> float:
    """Return the age that a text states in years; NaN where it is none of a person's."""
    try:
        age = float(text)
    except ValueError:
        return float("nan")
    return age if 0.0 <= age <= MAX_AGE else float("nan")


def _person(row: Mapping[str, str]) -> dict[str, Any]:
    if "age" not in row and "sex" not in row:
        return {}
    return {"age": age_in_years(row.get("age", "")), "sex": SEXES.get(row.get("sex", "").lower(), "")}
