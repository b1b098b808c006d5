"""The folder of a run: its state, configuration, log, history and files."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from ecgtrain.config import EnsembleConfig, RunConfig, run_name
from pipelines.recipe import RecipeError, nearest, validate
from store.errors import EcgError, MissingDataError, ResourceError, UserError
from store.files import write_whole
from store.read import Store

RUNNING, FINISHED, FAILED = "running", "finished", "failed"
MEMBERS = "members.json"
FAILURE = "failure.json"
FILE_ONLY = "file_only"  # of a line of the log that a person sees elsewhere


@dataclass(frozen=True)
class RunFolder:
    """One run's folder.

    Parameters
    ----------
    path : Path
        The folder.
    """

    path: Path

    @property
    def name(self) -> str:
        """Name of the run."""
        return self.path.name

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def state(self) -> str:
        """``running``, ``finished`` or ``failed``; empty before the start."""
        file = self.path / "state"
        return file.read_text(encoding="utf-8").strip() if file.is_file() else ""

    def set_state(self, state: str) -> None:
        """Write the state."""
        write_whole(self.path / "state", f"{state}\n")

    @property
    def is_ensemble(self) -> bool:
        """Whether the run is an ensemble of others."""
        return (self.path / MEMBERS).is_file()

    @property
    def members(self) -> list[str]:
        """Names of the runs that an ensemble is made of."""
        return [member["run"] for member in self.read_json(MEMBERS)["members"]]

    @property
    def exit_code(self) -> int:
        """What a command ends with that has trained this run alone."""
        if self.state != FAILED:
            return 0
        return int(self.read_json(FAILURE)["exit_code"]) if (self.path / FAILURE).is_file() else EcgError.exit_code

    @property
    def lacked_resources(self) -> bool:
        """Whether the run failed for lack of memory or disk, and may go on with less or elsewhere."""
        return self.exit_code == ResourceError.exit_code

    def config(self) -> RunConfig:
        """Return the run's configuration.

        Raises
        ------
        UserError
            If this version does not know it.
        """
        try:
            return validate(RunConfig, self.config_data(), str(self.path / "config.yaml"))
        except RecipeError as error:
            raise UserError(f"{error}; {self.made_elsewhere}") from error

    def config_data(self) -> dict[str, Any]:
        """Return the run's configuration as plain data, whichever version wrote it."""
        data: dict[str, Any] = yaml.safe_load((self.path / "config.yaml").read_text(encoding="utf-8"))
        return data

    @property
    def made_elsewhere(self) -> str:
        """What a person can do with a run that this version cannot read."""
        versions = self.read_json("environment.json")["versions"] if (self.path / "environment.json").is_file() else {}
        return (
            f"{self.name} was trained by ecgprep {versions.get('ecgprep') or 'of another version'}, which keeps a run "
            "otherwise: use that one, or train the run again"
        )

    def write_config(self, config: RunConfig | EnsembleConfig) -> None:
        """Write the run's configuration."""
        write_whole(self.path / "config.yaml", _config_text(config))

    def write_json(self, name: str, data: Mapping[str, Any]) -> None:
        """Write one of the folder's JSON files."""
        write_whole(self.path / name, json.dumps(data, indent=2, allow_nan=False) + "\n")

    def read_json(self, name: str) -> dict[str, Any]:
        """Return one of the folder's JSON files."""
        data: dict[str, Any] = json.loads((self.path / name).read_text(encoding="utf-8"))
        return data

    def write_lines(self, name: str, entries: Iterable[Mapping[str, Any]]) -> None:
        """Write one of the folder's JSON-lines files."""
        write_whole(self.path / name, "".join(f"{json.dumps(entry, allow_nan=False)}\n" for entry in entries))

    def append_lines(self, name: str, entries: Iterable[Mapping[str, Any]]) -> None:
        """Add lines to one of the folder's JSON-lines files."""
        with (self.path / name).open("a", encoding="utf-8", newline="\n") as file:
            file.writelines(f"{json.dumps(entry, allow_nan=False)}\n" for entry in entries)

    def history(self) -> list[dict[str, Any]]:
        """Return the entries of ``history.jsonl``: one an epoch."""
        return self._lines("history.jsonl")

    def steps(self) -> list[dict[str, Any]]:
        """Return the entries of ``steps.jsonl``: one a training step."""
        return self._lines("steps.jsonl")

    def _lines(self, name: str) -> list[dict[str, Any]]:
        """Return the entries of a JSON-lines file; a last line that a stop has cut is none."""
        file = self.path / name
        if not file.is_file():
            return []
        return [
            json.loads(line) for line in file.read_text(encoding="utf-8").splitlines(keepends=True) if line[-1] == "\n"
        ]

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes from training this run.

        Raises
        ------
        UserError
            If one is training it.
        """
        lock = self._lock()
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise UserError(f"run {self.name!r} is being trained by another process; wait for it") from None
        try:
            yield
        finally:
            lock.release()

    @property
    def in_use(self) -> bool:
        """Whether a process is training this run."""
        try:
            with self._lock().acquire(timeout=0):
                return False
        except Timeout:
            return True

    def _lock(self) -> FileLock:
        return FileLock(self.path / ".lock")

    @contextmanager
    def log(self) -> Iterator[logging.Logger]:
        """Open a log that writes to ``run.log``, with the time, and to standard error, without."""
        log = logging.Logger(f"ecgtrain.{self.name}", logging.INFO)  # its own: handlers of other runs stay out
        file = logging.FileHandler(self.path / "run.log", encoding="utf-8")
        file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        log.addHandler(file)
        log.addHandler(_Terminal())
        try:
            yield log
        finally:
            file.close()


class _Terminal(logging.Handler):
    """Writes to standard error, whatever that is by then: a live table takes its place."""

    def emit(self, record: logging.LogRecord) -> None:
        if not getattr(record, FILE_ONLY, False):
            sys.stderr.write(f"{self.format(record)}\n")


def silent_log() -> logging.Logger:
    """Return the log of a process that has nothing to say: one of several, and not the first."""
    log = logging.Logger("ecgtrain.silent")
    log.addHandler(logging.NullHandler())
    return log


def check_same_store(folder: RunFolder, store: Store) -> None:
    """Raise if a store is not the one that a run was started on.

    Raises
    ------
    UserError
        If rows, labels, columns or splits differ.
    """
    started_on = folder.read_json("environment.json")["store"]
    if started_on["rows_digest"] != store.rows_digest:
        raise UserError(f"{folder.name} was started on other rows than {store.location} holds now; start a new run")


def new_run(runs: Path, name: str | None, stem: str) -> RunFolder:
    """Make the folder of a new run.

    Parameters
    ----------
    runs : Path
        The workspace's folder of runs.
    name : str or None
        Name of the run; None: `stem` and the next free number.
    stem : str
        Such as ``resnet1d_wang-interpatient``; a slash, as in the names of timm's models, becomes a hyphen.

    Raises
    ------
    UserError
        If a run of that name exists, or no folder can have it.
    """
    runs.mkdir(parents=True, exist_ok=True)
    if name is not None:
        try:
            (runs / run_name(name)).mkdir()
        except FileExistsError:
            raise UserError(f"run {name!r} exists; give another --name, or go on with --resume {name}") from None
        return RunFolder(runs / name)
    stem, number = stem.replace("/", "-"), 1
    while True:
        try:
            (runs / f"{stem}-{number}").mkdir()
        except FileExistsError:
            number += 1
        else:
            return RunFolder(runs / f"{stem}-{number}")


def earlier_runs(runs: Path, configs: Sequence[RunConfig]) -> list[RunFolder | None]:
    """Return what an earlier command of the very same runs has left, one folder or None for each.

    Only a command that did not come to its end has left anything: else its runs are trained anew, all but those with a
    name of their own, which stay as they are.

    Parameters
    ----------
    runs : Path
        The workspace's folder of runs.
    configs : sequence of RunConfig
        The runs that are planned.
    """
    by_config: dict[str, list[RunFolder]] = {}
    for run in sorted(list_runs(runs), key=lambda run: (run.path / "config.yaml").stat().st_mtime_ns):
        if not run.in_use:
            by_config.setdefault((run.path / "config.yaml").read_text(encoding="utf-8"), []).append(run)
    same = [by_config.get(_config_text(config), []) for config in configs]
    left = [next((run for run in found if run.state != FINISHED), found[-1] if found else None) for found in same]
    if any(run is not None and run.state != FINISHED for run in left):
        return left
    return [finished_run(runs, config) for config in configs]


def finished_run(runs: Path, config: RunConfig | EnsembleConfig) -> RunFolder | None:
    """Return the finished run that has a configuration's name and does not differ from it; None if there is none."""
    if config.name is None:
        return None
    run = RunFolder(runs / config.name)
    file = run.path / "config.yaml"
    same = file.is_file() and file.read_text(encoding="utf-8") == _config_text(config)
    return run if same and run.state == FINISHED else None


def _config_text(config: RunConfig | EnsembleConfig) -> str:
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def find_run(runs: Path, name: str) -> RunFolder:
    """Return a run by its name in the workspace, or by its path.

    Raises
    ------
    MissingDataError
        With the nearest name, if there is no such run.
    """
    for path in (runs / name, Path(name)):
        if (path / "config.yaml").is_file():
            return RunFolder(path)
    known = [run.name for run in list_runs(runs)]
    raise MissingDataError(f"no run {name!r} in {runs}.{nearest(name, known)} `ecgtrain runs` lists them.")


def list_runs(runs: Path) -> list[RunFolder]:
    """Return the runs of a workspace, by name."""
    return [RunFolder(file.parent) for file in sorted(runs.glob("*/config.yaml"))]
