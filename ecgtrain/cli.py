"""The command line of ecgtrain: it parses and prints; the work is done by the functions it calls."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.command_line import run_program
from pipelines.recipe import RecipeError, read_recipe
from pipelines.workspace import Workspace

if TYPE_CHECKING:
    from ecgtrain.plan import PlannedRun
    from ecgtrain.run_folder import RunFolder
    from store.read import Store

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

Home = Annotated[Path | None, typer.Option(help="The workspace; else $ECG_HOME, else ./ecg-workspace.")]


@app.callback()
def program() -> None:
    """Train models on a feature store."""


@app.command()
def run(
    model: Annotated[str | None, typer.Option(help="Models, commas between; see `ecgtrain models`.")] = None,
    inputs: Annotated[
        str | None, typer.Option("--input", help="signal and stored pictures, commas between, such as signal,gaf.")
    ] = None,
    store: Annotated[str | None, typer.Option(help="Name, path or URL of a store; else the newest.")] = None,
    protocol: Annotated[str | None, typer.Option(help="The split; else the store's default.")] = None,
    channels: Annotated[str | None, typer.Option(help="Leads by name, commas between, such as II,V1.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the run, where only one is trained.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs, at most.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Rows a step.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of weights, order and dropout.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps.")] = None,
    recipe: Annotated[str | None, typer.Option(help="A recipe's name or file.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="A key of the recipe: optimizer.lr=3e-4, train.NAME.epochs=5.")
    ] = None,
    resume: Annotated[str | None, typer.Option(help="Go on with this run; takes no other option but --home.")] = None,
    home: Home = None,
) -> None:
    """Train; with no option one run for each kind of input of the newest store."""
    from ecgtrain.distributed import joined

    workspace = Workspace.at(home)
    options = {
        "protocol": protocol,
        "channels": _names(channels),
        "name": name,
        "epochs": epochs,
        "batch_size": batch_size,
        "seed": seed,
        "device": device,
    }
    given = {key: value for key, value in options.items() if value is not None}
    if resume is not None and (given or model or inputs or store or recipe or settings):
        raise RecipeError("--resume goes on with a run as it was set up; give no other option but --home")
    with joined():
        if resume is not None:
            sys.exit(_resume(workspace, resume))
        sys.exit(_train(workspace, _names(model), _names(inputs), store, given, recipe, settings or []))


def _train(
    workspace: Workspace,
    models: list[str] | None,
    inputs: list[str] | None,
    store_name: str | None,
    options: dict[str, Any],
    recipe: str | None,
    settings: list[str],
) -> int:
    from ecgtrain.distributed import this_world
    from ecgtrain.plan import default_runs, expect, recipe_runs, resolve
    from ecgtrain.run_folder import new_run
    from store.read import open_store

    store = open_store(workspace.find_store(store_name))
    if recipe is None:
        requests = default_runs(store, models or (), inputs or ())
    else:
        requests = recipe_runs(read_recipe(recipe), recipe, models, inputs)
    configs = resolve(requests, options, settings, store, recipe or "ecgtrain run")
    if "name" in options and len(configs) > 1:
        raise RecipeError(f"--name is for one run, and {len(configs)} are planned; narrow them with --model")
    world = this_world()
    if world.first:
        _print_plan(store, [expect(config, store) for config in configs])
    finished = []
    for config in configs:
        make = partial(new_run, workspace.runs, config.name, f"{config.model}-{config.protocol}")
        finished.append(_execute(store, world.share(make() if world.first else None), config))
    return _end(finished)


def _resume(workspace: Workspace, name: str) -> int:
    from ecgtrain.run import check_same_store
    from ecgtrain.run_folder import find_run
    from store.read import open_store

    folder = find_run(workspace.runs, name)
    config = folder.config()
    assert config.store is not None
    store = open_store(config.store)
    check_same_store(folder, store)
    return _end([_execute(store, folder, config)])


def _execute(store: Store, folder: RunFolder, config: Any) -> bool:
    from ecgtrain.progress import show_progress
    from ecgtrain.run import execute

    return execute(config, store, folder, show_progress)


def _end(finished: list[bool]) -> int:
    from ecgtrain.distributed import this_world

    if any(finished) and this_world().first:
        typer.echo("next: ecgeval report")
    return 0 if all(finished) else 1


def _print_plan(store: Store, planned: list[PlannedRun]) -> None:
    typer.echo(f"store {store.name}, {store.n_rows} rows{', SYNTHETIC' if store.synthetic else ''}")
    for one in planned:
        config = one.config
        typer.echo(
            f"  {config.name or config.model}: {'+'.join(config.inputs)}, {one.parameters / 1e6:.2f} M parameters, "
            f"protocol {config.protocol}, {one.n_train} rows, {config.epochs} epochs at most, "
            f"up to {_duration(one.seconds)}"
        )
    typer.echo(f"up to {_duration(sum(one.seconds for one in planned))} in all; early stopping makes it less")


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _names(text: str | None) -> list[str] | None:
    return [part.strip() for part in text.split(",") if part.strip()] if text is not None else None


@app.command()
def models() -> None:
    """List the models: what each reads, its parameters (12 leads, 5 classes) and its paper."""
    from ecgtrain.models.table import model_lines

    for line in model_lines():
        typer.echo(line)


@app.command()
def runs(home: Home = None) -> None:
    """List the runs of the workspace: state, epochs, and the best validation figures."""
    from ecgtrain.run_folder import list_runs

    workspace = Workspace.at(home)
    found = list_runs(workspace.runs)
    if not found:
        typer.echo(f"no runs in {workspace.runs}; `ecgtrain run` trains some")
    for folder in found:
        history = folder.history()
        figures = "  ".join(f"best macro {key} {_best(history, key)}" for key in ("f1", "auroc"))
        typer.echo(f"{folder.name:40} {folder.state:9} {len(history):3} epochs  {figures}")


def _best(history: list[dict[str, Any]], key: str) -> str:
    values = [entry["validation"][key] for entry in history if entry["validation"][key] is not None]
    return f"{max(values):.3f}" if values else "–"


@app.command()
def env() -> None:
    """Print versions, devices and the codec in use."""
    from ecgtrain.environment import code_state, codec, devices, versions

    for key, value in {**versions(), **code_state(), **devices(), "codec": codec()}.items():
        typer.echo(f"{key:20} {value}")


def main() -> None:
    """Run the program."""
    run_program(app, "ecgtrain")
