"""The report of some runs: scored, drawn, written beside the old one, and put in its place."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ecgeval import figures
from ecgeval.block import BestRows, Block, make_blocks, read_rows
from ecgeval.comparable import group_comparable
from ecgeval.config import Evaluate
from ecgeval.data import block_data
from ecgeval.drawing import draw
from ecgeval.errors import RequestError
from ecgeval.evaluation import evaluate
from ecgeval.leakage import find_pairs
from ecgeval.page import Section, render
from ecgeval.runs import Run
from ecgeval.tables.of_block import block_tables
from ecgeval.tables.pairs import leakage
from ecgeval.tables.table import Table, write_csv, write_latex
from ecgeval.tables.texts import detailed_report, evaluation_summary

PAGE, DATA = "report.html", "report.json"
SCHEMA = 2


def score(runs: Sequence[Run], config: Evaluate) -> list[Block]:
    """Return runs scored and ranked in blocks, the block of the run that finished last first.

    Parameters
    ----------
    runs : sequence of Run
        At least one.
    config : Evaluate
        How to score.
    """
    in_order = sorted(runs, key=lambda run: (run.finished_ns, run.name))
    return make_blocks(group_comparable([evaluate(run, config) for run in in_order]))


def report(blocks: Sequence[Block], config: Evaluate, out: Path) -> Path:
    """Write the report of scored runs.

    All files are made in a folder beside `out` and then moved, the page last; files of the former report that
    this one does not have are removed, any other file in the folder is left alone.

    Parameters
    ----------
    blocks : sequence of Block
        From `score`; the first one's files lie in `out`, each other's in a subfolder.
    config : Evaluate
        How they were scored.
    out : Path
        The report's folder.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    RequestError
        If `out` is a file, or a folder that holds files but no report.
    """
    former = _former_files(out)
    building = out.parent / f".building-{out.name}"
    shutil.rmtree(building, ignore_errors=True)  # a report that was stopped
    building.mkdir(parents=True)
    try:
        _write(blocks, config, building)
        _move(building, out, former)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return out / PAGE


def leakage_tables(blocks: Sequence[Block]) -> list[Table]:
    """Return a table for each model that was run under a protocol and under one that leaks less."""
    ranked = [run for block in blocks for run in block.evaluations]
    return [leakage(*pair) for pair in find_pairs(ranked)]


def _write(blocks: Sequence[Block], config: Evaluate, folder: Path) -> None:
    created = datetime.now(UTC)
    sections = [_write_block(block, folder / block.folder, config, created) for block in blocks]
    leaks = leakage_tables(blocks)
    for table in leaks:
        _write_table(table, folder, config, "two protocols side by side")
    notes = {"ecgeval": _version(), "evaluate": config.model_dump(mode="json")}
    page = render(sections, leaks, blocks[0].header.store.name, created, notes)
    (folder / PAGE).write_text(page, encoding="utf-8")
    data = {
        "schema": SCHEMA,
        "created": created.isoformat(timespec="seconds"),
        "synthetic": any(block.synthetic for block in blocks),
        **notes,
        "blocks": [block_data(section.block, section.tables) for section in sections],
        "leakage": [table.name for table in leaks],
        "files": sorted([*_files(folder), DATA]),
    }
    (folder / DATA).write_text(json.dumps(data, default=str, allow_nan=False), encoding="utf-8")


def _write_block(block: Block, folder: Path, config: Evaluate, created: datetime) -> Section:
    (folder / "visualizations").mkdir(parents=True)
    best = read_best(block, config)
    made = block_tables(block, best, config)
    for table in made:
        _write_table(table, folder, config, f"Test, {block.protocol}")
    (folder / "EVALUATION_SUMMARY.txt").write_text(evaluation_summary(block, created), encoding="utf-8")
    (folder / "DETAILED_METRICS_REPORT.txt").write_text(detailed_report(block, created), encoding="utf-8")
    drawn = draw(block, best, config) if config.figures else ()
    files = {name: figures.save(figure, folder / "visualizations" / name)[0] for name, figure in drawn}
    return Section(block, made, files)


def read_best(block: Block, config: Evaluate) -> BestRows:
    """Return the test rows of a block's best run, read again."""
    return read_rows(block.best_label, block.best, config)


def _write_table(table: Table, folder: Path, config: Evaluate, caption: str) -> None:
    write_csv(table, folder / f"{table.name}.csv")
    if config.latex:
        write_latex(table, folder / f"{table.name}.tex", caption)


def _former_files(out: Path) -> set[str]:
    """Return the files of the report that `out` holds, by their paths inside it."""
    if not out.exists():
        return set()
    if not out.is_dir():
        raise RequestError(f"{out} is a file; name a folder for the report with --out")
    if not (out / DATA).is_file():
        if any(out.iterdir()):
            raise RequestError(f"{out} holds files but no report; name an empty or new folder with --out")
        return set()
    try:
        files = json.loads((out / DATA).read_text(encoding="utf-8"))["files"]
        return {name for name in files if (out / name).resolve().is_relative_to(out.resolve())}
    except (ValueError, KeyError, TypeError) as error:
        raise RequestError(f"{out / DATA} is not a report of ecgeval; move that folder away") from error


def _move(building: Path, out: Path, former: set[str]) -> None:
    files = _files(building)
    for name in sorted(files, key=lambda name: (name == PAGE, name)):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(building / name, out / name)
    for name in former - set(files):
        (out / name).unlink(missing_ok=True)
        _remove_empty((out / name).parent, out)


def _remove_empty(folder: Path, top: Path) -> None:
    while folder != top and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent


def _files(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]


def _version() -> str:
    try:
        return version("ecgprep")
    except PackageNotFoundError:
        return "not installed"
