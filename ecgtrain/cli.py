"""The command line of ecgtrain: it parses and prints; the work is done by the functions it calls."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.command_line import run_program
from pipelines.recipe import RecipeError, read_recipe
from pipelines.workspace import Workspace
from store.errors import EcgError, NothingLeftError, ResourceError, UnknownNameError

if TYPE_CHECKING:
    from ecgtrain.config import EnsembleConfig, RunConfig
    from ecgtrain.plan import PlannedRun
    from ecgtrain.reopened import Reopened
    from ecgtrain.run_folder import RunFolder
    from store.read import Store

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

EXPORTS = ("onnx", "weights")

Home = Annotated[Path | None, typer.Option(help="The workspace; else $ECG_HOME, else ./ecg-workspace.")]


@app.callback()
def program() -> None:
    """Train models on a feature store."""


@app.command()
def run(
    model: Annotated[
        str | None, typer.Option(help="Models, commas between, or all that fit; see `ecgtrain models`.")
    ] = None,
    inputs: Annotated[
        str | None, typer.Option("--input", help="signal and pictures, commas between, such as signal,gaf:size=128.")
    ] = None,
    store: Annotated[str | None, typer.Option(help="Name, path or URL of a store; else the newest.")] = None,
    protocol: Annotated[str | None, typer.Option(help="The split; else the store's default.")] = None,
    channels: Annotated[
        str | None, typer.Option(help="Leads by name, such as II,V1, or a set such as leads12 or fusion6.")
    ] = None,
    balance: Annotated[
        str | None, typer.Option(help="Synthetic training rows of the store, such as smote; or none.")
    ] = None,
    samples_per_class: Annotated[int | None, typer.Option(help="Training rows of a class, at most.")] = None,
    patients: Annotated[
        str | None, typer.Option(help="Part of the training patients: a share of the database, 10%, or a range, 0-99.")
    ] = None,
    init_from: Annotated[
        str | None,
        typer.Option(
            help="Start from the weights of a run or a file (safetensors, state dict), or random; commas: from each."
        ),
    ] = None,
    folds: Annotated[int | None, typer.Option(help="Train a run for each of so many folds of patients.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Train each run with so many seeds.")] = 1,
    name: Annotated[str | None, typer.Option(help="Name of the run, where only one is trained.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs, at most.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Rows a step.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of weights, order, dropout and augmentation.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps.")] = None,
    recipe: Annotated[str | None, typer.Option(help="A recipe's name or file.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="A key of the recipe: optimizer.lr=3e-4, train.NAME.epochs=5.")
    ] = None,
    baselines: Annotated[
        bool, typer.Option(help="Fit the cheap models that every report shows, where they are not there yet.")
    ] = True,
    save_features: Annotated[
        bool, typer.Option("--save-features", help="Then do what `ecgtrain features` does, for each run trained.")
    ] = False,
    resume: Annotated[str | None, typer.Option(help="Go on with this run; takes no other option but --home.")] = None,
    home: Home = None,
) -> None:
    """Train; with no option one run for each kind of input of the newest store.

    A command that was interrupted goes on when it is given again.
    """
    from ecgtrain.distributed import joined

    workspace, starts = Workspace.at(home), _names(init_from)
    options = {
        "protocol": protocol,
        "init_from": starts[0] if starts else None,
        "channels": _names(channels),
        "balance": balance,
        "samples_per_class": samples_per_class,
        "patients": patients,
        "folds": folds,
        "name": name,
        "epochs": epochs,
        "batch_size": batch_size,
        "seed": seed,
        "device": device,
        "save_features": save_features or None,
    }
    given = {key: value for key, value in options.items() if value is not None}
    asked = Asked(
        _names(model), _names(inputs), store, given, seeds, recipe, settings or [], baselines, _names(init_from)
    )
    if resume is not None and asked != Asked():
        raise RecipeError("--resume goes on with a run as it was set up; give no other option but --home")
    with joined():
        code = _train(workspace, asked) if resume is None else _resume(workspace, resume)
    sys.exit(code)


@dataclass(frozen=True)
class Asked:
    """What a command line asks for."""

    models: list[str] | None = None
    inputs: list[str] | None = None
    store: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    seeds: int = 1
    recipe: str | None = None
    settings: list[str] = field(default_factory=list)
    baselines: bool = True
    init_from: list[str] | None = None


def _train(workspace: Workspace, asked: Asked) -> int:
    from ecgtrain.distributed import this_world
    from ecgtrain.fitting import baseline_configs
    from ecgtrain.loader import check_rows
    from ecgtrain.plan import expect
    from ecgtrain.transfer import starting_from
    from store.read import open_store

    store = open_store(workspace.find_store(asked.store))
    configs = starting_from(_plan(store, asked), asked.init_from, workspace.runs)
    check_rows(store, configs)
    ensembles, n_own = _plan_ensembles(asked), len(configs)
    if asked.baselines and this_world().size == 1:
        configs += baseline_configs(configs, store, workspace.runs)
    if this_world().first:
        _print_plan(store, [expect(config, store) for config in configs])
    trained = _train_all(workspace, store, configs)
    joined = _join_all(workspace, asked, ensembles, trained[:n_own])
    return _end(trained, joined)


def _plan_ensembles(asked: Asked) -> list[EnsembleConfig]:
    from ecgtrain.recipe_ensembles import recipe_ensembles

    if asked.recipe is None:
        return []
    return recipe_ensembles(read_recipe(asked.recipe), asked.recipe, asked.models)


def _join_all(
    workspace: Workspace, asked: Asked, ensembles: list[EnsembleConfig], trained: list[tuple[RunFolder, bool]]
) -> list[bool]:
    """Join a recipe's runs to its ensembles; each run stands there once a seed."""
    from ecgtrain.distributed import this_world
    from ecgtrain.recipe_ensembles import join_runs, recipe_names

    if not ensembles or not this_world().first or asked.recipe is None:
        return []
    names = recipe_names(read_recipe(asked.recipe), asked.models)
    each = len(trained) // len(names)
    folders = {name: [run for run, _ in trained[i * each : (i + 1) * each]] for i, name in enumerate(names)}
    return join_runs(ensembles, folders, workspace.runs, asked.options.get("device", "auto"))


def _plan(store: Store, asked: Asked) -> list[RunConfig]:
    from ecgtrain.distributed import this_world
    from ecgtrain.plan import ALL_MODELS, check_reads, default_runs, recipe_runs, repeated, resolve, that_fit

    if asked.recipe is None:
        requests = default_runs(store, asked.models or (), asked.inputs or ())
    else:
        requests = recipe_runs(read_recipe(asked.recipe), asked.recipe, asked.models, asked.inputs)
    source = asked.recipe or "ecgtrain run"
    configs = resolve(requests, asked.options, asked.settings, store, source)
    if asked.models == [ALL_MODELS]:
        configs, reasons = that_fit(configs, store)
        for name, reason in reasons.items() if this_world().first else ():
            typer.echo(f"left out: {name}: {reason}", err=True)
    else:
        for config in configs:
            check_reads(config, store)
    if "name" in asked.options and len(configs) > 1:
        raise RecipeError(f"--name is for one run, and {len(configs)} are planned; narrow them with --model")
    return repeated(configs, asked.seeds)


def _train_all(workspace: Workspace, store: Store, configs: list[RunConfig]) -> list[tuple[RunFolder, bool]]:
    """Train runs one after the other, those that an earlier command has left unfinished from where they stand.

    Returns the folder of each, and whether it is finished.
    """
    from ecgtrain.distributed import this_world
    from ecgtrain.run_folder import FINISHED, check_same_store, earlier_runs, new_run

    world = this_world()
    left = world.share(earlier_runs(workspace.runs, configs) if world.first else None)
    finished = []
    for config, folder in zip(configs, left, strict=True):
        if folder is not None and folder.state == FINISHED:
            check_same_store(folder, store)
            if world.first:
                typer.echo(f"{folder.name} is finished already")
            finished.append((folder, True))
            continue
        if folder is None:
            stem = f"{config.model}-{config.protocol}"
            folder = world.share(new_run(workspace.runs, config.name, stem) if world.first else None)
        finished.append((folder, _execute(store, folder, config)))
    return finished


def _resume(workspace: Workspace, name: str) -> int:
    from ecgtrain.run_folder import check_same_store, find_run
    from store.read import open_store

    folder = find_run(workspace.runs, name)
    config = folder.config()
    assert config.store is not None
    store = open_store(config.store)
    check_same_store(folder, store)
    return _end([(folder, _execute(store, folder, config))])


def _execute(store: Store, folder: RunFolder, config: RunConfig) -> bool:
    from ecgtrain.progress import make_display
    from ecgtrain.run import execute

    return execute(config, store, folder, make_display())


def _end(trained: list[tuple[RunFolder, bool]], joined: Sequence[bool] = ()) -> int:
    """Say what comes next, and return the exit code: 4 where a run lacked memory or disk, else that of all failures."""
    from ecgtrain.distributed import this_world

    finished = [*(done for _, done in trained), *joined]
    if any(finished) and this_world().first:
        typer.echo("next: ecgeval report")
    if all(finished):
        return 0
    codes = {run.exit_code for run, done in trained if not done} | {EcgError.exit_code for done in joined if not done}
    if ResourceError.exit_code in codes:
        return ResourceError.exit_code
    return codes.pop() if len(codes) == 1 else EcgError.exit_code


def _print_plan(store: Store, planned: list[PlannedRun]) -> None:
    from ecgtrain.progress import duration

    typer.echo(f"store {store.name}, {store.n_rows} rows{', SYNTHETIC' if store.synthetic else ''}")
    for one in planned:
        config = one.config
        typer.echo(
            f"  {config.name or config.model}: {'+'.join(config.inputs)}, {one.parameters / 1e6:.2f} M parameters, "
            f"protocol {config.protocol}{_folds(config)}, {one.n_train} rows, {config.epochs} epochs at most, "
            f"up to {duration(one.seconds)}"
        )
    typer.echo(f"up to {duration(sum(one.seconds for one in planned))} in all; early stopping makes it less")


def _folds(config: RunConfig) -> str:
    return f" ({config.folds} runs)" if config.folds else f" (fold {config.fold})" if config.fold is not None else ""


def _names(text: str | None) -> list[str] | None:
    return [part.strip() for part in text.split(",") if part.strip()] if text is not None else None


@app.command()
def sweep(
    grid: Annotated[
        list[str], typer.Option(help="A key and its values, optimizer.lr=1e-3,3e-4; again for the next key.")
    ],
    model: Annotated[str | None, typer.Option(help="The model; see `ecgtrain models`.")] = None,
    inputs: Annotated[str | None, typer.Option("--input", help="signal and pictures, commas between.")] = None,
    store: Annotated[str | None, typer.Option(help="Name, path or URL of a store; else the newest.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the sweep and of the run that is chosen.")] = None,
    recipe: Annotated[str | None, typer.Option(help="A recipe's name or file.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="A key of the recipe that all points share: epochs=5.")
    ] = None,
    home: Home = None,
) -> None:
    """Train a run for each point of a small grid, and choose one on validation alone.

    Only the chosen one predicts the test rows. A sweep that was interrupted goes on when it is given again.
    """
    from ecgtrain.distributed import started_by_torchrun
    from ecgtrain.sweep import Point, check_points, grid_points, outcome_lines, sweep, sweep_folder
    from ecgtrain.transfer import starting_from
    from store.read import open_store

    if started_by_torchrun():
        raise RecipeError("a sweep is made by one process: start it without torchrun")
    workspace = Workspace.at(home)
    opened, points = open_store(workspace.find_store(store)), []
    for point in grid_points(grid):
        asked = Asked(_names(model), _names(inputs), recipe=recipe, settings=[*(settings or []), *point])
        configs = starting_from(_plan(opened, asked), None, workspace.runs)
        if len(configs) > 1:
            raise RecipeError(f"a sweep is of one run, and {len(configs)} are planned; narrow them with --model")
        points.append(Point(point, configs[0]))
    check_points(points)
    folder = sweep_folder(workspace.runs, points, name)
    typer.echo(f"{folder.name}: {len(points)} points")
    outcomes = sweep(points, opened, folder, lambda config, store, run: _execute(store, run, config))
    for line in outcome_lines(outcomes):
        typer.echo(line)
    typer.echo(f"chosen on validation: {' '.join(outcomes[0].point.settings)}; {folder.name} is its run")
    typer.echo("next: ecgeval report")


@app.command()
def models() -> None:
    """List the models: what each reads, its parameters (12 leads, 5 classes) and its paper."""
    from ecgtrain.models.table import model_lines

    for line in model_lines():
        typer.echo(line)


@app.command()
def runs(home: Home = None) -> None:
    """List the runs of the workspace, folds below their parent: state, epochs, and the best validation figures."""
    from ecgtrain.run_folder import list_runs

    workspace = Workspace.at(home)
    found = list_runs(workspace.runs)
    if not found:
        typer.echo(f"no runs in {workspace.runs}; `ecgtrain run` trains some")
    for folder in [one for run in found for one in (run, *list_runs(run.path))]:
        history, indent = folder.history(), "" if folder in found else "  "
        figures = "  ".join(f"best macro {key} {_best(history, key)}" for key in ("f1", "auroc"))
        typer.echo(f"{indent + folder.name:40} {folder.state:9} {len(history):3} epochs  {figures}")


def _best(history: list[dict[str, Any]], key: str) -> str:
    values = [entry["validation"][key] for entry in history if entry["validation"][key] is not None]
    return _figure(max(values, default=None))


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


Run = Annotated[str, typer.Argument(help="A finished run; of one over folds a fold, such as NAME/fold-0.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]


def _reopen(run: str, home: Path | None, device: str) -> Reopened:
    from ecgtrain.reopened import reopen
    from ecgtrain.run_folder import find_run

    return reopen(find_run(Workspace.at(home).runs, run), device)


@app.command()
def features(run: Run, device: Device = "auto", home: Home = None) -> None:
    """Write what a run's network makes of each test row just before it decides, for the report's map of them."""
    from ecgtrain.reopened import save_features

    typer.echo(save_features(_reopen(run, home, device)))


@app.command()
def explain(
    run: Run,
    method: Annotated[str, typer.Option(help="integrated_gradients or grad_cam.")] = "integrated_gradients",
    device: Device = "auto",
    home: Home = None,
) -> None:
    """Write which samples decided the rows that are right and wrong with most confidence, and those between."""
    from ecgtrain.reopened import save_explanations

    typer.echo(save_explanations(_reopen(run, home, device), method))


@app.command()
def benchmark(run: Run, device: Device = "auto", home: Home = None) -> None:
    """Measure a run's network: parameters, operations, latency and throughput at batches of 1 to 256 rows."""
    from ecgtrain.reopened import save_benchmark

    measured = save_benchmark(_reopen(run, home, device))
    macs = "unknown" if measured["macs"] is None else f"{measured['macs'] / 1e6:.1f} M"
    typer.echo(
        f"{measured['parameters']:,} parameters, {macs} multiply-adds a row, {measured['size_bytes'] / 1e6:.1f} MB, "
        f"{measured['device']}"
    )
    for one in measured["batches"]:
        typer.echo(
            f"  batch {one['batch']:4}: {one['mean_ms']:9.2f} ms (SD {one['sd_ms']:.2f}, {one['min_ms']:.2f} to "
            f"{one['max_ms']:.2f}), {one['rows_per_s']:10.0f} rows/s"
        )


@app.command()
def export(
    run: Run,
    to: Annotated[str, typer.Option(help="onnx or weights.")],
    without_head: Annotated[bool, typer.Option(help="Leave out the layer that gives the logits (weights).")] = False,
    folder: Annotated[Path | None, typer.Option(help="Where to; else the run's folder export.")] = None,
    home: Home = None,
) -> None:
    """Write a run's network for others, as ONNX or as weights, with a card beside it."""
    from ecgtrain.reopened import export_run

    if to not in EXPORTS:
        raise UnknownNameError("form of export", to, EXPORTS)
    if without_head and to != "weights":
        raise RecipeError("--without-head is for --to weights: ONNX holds whole networks")
    for file in export_run(_reopen(run, home, "cpu"), to, head=not without_head, folder=folder):
        typer.echo(file)


@app.command()
def ensemble(
    members: Annotated[list[str], typer.Argument(metavar="RUN...", help="Finished runs on the same rows.")],
    by: Annotated[
        str, typer.Option(help="average, top-k, weighted, fixed, learnable, attention or feature.")
    ] = "average",
    k: Annotated[int | None, typer.Option(help="How many runs top-k keeps; else 5.")] = None,
    weights: Annotated[str | None, typer.Option(help="Of fixed, commas between; else 0.6,0.4 for two runs.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the run; else ensemble_BY-PROTOCOL-N.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of a network that joins them.")] = None,
    device: Device = "auto",
    home: Home = None,
) -> None:
    """Join finished runs into one; weights and choice come from validation alone."""
    from ecgtrain.config import EnsembleConfig
    from ecgtrain.ensemble import read_members, write_ensemble
    from ecgtrain.run_folder import MEMBERS, find_run, new_run
    from pipelines.recipe import validate

    options = {"k": k, "weights": _names(weights), "name": name, "seed": seed}
    given = {key: value for key, value in options.items() if value is not None}
    config = validate(EnsembleConfig, {"ensemble": members, "by": by, **given}, "ecgtrain ensemble")
    runs_folder = Workspace.at(home).runs
    read = read_members([find_run(runs_folder, member) for member in config.ensemble])
    folder = new_run(runs_folder, config.name, f"ensemble_{by}-{read[0].footer['protocol']}")
    write_ensemble(config, read, folder, device)
    typer.echo(folder.name)
    for member in folder.read_json(MEMBERS)["members"]:
        weight = "" if member["weight"] is None else f"  weight {member['weight']:.3f}"
        typer.echo(f"  {member['run']:38} validation macro f1 {_figure(member['validation_f1'])}{weight}")
    typer.echo("next: ecgeval report")


@app.command()
def predict(
    run: Run,
    recordings: Annotated[list[Path], typer.Argument(help="WFDB (.hea), EDF (.edf) or CSV (.csv) files.")],
    fs: Annotated[float | None, typer.Option(min=0.001, help="Sampling rate of CSV files, Hz.")] = None,
    unit: Annotated[str | None, typer.Option(help="Unit of CSV files: mV, uV or V; else mV.")] = None,
    annotator: Annotated[
        str | None, typer.Option(help="Suffix of annotation files that mark the beats of WFDB records, such as atr.")
    ] = None,
    to: Annotated[Path | None, typer.Option(help="Folder of the results; else the run's folder predicted.")] = None,
    device: Device = "auto",
    home: Home = None,
) -> None:
    """Say of each beat, window or whole of a recording of one's own which class it is; `ecgeval recording` reads it.

    A recording is prepared as the run's store was. One that cannot be used is said, and the others go on.
    """
    from ecgtrain.recordings import FileFacts, predict_all
    from ecgtrain.run_folder import find_run
    from ecgtrain.trained_ensemble import load_run

    folder = find_run(Workspace.at(home).runs, run)
    place = to or folder.path / "predicted"
    facts = FileFacts(fs, unit, annotator)
    done = 0
    for found in predict_all(load_run(folder.path, device), folder.path, recordings, place, facts):
        typer.echo(found, err=isinstance(found, str))
        done += isinstance(found, Path)
    if not done:
        raise NothingLeftError("no recording could be predicted")
    typer.echo("next: ecgeval recording FOLDER")


@app.command()
def env() -> None:
    """Print versions, devices and the codec in use."""
    from ecgtrain.environment import code_state, codec, devices, versions

    for key, value in {**versions(), **code_state(), **devices(), "codec": codec()}.items():
        typer.echo(f"{key:20} {value}")


def main() -> None:
    """Run the program."""
    run_program(app, "ecgtrain")
