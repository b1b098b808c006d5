"""The 71 SCP-ECG statements in the form of PTB-XL's ``scp_statements.csv``."""

from __future__ import annotations

import csv
from pathlib import Path

from store.vocabulary import STATEMENTS

HEADER = (
    ",description,diagnostic,form,rhythm,diagnostic_class,diagnostic_subclass,Statement Category,"
    "SCP-ECG Statement Description,AHA code,aECG REFID,CDISC Code,DICOM Code\n"
)


def write_statements(path: Path) -> None:
    """Write the statements with the columns of PTB-XL's table; those of other code systems stay empty."""
    with path.open("w", newline="", encoding="utf-8") as file:
        file.write(HEADER)
        writer = csv.writer(file, lineterminator="\n")
        for statement in STATEMENTS:
            kinds = ["1.0" if kind in statement.kinds else "" for kind in "dfr"]
            classes = [statement.superclass, statement.subclass]
            rest = ["", statement.meaning, "", "", "", ""]
            writer.writerow([statement.code, statement.meaning, *kinds, *classes, *rest])
