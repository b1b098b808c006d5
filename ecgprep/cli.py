"""The command line of ecgprep: it parses and prints; the work is in the modules that it names."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.command_line import run_program

if TYPE_CHECKING:
    from ecgprep.config import Prepare

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Raw ECG recordings to a feature store.",
    context_settings={"help_option_names": ["-h", "--help"]},
)

Home = Annotated[Path | None, typer.Option(help="Workspace folder; by default $ECG_HOME or ./ecg-workspace.")]
Source = Annotated[
    Path | None, typer.Option("--from", help="Folder that holds the database's folder, read where it lies.")
]
StoreName = Annotated[str | None, typer.Argument(help="Store: name, path or URL; by default the newest.")]
Dataset = Annotated[str | None, typer.Option(help="Database, or several: mitdb,incartdb; see `ecgprep datasets`.")]
Reps = Annotated[str | None, typer.Option(help="Pictures, such as gaf,mtf,cwt:size=128; none by default.")]
Leads = Annotated[str | None, typer.Option(help="Leads by name, such as II,V1,V5, or all.")]
Rate = Annotated[float | None, typer.Option(help="Sampling rate in Hz.")]
Unit = Annotated[
    str | None, typer.Option(help="What a row is: record[:max=S], window:S[:step=S] (seconds), or beat:PRESET.")
]
Filters = Annotated[
    str | None, typer.Option(help="Filters on whole records, such as bandpass:low_hz=0.5:high_hz=40,notch:hz=50.")
]
Noise = Annotated[str | None, typer.Option(help="Recorded noise to add, and the ratio in dB, such as ma@6.")]
Detector = Annotated[str | None, typer.Option(help="R-peak detector, for beats of a database without annotated ones.")]
Labels = Annotated[
    str | None, typer.Option(help="Label file of wfdb: CSV with columns record, label; FILE:label=COLUMN:…; or none.")
]
Annotator = Annotated[str | None, typer.Option(help="Suffix of the annotation files of wfdb, such as atr.")]
Patients = Annotated[str | None, typer.Option(help="Part of the patients: a share, 10%, or a range, 0-99.")]
Rule = Annotated[str | None, typer.Option(help="How labels are made, such as present or likely for ptbxl.")]
Balances = Annotated[
    str | None, typer.Option(help="Balance the training rows: smote, adasyn, over, under, or several with commas.")
]
PerClass = Annotated[int | None, typer.Option(min=1, help="Rows a class that --balance brings to; by default 15,000.")]
Engine = Annotated[str | None, typer.Option(help="Who draws: fast, or reference (pyts, PyWavelets, SciPy).")]
Seed = Annotated[int | None, typer.Option(help="Seed of the splits that are drawn at random.")]
Workers = Annotated[int | None, typer.Option(help="Worker processes; 0 for none; by default one a core.")]
Scheduler = Annotated[str | None, typer.Option(help="Address of a Dask scheduler, such as tcp://host:8786.")]
Recipe = Annotated[str | None, typer.Option(help="A shipped recipe's name, or a YAML file.")]
Replace = Annotated[
    bool,
    typer.Option(
        "--replace", help="Remove a store of this name that is damaged or made of other data, finished or not."
    ),
]
Settings = Annotated[list[str] | None, typer.Option("--set", help="Set one key of the recipe, such as fs=500.")]


def main() -> None:
    """Run the program."""
    run_program(app, "ecgprep", resumable=("download", "build"))


@app.command()
def datasets(home: Home = None) -> None:
    """List the databases: what a row is unless --unit says otherwise, licence, size, and what is in the workspace."""
    from ecgprep.datasets import list_databases
    from ecgprep.inspect import print_databases
    from pipelines.workspace import Workspace

    print_databases(list_databases().values(), Workspace.at(home).raw)


@app.command()
def download(
    databases: Annotated[list[str], typer.Argument(help="Databases, see `ecgprep datasets`.")],
    mirror: Annotated[
        str | None, typer.Option("--from", help="Mirror (http, https) or folder that is asked first.")
    ] = None,
    records: Annotated[
        str | None, typer.Option(help="Only these records or folders of records, such as 100,101.")
    ] = None,
    fs: Rate = None,
    patients: Patients = None,
    settings: Settings = None,
    check: Annotated[bool, typer.Option("--check", help="Read every file again; repair those that are wrong.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Ask nothing but --from; say what is missing.")] = False,
    optional: Annotated[bool, typer.Option("--optional", help="Also the files that no build reads.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Download more than 5 GB.")] = False,
    connections: Annotated[int, typer.Option(min=1, max=64, help="Files under way at a time.")] = 8,
    home: Home = None,
) -> None:
    """Get databases from PhysioNet, checked against its list of SHA-256; the same command goes on after a stop."""
    from ecgprep.datasets import get_database
    from ecgprep.download.databases import Options, Wish
    from ecgprep.download.databases import download as download_databases
    from ecgprep.progress import show_progress
    from pipelines.workspace import Workspace
    from store.errors import UserError

    wishes = []
    for name in dict.fromkeys(databases):
        database = get_database(name)
        if patients is not None and not database.patients_by_path:
            raise UserError(f"--patients: the files of {name} do not say whose they are; download it whole")
        prepare = database.resolve(_read_section({"dataset": name, "fs": fs, "patients": patients}, None, settings))
        wishes.append(Wish(database, prepare, Workspace.at(home).raw / database.folder))
    names = tuple(name.strip() for name in (records or "").split(",") if name.strip())
    options = Options(mirror, offline, check, names, optional, yes, connections)
    with show_progress() as progress:
        for done in download_databases(wishes, options, _say, progress):
            typer.echo(done.folder)


@app.command()
def plan(
    dataset: Dataset = None,
    reps: Reps = None,
    leads: Leads = None,
    fs: Rate = None,
    filters: Filters = None,
    noise: Noise = None,
    unit: Unit = None,
    label_rule: Rule = None,
    detector: Detector = None,
    patients: Patients = None,
    labels: Labels = None,
    annotator: Annotator = None,
    balance: Balances = None,
    samples_per_class: PerClass = None,
    engine: Engine = None,
    seed: Seed = None,
    workers: Workers = None,
    recipe: Recipe = None,
    settings: Settings = None,
    source: Source = None,
    home: Home = None,
) -> None:
    """Say what a build would make: rows, bytes, time and classes; write nothing."""
    from ecgprep.balance import plan_balances
    from ecgprep.build import index_databases
    from ecgprep.estimate import estimate
    from ecgprep.execute import TaskRunner
    from ecgprep.inspect import print_plan
    from ecgprep.plan import make_plan
    from ecgprep.progress import show_progress
    from pipelines.workspace import Workspace

    options = {"dataset": dataset, "reps": reps, "leads": leads, "fs": fs, "filters": filters, "unit": unit}
    options |= {
        "label_rule": label_rule,
        "detector": detector,
        "patients": patients,
        "labels": labels,
        "annotator": annotator,
        "engine": engine,
        "seed": seed,
        "workers": workers,
    }
    options |= {"balance": balance, "samples_per_class": samples_per_class, "noise": noise}
    prepare = _read_section(options, recipe, settings)
    with show_progress() as progress, TaskRunner(prepare.workers, prepare.scheduler) as runner:
        start = perf_counter()
        indexes, resolved = index_databases(prepare, Workspace.at(home), source, runner, progress)
        planned, pictures = make_plan(indexes, resolved)
        indexing_s = perf_counter() - start
        balances = plan_balances(planned.values, resolved)
        made = estimate(planned, indexes, resolved, pictures, balances, indexing_s, progress)
    print_plan(planned, made, balances)


@app.command()
def build(
    dataset: Dataset = None,
    reps: Reps = None,
    leads: Leads = None,
    fs: Rate = None,
    filters: Filters = None,
    noise: Noise = None,
    unit: Unit = None,
    label_rule: Rule = None,
    detector: Detector = None,
    patients: Patients = None,
    labels: Labels = None,
    annotator: Annotator = None,
    balance: Balances = None,
    samples_per_class: PerClass = None,
    engine: Engine = None,
    seed: Seed = None,
    strict: Annotated[bool | None, typer.Option("--strict", help="Stop at the first unusable record.")] = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    recipe: Recipe = None,
    settings: Settings = None,
    source: Source = None,
    home: Home = None,
    replace: Replace = False,
    target: Annotated[
        str | None, typer.Option("--to", help="Folder or URL for the store, such as s3://bucket/stores.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Download more than 5 GB where databases are not here.")] = False,
) -> None:
    """Build a store, go on with a stopped build, or add pictures and balances to a complete store."""
    from ecgprep.build import build as build_store
    from ecgprep.download.databases import Options
    from ecgprep.download.databases import download as download_databases
    from ecgprep.inspect import print_result
    from ecgprep.progress import show_progress
    from pipelines.workspace import Workspace

    options = {"dataset": dataset, "reps": reps, "leads": leads, "fs": fs, "unit": unit, "label_rule": label_rule}
    options |= {
        "filters": filters,
        "noise": noise,
        "detector": detector,
        "patients": patients,
        "labels": labels,
        "annotator": annotator,
        "balance": balance,
        "samples_per_class": samples_per_class,
        "engine": engine,
        "seed": seed,
        "strict": strict,
        "workers": workers,
        "scheduler": scheduler,
    }
    prepare = _read_section(options, recipe, settings)
    with show_progress() as progress:
        fetch = partial(download_databases, options=Options(yes=yes), say=_say, progress=progress)
        result = build_store(prepare, Workspace.at(home), source, replace, progress, target, fetch)
    print_result(result)


@app.command()
def inspect(store: StoreName = None, home: Home = None) -> None:
    """Show what is in a store."""
    from ecgprep.inspect import print_store
    from pipelines.workspace import Workspace
    from store.read import open_store

    print_store(open_store(Workspace.at(home).find_store(store)))


@app.command()
def verify(store: StoreName = None, home: Home = None) -> None:
    """Compare every file of a store with its manifest; print each that is damaged or missing."""
    from pipelines.workspace import Workspace
    from store.verify import find_damage

    place = Workspace.at(home).find_store(store)
    damaged = 0
    for damage in find_damage(place):
        damaged += 1
        typer.echo(f"{damage.path} {damage.fault}")
    if damaged:
        typer.echo(f"{place}: damaged files: {damaged}; build it again with --replace", err=True)
        raise typer.Exit(1)
    typer.echo(f"{place}: whole")


@app.command()
def plot(
    store: StoreName = None,
    row: Annotated[int, typer.Option(help="Number of the row; among those of --patient and --class if given.")] = 0,
    patient: Annotated[str | None, typer.Option(help="Patient of the row, such as 208.")] = None,
    class_name: Annotated[str | None, typer.Option("--class", help="Class of the row, such as V.")] = None,
    balance: Annotated[str | None, typer.Option(help="Draw a balance instead, such as smote.")] = None,
    protocol: Annotated[str | None, typer.Option(help="Protocol of the balance; by default the store's own.")] = None,
    fold: Annotated[int | None, typer.Option(help="Run of the balance, of a protocol that numbers folds.")] = None,
    out: Annotated[Path | None, typer.Option(help="PNG or SVG file; by default named for what it shows.")] = None,
    home: Home = None,
) -> None:
    """Draw one row on ECG paper, beside its pictures; or a balance, classes and beats before and after."""
    from ecgprep.plot import choose_row, plot_row
    from ecgprep.plot_balance import plot_balance
    from pipelines.workspace import Workspace
    from store.errors import UserError
    from store.read import open_store

    if balance is None and (protocol is not None or fold is not None):
        raise UserError("--protocol and --fold belong to --balance; a row has none")
    if balance is not None and (row or patient or class_name):
        raise UserError("--row, --patient and --class choose a row; leave them or --balance out")
    opened = open_store(Workspace.at(home).find_store(store))
    name = opened.name.removesuffix(".zarr")
    if balance is not None:
        drawn = opened.balance(protocol, balance, fold)
        place = out or Path(f"{name}-{drawn.path.partition('/')[2]}.png")
        plot_balance(opened, drawn, place)
    else:
        chosen = choose_row(opened, row, patient, class_name)
        place = out or Path(f"{name}-row-{chosen}.png")
        plot_row(opened, chosen, place)
    typer.echo(place)


@app.command()
def export(
    store: StoreName = None,
    to: Annotated[str, typer.Option(help="Layout: npy, pairs, pt, parquet or wfdb.")] = "npy",
    out: Annotated[Path | None, typer.Option(help="Folder to write; by default <store>-<protocol>-<layout>.")] = None,
    protocol: Annotated[str | None, typer.Option(help="Split protocol; by default the store's own choice.")] = None,
    fold: Annotated[int | None, typer.Option(help="Fold that is tested, of a protocol that numbers folds.")] = None,
    balance: Annotated[str | None, typer.Option(help="Balance of the training rows, such as smote.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Rows of a batch: of a file of npy, and in memory.")] = 256,
    home: Home = None,
    replace: Annotated[bool, typer.Option("--replace", help="Write a folder anew that an export has made.")] = False,
) -> None:
    """Write the rows of a protocol in a layout that other projects read."""
    from ecgprep.export import export_store, find_format
    from ecgprep.progress import show_progress
    from pipelines.workspace import Workspace
    from store.read import open_store

    write = find_format(to)
    opened = open_store(Workspace.at(home).find_store(store))
    name = protocol or opened.attributes["default_protocol"]
    place = out or Path(f"{opened.name.removesuffix('.zarr')}-{name}-{to}")
    with show_progress() as progress:
        export_store(
            opened,
            place,
            write,
            protocol=protocol,
            fold=fold,
            balance=balance,
            batch_size=batch_size,
            replace=replace,
            progress=progress,
        )
    typer.echo(place)


@app.command()
def synth(
    folder: Annotated[Path, typer.Argument(help="Where the database's folder is made.")],
    like: Annotated[str, typer.Option(help="Database whose file layout is written, such as mitdb or ptbxl.")],
    minutes: Annotated[float | None, typer.Option(help="Length of each record, where it is not fixed.")] = None,
    records: Annotated[int | None, typer.Option(help="Number of records, where it is not fixed.")] = None,
    fs: Annotated[int | None, typer.Option(help="Sampling rate, where there are several: 100 or 500 of ptbxl.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all that is drawn.")] = 0,
) -> None:
    """Write synthetic recordings in a database's own file layout; all that is made of them says SYNTHETIC."""
    from ecgprep.synth import write_like

    typer.echo(write_like(like, folder, n_minutes=minutes, n_records=records, fs=fs, seed=seed))


def _say(line: str) -> None:
    typer.echo(line, err=True)


def _read_section(options: dict[str, Any], recipe: str | None, settings: list[str] | None) -> Prepare:
    """Return the recipe's section with the command line's options over it."""
    from ecgprep.config import Prepare
    from pipelines.recipe import RecipeError, override, read_recipe, validate

    section = (read_recipe(recipe).get("prepare") or {}) if recipe else {}
    if not isinstance(section, dict):
        raise RecipeError(f"{recipe}: prepare holds keys and values, not {section!r}")
    section = section | {key: value for key, value in options.items() if value is not None}
    section = override(section, settings or [], "prepare")
    if "dataset" not in section:
        from store.errors import UserError

        raise UserError("name a database: --dataset mitdb or --dataset ptbxl; see `ecgprep datasets`")
    return validate(Prepare, section, f"{recipe}, prepare" if recipe else "options")
