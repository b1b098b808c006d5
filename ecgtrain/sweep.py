"""A small grid of settings: a run a point, chosen on validation alone.

The points predict their validation rows and no others, so that no figure of a test can be looked at before the choice.
The best one is gone on with as the run of the whole sweep, which alone predicts the test rows.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ecgtrain.choosing import badness, best_epoch
from ecgtrain.config import RunConfig
from ecgtrain.run import execute
from ecgtrain.run_folder import FINISHED, RunFolder, new_run
from pipelines.recipe import RecipeError
from store.errors import EcgError, ResourceError, UserError
from store.read import Store

PLAN = "sweep.json"
HELD = ("store", "protocol", "scheme", "fold", "folds", "seed")  # points differ in none: they are judged alike
OWN_FILES = (".lock", "state", PLAN)  # of a folder, and not copied from another

Execute = Callable[[RunConfig, Store, RunFolder], bool]


class SweepError(EcgError, RuntimeError):
    """No point of a sweep came to its end."""


@dataclass(frozen=True)
class Point:
    """One point of a grid.

    Parameters
    ----------
    settings : tuple of str
        Such as ``("optimizer.lr=1e-3", "batch_size=32")``.
    config : RunConfig
        The run, resolved.
    """

    settings: tuple[str, ...]
    config: RunConfig


@dataclass(frozen=True)
class Outcome:
    """What became of a point.

    Parameters
    ----------
    point : Point
        The point.
    folder : RunFolder
        Its run.
    best : mapping or None
        The entry of its best epoch; None where it failed.
    n_epochs : int
        Epochs that it took.
    """

    point: Point
    folder: RunFolder
    best: Mapping[str, Any] | None
    n_epochs: int


def grid_points(grids: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the settings of every point of a grid.

    Parameters
    ----------
    grids : sequence of str
        A key with its values, such as ``optimizer.lr=1e-3,3e-4``.

    Raises
    ------
    RecipeError
        If one is no key with values, or a key or a value comes twice.
    """
    axes: dict[str, list[str]] = {}
    for grid in grids:
        key, _, text = grid.partition("=")
        values = [value.strip() for value in text.split(",") if value.strip()]
        if not key.strip() or not values or len(set(values)) < len(values):
            raise RecipeError(f"--grid {grid}: write a key and different values, such as optimizer.lr=1e-3,3e-4")
        if key.strip() in axes:
            raise RecipeError(f"--grid {grid}: {key.strip()!r} comes twice; give all its values at once")
        axes[key.strip()] = values
    return list(itertools.product(*([f"{key}={value}" for value in values] for key, values in axes.items())))


def check_points(points: Sequence[Point]) -> None:
    """Raise if points could not be compared on the same validation rows by the same score.

    Raises
    ------
    UserError
        With the key in which they differ, or why none can be swept.
    """
    first = points[0].config
    if first.folds is not None:
        raise UserError(
            "a sweep chooses on one validation part: leave --folds out, and run the chosen settings with it"
        )
    for config in (point.config for point in points):
        differing = [key for key in HELD if getattr(config, key) != getattr(first, key)]
        if config.early_stopping.monitor != first.early_stopping.monitor:
            differing.append("early_stopping.monitor")
        if differing:
            raise UserError(
                f"points of a sweep are judged on the same rows by the same score: {differing[0]} is no axis"
            )


def sweep_folder(runs: Path, points: Sequence[Point], name: str | None) -> RunFolder:
    """Return the folder of a sweep: that of the same one that was interrupted, else a new one.

    Parameters
    ----------
    runs : Path
        The workspace's folder of runs.
    points : sequence of Point
        Its points.
    name : str or None
        Its name; None: ``<model>-<protocol>-sweep-<n>``.
    """
    plan = {"points": [[*point.settings] for point in points], "configs": [_plain(point.config) for point in points]}
    for file in sorted(runs.glob(f"*/{PLAN}")):
        folder = RunFolder(file.parent)
        if folder.state != FINISHED and folder.read_json(PLAN) == plan and name in (None, folder.name):
            return folder
    config = points[0].config
    folder = new_run(runs, name, f"{config.model}-{config.protocol}-sweep")
    folder.write_json(PLAN, plan)
    return folder


def _plain(config: RunConfig) -> dict[str, Any]:
    return config.model_dump(mode="json")


def sweep(points: Sequence[Point], store: Store, folder: RunFolder, train: Execute = execute) -> list[Outcome]:
    """Train every point that is not finished, and go on with the best of them as the sweep's own run.

    Parameters
    ----------
    points : sequence of Point
        The points.
    store : Store
        Their store.
    folder : RunFolder
        The sweep's folder; point k lies in its ``point-<k>``.
    train : callable
        Trains a run in a folder and tells whether it finished.

    Returns
    -------
    list of Outcome
        Best first, failed ones last.

    Raises
    ------
    SweepError
        If all points failed, or the chosen one's test rows could not be predicted.
    ResourceError
        If memory gave out in one of those that failed.
    """
    outcomes = sorted((_outcome(point, k, store, folder, train) for k, point in enumerate(points)), key=_rank)
    chosen = outcomes[0]
    if chosen.best is None:
        failed = [outcome.folder for outcome in outcomes]
        raise _failure(f"{folder.name}: every point failed; see run.log of {failed[0].path} and the others", failed)
    ignore = shutil.ignore_patterns(*OWN_FILES)
    shutil.copytree(chosen.folder.path, folder.path, dirs_exist_ok=True, ignore=ignore)
    if not train(chosen.point.config.model_copy(update={"name": None}), store, folder):
        message = f"{folder.name}: the test rows could not be predicted; see its run.log, and sweep again"
        raise _failure(message, [folder])
    return outcomes


def _failure(message: str, failed: Sequence[RunFolder]) -> EcgError:
    return ResourceError(message) if any(run.lacked_resources for run in failed) else SweepError(message)


def _outcome(point: Point, number: int, store: Store, folder: RunFolder, train: Execute) -> Outcome:
    """Train a point, unless it is finished; its test rows stay unseen."""
    run = RunFolder(folder.path / f"point-{number}")
    config = point.config.model_copy(update={"predict_test": False, "name": run.name})
    finished = run.state == FINISHED or train(config, store, run)
    history = run.history() if finished else []
    return Outcome(point, run, history[best_epoch(history)] if finished else None, len(history))


def _rank(outcome: Outcome) -> tuple[float, float]:
    if outcome.best is None:
        return float("inf"), float("inf")
    return badness(outcome.best), outcome.best["validation_loss"]


def outcome_lines(outcomes: Sequence[Outcome]) -> list[str]:
    """Return a table of the points, best first, by the validation score that chose among them."""
    watched = next(str(outcome.best["watched"]) for outcome in outcomes if outcome.best is not None)
    width = max(len(" ".join(outcome.point.settings)) for outcome in outcomes)
    lines = [f"{'point':10} {'settings':{width}} {'epochs':>6} {watched:>16} {'loss':>9}"]
    for outcome in outcomes:
        figures = f"{'failed':>16}"
        if outcome.best is not None:
            score = badness(outcome.best)
            shown = score if watched == "validation_loss" else -score
            figures = f"{shown:16.4f} {outcome.best['validation_loss']:9.4f}"
        settings = " ".join(outcome.point.settings)
        lines.append(f"{outcome.folder.name:10} {settings:{width}} {outcome.n_epochs:6} {figures}")
    return lines
