"""A recipe from raw recordings to its report: the three programs, one after the other."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from pipelines.command_line import run_program
from pipelines.quick import QUICK, Size, synthesise, write_quick
from pipelines.recipe import find_recipe, read_recipe, shipped_names
from pipelines.workspace import Workspace

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def commands(recipe: str, source: Path | None, home: Path | None) -> list[list[str]]:
    """Return the three commands that a recipe stands for.

    Parameters
    ----------
    recipe : str
        A shipped recipe's name, or a YAML file.
    source : Path or None
        Folder of the raw recordings; None for the workspace.
    home : Path or None
        The workspace; None for the default one.
    """
    at = ["--home", str(home)] if home else []
    raw = ["--from", str(source)] if source else []
    return [
        ["ecgprep", "build", "--recipe", recipe, *raw, *at],
        ["ecgtrain", "run", "--recipe", recipe, *at],
        ["ecgeval", "report", "--recipe", recipe, *at],
    ]


def quick_commands(recipe: str, source: Path | None, home: Path | None, size: Size = QUICK) -> list[list[str]]:
    """Return the commands that stand for a recipe made small.

    Parameters
    ----------
    recipe : str
        A shipped recipe's name, or a YAML file.
    source : Path or None
        Folder of the raw recordings; None: synthetic ones are made in the workspace.
    home : Path or None
        The workspace; None for the default one.
    size : Size
        How small.
    """
    sections, workspace = read_recipe(recipe), Workspace.at(home).home
    made = source or workspace / "synthetic" / str(sections["prepare"]["dataset"])
    first = [] if source else synthesise(sections, made)
    return [*first, *commands(str(write_quick(sections, recipe, workspace, size)), made, home)]


def run_all(lines: Sequence[Sequence[str]]) -> int:
    """Run commands until one fails; return the exit code of the last that ran."""
    for program, *arguments in lines:
        sys.stderr.write(f"$ {' '.join([program, *arguments])}\n")
        code = subprocess.run([sys.executable, "-m", program, *arguments], check=False).returncode
        if code:
            return code
    return 0


@app.command("list")
def list_recipes() -> None:
    """List the recipes that come with the package."""
    for name in shipped_names():
        title = find_recipe(name).read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
        typer.echo(f"{name}: {title}")


@app.command()
def run(
    recipe: Annotated[str, typer.Argument(help="A recipe's name, see `list`, or a YAML file.")],
    source: Annotated[Path | None, typer.Option("--from", help="Folder that holds the database's folder.")] = None,
    home: Annotated[Path | None, typer.Option(help="Workspace; else $ECG_HOME or ./ecg-workspace.")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Few rows, small pictures, two epochs; synthetic recordings without --from.")
    ] = False,
) -> None:
    """Build, train and report as a recipe says."""
    find_recipe(recipe)
    raise typer.Exit(run_all((quick_commands if quick else commands)(recipe, source, home)))


def main() -> None:
    """Run the program."""
    run_program(app, "pipelines")
