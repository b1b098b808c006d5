"""Runs as ecgtrain leaves them: which there are, what their files say, and which may be ranked together."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ecgeval.errors import RequestError, RunFileError, RunNotFoundError
from ecgeval.predictions import Header, Predictions, read_header, read_predictions
from pipelines.workspace import Workspace

ASK_FOR_RUNS = "run `ecgtrain run` first"


@dataclass(frozen=True)
class Run:
    """One finished run.

    Parameters
    ----------
    path : Path
        Its folder.
    test, validation : Predictions
        Its predictions, every window; `validation` is None where the run has none.
    thresholds : dict of str to float
        Threshold a class, fitted on validation; empty where the run has none.
    history : list of dict
        One entry an epoch.
    environment, config : dict
        What the run says about its software, and its resolved configuration.
    """

    path: Path
    test: Predictions
    validation: Predictions | None
    thresholds: dict[str, float]
    history: list[dict[str, Any]]
    environment: dict[str, Any]
    config: dict[str, Any]

    @property
    def name(self) -> str:
        """The run's name, which is its folder's."""
        return self.path.name

    @property
    def header(self) -> Header:
        """What the footer of its test predictions says."""
        return self.test.header

    @property
    def finished_ns(self) -> int:
        """When the run finished."""
        return (self.path / "state").stat().st_mtime_ns


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
    """Read the files of a run.

    Raises
    ------
    RunNotFoundError
        If its test predictions are missing.
    RunFileError
        If one of its files is damaged or breaks the contract.
    """
    test = read_predictions(path / "predictions" / "test.parquet")
    validation_file = path / "predictions" / "validation.parquet"
    return Run(
        path=path,
        test=test,
        validation=read_predictions(validation_file) if validation_file.is_file() else None,
        thresholds=_read_thresholds(path / "calibration.json", test.header),
        history=_read_history(path / "history.jsonl"),
        environment=_read_mapping(path / "environment.json"),
        config=_read_mapping(path / "config.yaml"),
    )


def group_runs(runs: Sequence[Run]) -> list[list[Run]]:
    """Return runs in blocks that may be ranked: same rows, labels, scored classes and protocol.

    Parameters
    ----------
    runs : sequence of Run
        In any order.

    Returns
    -------
    list of list of Run
        The block of the run that finished last comes first; inside a block, in order of finishing.
    """
    blocks: dict[tuple[Any, ...], list[Run]] = {}
    for run in sorted(runs, key=lambda run: (run.finished_ns, run.name)):
        blocks.setdefault(_comparable(run), []).append(run)
    return sorted(blocks.values(), key=lambda block: (block[-1].finished_ns, block[-1].name), reverse=True)


def short_labels(runs: Sequence[Run]) -> list[str]:
    """Return what to call the runs of a block: the model, or the run where that is not unique."""
    models = [run.header.model for run in runs]
    if len(set(models)) == len(models):
        return models
    short = [run.name.replace(f"-{run.header.protocol}", "") for run in runs]
    return short if len(set(short)) == len(short) else [run.name for run in runs]


def _comparable(run: Run) -> tuple[Any, ...]:
    header = run.header
    labels = (header.task, header.scheme, header.classes, header.score_classes)
    return (*labels, header.protocol, header.leaks, header.store.rows_digest, run.test.digest())


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


def _read_thresholds(path: Path, header: Header) -> dict[str, float]:
    calibration = _read_mapping(path)
    thresholds = calibration.get("thresholds") or {}
    if not thresholds:
        return {}
    fitted_on = calibration.get("fitted_on")
    if fitted_on != "validation":
        raise RunFileError(
            f"{path}: thresholds fitted on {fitted_on!r}; only those of validation may be applied to test"
        )
    if set(thresholds) != set(header.classes):
        different = sorted(set(thresholds) ^ set(header.classes))
        raise RunFileError(f"{path}: thresholds and classes differ in {', '.join(different)}")
    try:
        return {label: float(thresholds[label]) for label in header.classes}
    except (TypeError, ValueError) as error:
        raise RunFileError(f"{path}: a threshold is not a number ({error})") from error


def _read_history(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    return [_parse_mapping(line, f"{path}, line {i}") for i, line in enumerate(lines, start=1) if line.strip()]


def _read_mapping(path: Path) -> dict[str, Any]:
    """Return the mapping in a JSON or YAML file, empty where there is none."""
    return _parse_mapping(path.read_text(encoding="utf-8"), str(path)) if path.is_file() else {}


def _parse_mapping(text: str, source: str) -> dict[str, Any]:
    try:
        data = json.loads(text) if not source.endswith(".yaml") else yaml.safe_load(text) or {}
    except (ValueError, yaml.YAMLError) as error:
        raise RunFileError(f"{source}: damaged ({' '.join(str(error).split())})") from error
    if not isinstance(data, dict):
        raise RunFileError(f"{source}: damaged (it holds no mapping)")
    return data
