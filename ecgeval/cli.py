"""The command ``ecgeval``: it parses and prints; the work is in the modules that its commands import."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.command_line import run_program

if TYPE_CHECKING:
    from ecgeval.config import Evaluate
    from ecgeval.runs import Run

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

Home = Annotated[Path | None, typer.Option(help="Workspace. [$ECG_HOME or ./ecg-workspace]")]
Bootstrap = Annotated[int | None, typer.Option(help="Resamples of the patients; 0: no intervals. [1000]")]
Seed = Annotated[int | None, typer.Option(help="Seed of the resamples. [0]")]
Threshold = Annotated[str | None, typer.Option(help="Multi-label: calibrated or 0.5. [calibrated]")]
Window = Annotated[str | None, typer.Option(help="Windows of a row: mean or max. [mean]")]
Unit = Annotated[str | None, typer.Option(help="What is scored: row, or record, over its rows. [row]")]
Recipe = Annotated[str | None, typer.Option(help="Recipe whose section `evaluate` is used.")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="One key of it, such as seed=1.")]


@app.callback()
def ecgeval() -> None:
    """Predictions of runs to tables, figures and a report."""


@app.command()
def report(
    runs: Annotated[list[str] | None, typer.Argument(metavar="[RUN]...", help="Names or folders of runs.")] = None,
    bootstrap: Bootstrap = None,
    seed: Seed = None,
    threshold: Threshold = None,
    window: Window = None,
    unit: Unit = None,
    latex: Annotated[bool | None, typer.Option("--latex", help="Each table as LaTeX (booktabs, graphicx) too.")] = None,
    figures: Annotated[bool | None, typer.Option("--figures/--no-figures", help="Draw them. [yes]")] = None,
    recipe: Recipe = None,
    settings: Settings = None,
    home: Home = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the report. [reports/<store> in the workspace]")] = None,
) -> None:
    """Score runs on their test split; write tables, figures and one page, whose path is the last line.

    Without RUN: every finished run of the newest store that has runs.
    """
    from ecgeval.report import report as write_report
    from ecgeval.report import score
    from ecgeval.runs import find_runs, read_run
    from ecgeval.terminal import print_blocks
    from pipelines.workspace import Workspace

    options = {"bootstrap": bootstrap, "seed": seed, "threshold": threshold, "window": window, "unit": unit}
    config = _config(recipe, settings, options | {"latex": latex, "figures": figures, "out": out, "runs": runs or None})
    workspace = Workspace.at(home)
    blocks = score([read_run(path) for path in find_runs(workspace, config.runs)], config)
    store = blocks[0].header.store.name.removesuffix(".zarr")
    page = write_report(blocks, config, config.out or workspace.reports / store)
    print_blocks(blocks)
    typer.echo(page)


@app.command()
def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="Name or folder of a run.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The run to compare with it.")],
    bootstrap: Bootstrap = None,
    seed: Seed = None,
    threshold: Threshold = None,
    window: Window = None,
    unit: Unit = None,
    recipe: Recipe = None,
    settings: Settings = None,
    home: Home = None,
) -> None:
    """Say whether run B is better than run A, worse, or not distinguishable, on the same rows.

    Runs of different rows, labels or protocols are refused with what differs, and exit code 1.
    """
    from ecgeval.comparison import compare as compare_runs
    from ecgeval.terminal import new_console, print_table

    options = {"bootstrap": bootstrap, "seed": seed, "threshold": threshold, "window": window, "unit": unit}
    config = _config(recipe, settings, options)
    first, second = _two_runs(a, b, home)
    found = compare_runs(first, second, config)
    headings = {name: name for name in found.table.columns}
    print_table(new_console(), found.table, found.table.note, headings)
    typer.echo(found.sentence)
    typer.echo(found.verdict)


@app.command()
def leakage(
    a: Annotated[str, typer.Argument(metavar="A", help="Name or folder of a run.")],
    b: Annotated[str, typer.Argument(metavar="B", help="A run of the same model under another protocol.")],
    bootstrap: Bootstrap = None,
    seed: Seed = None,
    threshold: Threshold = None,
    window: Window = None,
    unit: Unit = None,
    recipe: Recipe = None,
    settings: Settings = None,
    home: Home = None,
) -> None:
    """Set one model under a protocol that leaks patients beside one that keeps them apart, class by class."""
    from ecgeval.evaluation import evaluate
    from ecgeval.leakage import pair_protocols
    from ecgeval.tables.pairs import leakage as leakage_table
    from ecgeval.tables.pairs import leakage_sentence
    from ecgeval.terminal import new_console, print_table

    options = {"bootstrap": bootstrap, "seed": seed, "threshold": threshold, "window": window, "unit": unit}
    config = _config(recipe, settings, options)
    first, second = (evaluate(run, config) for run in _two_runs(a, b, home))
    leaking, disjoint = pair_protocols(first, second)
    table = leakage_table(leaking, disjoint)
    print_table(new_console(), table, table.note, {name: name for name in table.columns})
    typer.echo(leakage_sentence(leaking, disjoint))


@app.command()
def recording(
    predicted: Annotated[Path, typer.Argument(metavar="PREDICTED", help="Folder that `ecgtrain predict` left.")],
    bridge: Annotated[bool, typer.Option("--bridge", help="Pass over one other beat inside a run.")] = False,
    clinical: Annotated[
        bool, typer.Option("--clinical", help="Alarm at 3 V and more over 100 a minute, not at 5 consecutive V.")
    ] = False,
    learning_s: Annotated[float, typer.Option(min=0, help="Start left out of scores against a reference.")] = 300,
    out: Annotated[Path | None, typer.Option(help="Folder of the report. [PREDICTED/report]")] = None,
) -> None:
    """Write beats, episodes, burden and trends of a predicted recording, and one page, whose path is the last line."""
    from ecgeval.recording.predicted import read_recording
    from ecgeval.recording.report import analyse, report_recording
    from ecgeval.terminal import new_console, print_table

    read = read_recording(predicted)
    analysis = analyse(read, bridge=bridge, clinical=clinical, learning_s=learning_s)
    page = report_recording(read, analysis, out or predicted / "report")
    for table in analysis.tables[:2]:
        print_table(new_console(), table, f"{read.about.record}: research output, not a diagnosis")
    typer.echo(page)


def _config(recipe: str | None, settings: list[str] | None, options: dict[str, Any]) -> Evaluate:
    """Return the resolved section `evaluate`: of a recipe, then its settings, then the options that were given."""
    from ecgeval.config import Evaluate
    from pipelines.recipe import override, read_recipe, validate

    given = {name: value for name, value in options.items() if value is not None}
    section = read_recipe(recipe).get("evaluate") or {} if recipe else {}
    return validate(Evaluate, override(section, settings or [], "evaluate") | given, f"{recipe or 'options'}, evaluate")


def _two_runs(a: str, b: str, home: Path | None) -> list[Run]:
    from ecgeval.errors import RequestError
    from ecgeval.runs import find_runs, read_run
    from pipelines.workspace import Workspace

    paths = find_runs(Workspace.at(home), [a, b])
    if len(paths) != 2:
        raise RequestError(f"{a} and {b} are one run; name two")
    return [read_run(path) for path in paths]


def main() -> None:
    """Run ``ecgeval`` and exit."""
    run_program(app, "ecgeval")
