"""The command ``ecgeval``: it parses and prints; the work is in `ecgeval.report`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.command_line import run_program

if TYPE_CHECKING:
    from rich.console import Console

    from ecgeval.block import Block
    from ecgeval.tables import Table

PLAIN_WIDTH = 100  # where standard output is no terminal
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

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def ecgeval() -> None:
    """Predictions of runs to tables, figures and a report."""


@app.command()
def report(
    runs: Annotated[list[str] | None, typer.Argument(metavar="[RUN]...", help="Names or folders of runs.")] = None,
    bootstrap: Annotated[int | None, typer.Option(help="Resamples of the patients; 0: no intervals. [1000]")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the resamples. [0]")] = None,
    threshold: Annotated[str | None, typer.Option(help="Multi-label: calibrated or 0.5. [calibrated]")] = None,
    window: Annotated[str | None, typer.Option(help="Windows of a row: mean or max. [mean]")] = None,
    recipe: Annotated[str | None, typer.Option(help="Recipe whose section `evaluate` is used.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="One key of it, such as seed=1.")] = None,
    home: Annotated[Path | None, typer.Option(help="Workspace. [$ECG_HOME or ./ecg-workspace]")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the report. [reports/<store> in the workspace]")] = None,
) -> None:
    """Score runs on their test split; write tables, figures and one page, whose path is the last line.

    Without RUN: every finished run of the newest store that has runs.
    """
    from ecgeval.config import Evaluate
    from ecgeval.report import report as write_report
    from ecgeval.report import score
    from ecgeval.runs import find_runs, read_run
    from pipelines.recipe import override, read_recipe, validate
    from pipelines.workspace import Workspace

    options = {"bootstrap": bootstrap, "seed": seed, "threshold": threshold, "window": window, "out": out}
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    section = read_recipe(recipe).get("evaluate") or {} if recipe else {}
    section = override(section, settings or [], "evaluate") | given | ({"runs": runs} if runs else {})
    config = validate(Evaluate, section, f"{recipe or 'options'}, evaluate")
    workspace = Workspace.at(home)
    blocks = score([read_run(path) for path in find_runs(workspace, config.runs)], config)
    store = blocks[0].header.store.name.removesuffix(".zarr")
    page = write_report(blocks, config, config.out or workspace.reports / store)
    _print_tables(blocks)
    typer.echo(page)


def _print_tables(blocks: list[Block]) -> None:
    from rich.console import Console

    from ecgeval.tables import macro_comparison, per_class_comparison, selection_note

    console = Console(highlight=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)
    for block in blocks:
        if block.synthetic:
            console.print("SYNTHETIC recordings: these figures say nothing about patients.", style="bold red")
        _print_table(console, macro_comparison(block), block.protocol, HEADINGS)
        for metric in ("f1", "sensitivity", "auroc"):
            _print_table(console, per_class_comparison(block, metric), block.protocol)
        console.print(" ".join(selection_note(block)), end="\n\n")


def _print_table(console: Console, table: Table, caption: str, headings: Mapping[str, str] | None = None) -> None:
    """Print a table, only the columns of `headings` and under these names where they are given."""
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    from ecgeval.tables import format_compact

    headings = headings or dict(zip(table.columns, table.columns, strict=True))
    drawn = RichTable(title=table.title, caption=caption, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    drawn.title_justify = drawn.caption_justify = "left"
    shown = [table.columns.index(column) for column in headings]
    for i in shown:
        drawn.add_column(Text(headings[table.columns[i]]), justify="right" if i else "left")
    for row in table.rows:
        drawn.add_row(*(Text(format_compact(row[i])) for i in shown))
    console.print(drawn)


def main() -> None:
    """Run ``ecgeval`` and exit."""
    run_program(app, "ecgeval")
