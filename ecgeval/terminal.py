"""Tables on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from ecgeval.block import Block
from ecgeval.tables.comparison import PER_CLASS_FILES, macro_comparison, per_class_comparison
from ecgeval.tables.table import Table, format_compact
from ecgeval.tables.texts import selection_note

PLAIN_WIDTH = 100  # where standard output is no terminal
MOST_ROWS, MOST_CLASSES = 20, 8  # the files hold the rest
HEADINGS = {
    "Model": "Model",
    "Sensitivity": "Se",
    "Specificity": "Sp",
    "Precision": "PPV",
    "F1-Score": "F1",
    "Accuracy": "Acc",
    "AUC-ROC": "AUROC",
    "AUC-PR": "AUPRC",
    "Exact-Match": "Exact",
}


def print_blocks(blocks: Sequence[Block]) -> None:
    """Print the macro and per-class tables of each block."""
    console = new_console()
    for block in blocks:
        if block.synthetic:
            console.print("SYNTHETIC recordings: these figures say nothing about patients.", style="bold red")
        if block.apart:
            console.print(f"Not to be ranked with the first block: they differ in {block.apart}.")
        print_table(console, macro_comparison(block), block.protocol, HEADINGS)
        for metric in PER_CLASS_FILES:
            print_table(console, per_class_comparison(block, metric), block.protocol)
        console.print(" ".join(selection_note(block)), end="\n\n")


def print_table(console: Console, table: Table, caption: str, headings: Mapping[str, str] | None = None) -> None:
    """Print a table, only the columns of `headings` and under these names where they are given.

    Parameters
    ----------
    console : rich Console
        Where to.
    table : Table
        The table; of more than twenty rows, or eight columns of classes, the first are printed and the rest is named.
    caption : str
        What the figures hold under.
    headings : mapping of str to str, optional
        Columns to print, and what to call them.
    """
    columns = headings or {name: name for name in table.columns[: MOST_CLASSES + 1]}
    left_out = _left_out(table, headings)
    drawn = RichTable(title=table.title, caption=caption + left_out, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    drawn.pad_edge = False
    drawn.title_justify = drawn.caption_justify = "left"
    shown = [table.columns.index(name) for name in columns]
    for i in shown:
        drawn.add_column(Text(columns[table.columns[i]]), justify="right" if i else "left")
    for row in table.rows[:MOST_ROWS]:
        drawn.add_row(*(Text(format_compact(row[i])) for i in shown))
    console.print(drawn)


def new_console() -> Console:
    """Return a console that is as wide as the terminal, or 100 characters where there is none."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)


def _left_out(table: Table, headings: Mapping[str, str] | None) -> str:
    rows = len(table.rows) - MOST_ROWS
    columns = 0 if headings else len(table.columns) - MOST_CLASSES - 1
    said = [f"{n} more {what}" for n, what in ((rows, "rows"), (columns, "columns")) if n > 0]
    return f"; {' and '.join(said)} in {table.name}.csv" if said else ""
