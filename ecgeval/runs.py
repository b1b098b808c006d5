"""Runs as ecgtrain leaves them: which there are, and what their files say."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ecgeval.errors import RequestError, RunFileError, RunNotFoundError
from ecgeval.header import Header, read_header
from pipelines.workspace import Workspace

HISTORY: dict[str, type] = {"epoch": int, "watched": str}  # what every line needs of the right kind, if it has it
NAMES = {int: "a whole number", str: "text"}
ASK_FOR_RUNS = "run `ecgtrain run` first"


@dataclass(frozen=True)
class Calibration:
    """What a run fitted on its validation rows.

    Parameters
    ----------
    thresholds : dict of str to float
        Threshold a class; empty where it fitted none.
    temperature : float or None
        Temperature of its probabilities; None where it fitted none.
    """

    thresholds: dict[str, float] = field(default_factory=dict)
    temperature: float | None = None


@dataclass(frozen=True)
class Run:
    """One finished run; its predictions are read when they are asked for, so that forty runs take no memory.

    Parameters
    ----------
    path : Path
        Its folder.
    header : Header
        The footer of its test predictions.
    calibrations : dict of int to Calibration
        By fold; −1 is that of the run itself.
    history : list of dict
        One entry an epoch.
    environment, config : dict
        What the run says about its software, and its resolved configuration.
    """

    path: Path
    header: Header
    calibrations: dict[int, Calibration] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    environment: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The run's name, which is its folder's."""
        return self.path.name

    @property
    def test_file(self) -> Path:
        """Its test predictions."""
        return self.path / "predictions" / "test.parquet"

    @property
    def validation_file(self) -> Path:
        """Its validation predictions, which a run of another program may not have."""
        return self.path / "predictions" / "validation.parquet"

    @property
    def finished_ns(self) -> int:
        """When the run finished."""
        return (self.path / "state").stat().st_mtime_ns

    def calibration(self, fold: int) -> Calibration:
        """Return what was fitted for the rows of a fold: by the fold's own run, else by the run."""
        return self.calibrations.get(fold, self.calibrations.get(-1, Calibration()))


def find_runs(workspace: Workspace, names: Sequence[str] = ()) -> list[Path]:
    """Return the folders of the runs to report.

    Parameters
    ----------
    workspace : Workspace
        Where runs are looked for by name.
    names : sequence of str
        Names or folders. Without any: every finished run of the newest store that has runs.

    Raises
    ------
    RunNotFoundError
        If a run is unknown or has not finished, or there is none at all.
    RequestError
        If two folders have one name.
    """
    if not names:
        return _runs_of_newest_store(workspace)
    folders = list(dict.fromkeys(_find_run(workspace, name).resolve() for name in names))
    repeated = {folder.name for folder in folders if [f.name for f in folders].count(folder.name) > 1}
    if repeated:
        raise RequestError(f"two runs are called {min(repeated)!r}; rename the folder of one, or leave it out")
    return folders


def read_run(path: Path) -> Run:
    """Read the files of a run, but for the rows of its predictions.

    Raises
    ------
    RunNotFoundError
        If its test predictions are missing.
    RunFileError
        If one of its files is damaged or breaks the contract.
    """
    header = read_header(path / "predictions" / "test.parquet")
    files = {-1: path / "calibration.json"}
    for file in path.glob("fold-*/calibration.json"):
        if (fold := file.parent.name.removeprefix("fold-")).isdecimal():
            files[int(fold)] = file
    return Run(
        path=path,
        header=header,
        calibrations={fold: _read_calibration(file, header) for fold, file in files.items() if file.is_file()},
        history=_read_history(path / "history.jsonl"),
        environment=_read_mapping(path / "environment.json"),
        config=_read_mapping(path / "config.yaml"),
    )


def short_labels(runs: Sequence[Run]) -> list[str]:
    """Return what to call the runs of a report: the model, or the run where that is not unique."""
    models = [run.header.model for run in runs]
    if len(set(models)) == len(models):
        return models
    short = [run.name.replace(f"-{run.header.protocol}", "") for run in runs]
    return short if len(set(short)) == len(short) else [run.name for run in runs]


def _runs_of_newest_store(workspace: Workspace) -> list[Path]:
    finished = workspace.finished_runs()
    if not finished:
        raise RunNotFoundError(f"no finished run in {workspace.runs}; {ASK_FOR_RUNS}")
    store_of = {path: _store_name(read_header(path / "predictions" / "test.parquet")) for path in finished}
    for store in reversed(workspace.complete_stores()):
        if store.stem in store_of.values():
            return [path for path in finished if store_of[path] == store.stem]
    last = store_of[finished[-1]]  # the stores were deleted or lie elsewhere; the runs are still evidence
    return [path for path in finished if store_of[path] == last]


def _store_name(header: Header) -> str:
    return header.store.name.removesuffix(".zarr")


def _find_run(workspace: Workspace, name: str) -> Path:
    for folder in (workspace.runs / name, Path(name)):
        if (folder / "state").is_file():
            state = (folder / "state").read_text(encoding="utf-8").strip()
            if state != "finished":
                raise RunNotFoundError(f"run {name!r} is {state}; finish it with `ecgtrain run --resume {name}`")
            return folder
    known = [path.parent.name for path in workspace.runs.glob("*/state")]
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(sorted(known)) or 'none'}; {ASK_FOR_RUNS}."
    raise RunNotFoundError(f"unknown run {name!r} in {workspace.runs}. {hint}")


def _read_calibration(path: Path, header: Header) -> Calibration:
    content = _read_mapping(path)
    thresholds, temperature = content.get("thresholds") or {}, content.get("temperature")
    if not thresholds and temperature is None:
        return Calibration()
    fitted_on = content.get("fitted_on")
    if fitted_on != "validation":
        raise RunFileError(f"{path}: fitted on {fitted_on!r}; only what is fitted on validation may be applied to test")
    if not isinstance(thresholds, dict):
        raise RunFileError(f"{path}: thresholds are not a number by class, such as {{{header.classes[0]!r}: 0.5}}")
    if thresholds and set(thresholds) != set(header.classes):
        different = sorted(set(thresholds) ^ set(header.classes))
        raise RunFileError(f"{path}: thresholds and classes differ in {', '.join(different)}")
    wrong = [label for label, value in thresholds.items() if not _is_number(value)]
    if temperature is not None and not (_is_number(temperature) and temperature > 0):
        wrong.append("temperature")
    if wrong:
        raise RunFileError(f"{path}: {', '.join(wrong)} is not a number, or below 0")
    return Calibration({label: float(thresholds[label]) for label in thresholds}, temperature)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def _read_history(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    lines = [(i, line) for i, line in enumerate(_read_text(path).splitlines(), start=1) if line.strip()]
    entries = [_parse_mapping(line, f"{path}, line {i}") for i, line in lines]
    for (i, _), entry in zip(lines, entries, strict=True):
        for name, kind in HISTORY.items():
            if not isinstance(entry.get(name, kind()), kind):
                raise RunFileError(f"{path}, line {i}: {name} is {entry[name]!r}; it has to be {NAMES[kind]}")
    return entries


def _read_mapping(path: Path) -> dict[str, Any]:
    """Return the mapping in a JSON or YAML file, empty where there is none."""
    return _parse_mapping(_read_text(path), str(path)) if path.is_file() else {}


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RunFileError(f"{path}: damaged (it is not UTF-8: {error.reason} at byte {error.start})") from error


def _parse_mapping(text: str, source: str) -> dict[str, Any]:
    try:
        data = json.loads(text) if not source.endswith(".yaml") else yaml.safe_load(text) or {}
    except (ValueError, yaml.YAMLError) as error:
        raise RunFileError(f"{source}: damaged ({' '.join(str(error).split())})") from error
    if not isinstance(data, dict):
        raise RunFileError(f"{source}: damaged (it holds no mapping)")
    return data
