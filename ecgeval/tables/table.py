"""A table, and how its cells read as text, in CSV and in LaTeX."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ecgeval.passport import Number

UNDEFINED = "–"
LATEX = {"&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}"}
LATEX |= {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}", "–": "--", "−": "$-$"}
LATEX |= {
    "±": r"$\pm$",
    "×": r"$\times$",
    "κ": r"$\kappa$",
    "µ": r"$\mu$",
    "Δ": r"$\Delta$",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "…": r"\ldots{}",
}
FITTED = (
    r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"  # never wider than the text, never enlarged
)

Cell = str | int | float | Number
Row = tuple[Cell, ...]


@dataclass(frozen=True)
class Table:
    """A table with a name for its file.

    Parameters
    ----------
    name : str
        File name without suffix.
    title : str
        Heading.
    columns : tuple of str
        Column headings.
    rows : tuple of tuple
        Cells; a `Number` has its interval with it.
    note : str
        What a reader has to know, for the foot.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    note: str = ""


def format_value(value: float) -> str:
    """Return a figure with three decimals, or a dash where it is undefined."""
    return UNDEFINED if math.isnan(value) else f"{value:.3f}"


def format_number(number: Number) -> str:
    """Return a number with its interval, such as ``0.812 [0.790–0.831]``."""
    if math.isnan(number.low):
        return format_value(number.value)
    return f"{number.value:.3f} [{number.low:.3f}–{number.high:.3f}]"


def format_compact(cell: Cell) -> str:
    """Return a cell for narrow columns: a number with its interval on a line of its own, to two decimals."""
    if not isinstance(cell, Number) or math.isnan(cell.low):
        return format_cell(cell)
    return f"{cell.value:.3f}\n{_short(cell.low)}–{_short(cell.high)}"


def _short(bound: float) -> str:
    """Return a bound to two decimals without the zero before the point, and without the sign of a zero."""
    return re.sub(r"^(-?)0\.", r"\1.", f"{bound:.2f}").replace("-.00", ".00")


def format_cell(cell: Cell) -> str:
    """Return a cell as a person reads it."""
    if isinstance(cell, Number):
        return format_number(cell)
    if isinstance(cell, float):
        return format_value(cell)
    return f"{cell:,}" if isinstance(cell, int) else cell


def write_csv(table: Table, path: Path) -> None:
    """Write a table; columns ``*_low`` and ``*_high`` of the intervals follow the columns of the table.

    Parameters
    ----------
    table : Table
        The table.
    path : Path
        The file.
    """
    with_interval = [i for i in range(len(table.columns)) if any(isinstance(row[i], Number) for row in table.rows)]
    header = [*table.columns, *(f"{table.columns[i]}_{end}" for i in with_interval for end in ("low", "high"))]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for row in table.rows:
            ends = [bound for i in with_interval for bound in _bounds(row[i])]
            writer.writerow([_csv_cell(cell) for cell in (*row, *ends)])


def write_latex(table: Table, path: Path, caption: str) -> None:
    r"""Write a table for LaTeX with the packages booktabs and graphicx; intervals stand small below their numbers.

    Parameters
    ----------
    table : Table
        The table.
    path : Path
        The file, for ``\input``. Where the table is wider than the text, it is set smaller.
    caption : str
        What the figures hold under, set below the title.
    """
    note = f" {table.note}" if table.note else ""
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape_latex(f'{table.title}. {caption}.{note}')}}}",
        rf"\label{{tab:{table.name}}}",
        FITTED,
        rf"\begin{{tabular}}{{l{'r' * (len(table.columns) - 1)}}}",
        r"\toprule",
        _latex_line(table.columns),
        r"\midrule",
        *(line for row in table.rows for line in _latex_lines(row)),
        r"\bottomrule",
        r"\end{tabular}}",
        r"\end{table}",
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _latex_lines(row: Row) -> list[str]:
    """Return a row, and a line of its intervals where it has any."""
    split = [format_compact(cell).partition("\n") for cell in row]
    lines = [_latex_line([above for above, _, _ in split])]
    if any(below for _, _, below in split):
        small = [rf"{{\scriptsize {escape_latex(below)}}}" if below else "" for _, _, below in split]
        lines.append(" & ".join(small) + r" \\")
    return lines


def _latex_line(cells: Sequence[str]) -> str:
    return " & ".join(map(escape_latex, cells)) + r" \\"


def escape_latex(text: str) -> str:
    """Return text with the characters that LaTeX reads as commands written out."""
    return "".join(LATEX.get(character, character) for character in text)


def _bounds(cell: Cell) -> tuple[Cell, Cell]:
    return (cell.low, cell.high) if isinstance(cell, Number) else ("", "")


def _csv_cell(cell: Cell) -> str:
    value = cell.value if isinstance(cell, Number) else cell
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else f"{value:.6f}"
    return str(value)
