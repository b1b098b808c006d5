"""The command ``ecgeval``: it parses and prints; the work is in `ecgeval.report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.command_line import run_program

if TYPE_CHECKING:
    from ecgeval.block import Block
    from ecgeval.tables import Table

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def ecgeval() -> None:
    """Predictions of runs to tables, figures and a report."""


@app.command()
def report(
    runs: Annotated[
        list[str] | None, typer.Argument(metavar="[RUN]...", help="Names or folders of runs.")
    ] = None,
    bootstrap: Annotated[
        int | None, typer.Option(help="Resamples of the patients; 0: no intervals. [1000]")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the resamples. [0]")] = None,
    threshold: Annotated[
        str | None, typer.Option(help="Multi-label: calibrated or 0.5. [calibrated]")
    ] = None,
    window: Annotated[str | None, typer.Option(help="Windows of a row: mean or max. [mean]")] = None,
    recipe: Annotated[str | None, typer.Option(help="Recipe whose section `evaluate` is used.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="One key of it, such as seed=1.")
    ] = None,
    home: Annotated[Path | None, typer.Option(help="Workspace. [$ECG_HOME or ./ecg-workspace]")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the report. [reports/<store> in the workspace]")
    ] = None,
) -> None:
    """Score runs on their test split and write tables, figures and one page; the page's path is the last line.

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

    console = Console(highlight=False, soft_wrap=True)
    for block in blocks:
        if block.synthetic:
            console.print("SYNTHETIC recordings: these figures say nothing about patients.", style="bold red")
        made = [
            macro_comparison(block),
            *(per_class_comparison(block, m) for m in ("f1", "sensitivity", "auroc")),
        ]
        for table in made:
            _print_table(console, table, f"{block.protocol}")
        console.print(" ".join(selection_note(block)), end="\n\n")


def _print_table(console: Any, table: Table, caption: str) -> None:
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    from ecgeval.tables import format_cell

    drawn = RichTable(
        title=table.title, caption=caption, box=box.SIMPLE_HEAD, title_justify="left", caption_justify="left"
    )
    for i, column in enumerate(table.columns):
        drawn.add_column(Text(column), justify="right" if i else "left", no_wrap=i == 0)
    for row in table.rows:
        drawn.add_row(*(Text(format_cell(cell)) for cell in row))
    console.print(drawn)


def main() -> None:
    """Run ``ecgeval`` and exit."""
    run_program(app, "ecgeval")
