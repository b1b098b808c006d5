"""The ensembles of a recipe's ``train`` section: read before anything trains, joined when all runs are finished."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ecgtrain.config import EnsembleConfig
from ecgtrain.ensemble import read_members, write_ensemble
from ecgtrain.run_folder import FAILED, RunFolder, finished_run, new_run
from pipelines.recipe import RecipeError, nearest, validate
from store.errors import EcgError


def recipe_ensembles(recipe: Mapping[str, Any], source: str, models: Sequence[str] | None) -> list[EnsembleConfig]:
    """Return the ensembles of a recipe; where only some models are trained, those whose members are all among them.

    Parameters
    ----------
    recipe : mapping
        The recipe's sections.
    source : str
        Its name or file, for messages.
    models : sequence of str or None
        The models that are trained; None for all.

    Raises
    ------
    RecipeError
        If a key is wrong, or a member is not exactly one run of the recipe, by its name or else its model.
    """
    names, kept, found = recipe_names(recipe, None), set(recipe_names(recipe, models)), []
    for entry in recipe["train"]:
        if "ensemble" not in entry:
            continue
        where = f"{source}, ensemble {entry.get('name') or entry.get('by', 'average')}"
        config = validate(EnsembleConfig, entry, where)
        for member in config.ensemble:
            if names.count(member) != 1:
                fault = f"is the name of {names.count(member)} runs" if member in names else "is no run of the recipe"
                raise RecipeError(f"{where}: {member!r} {fault}; give each run a name.{nearest(member, names)}")
        found += [config] if kept.issuperset(config.ensemble) else []
    return found


def recipe_names(recipe: Mapping[str, Any], models: Sequence[str] | None) -> list[str]:
    """Return the name, or else the model, of each run of a recipe, of those of some models alone if any are named."""
    runs = [entry for entry in recipe["train"] if "ensemble" not in entry]
    return [str(run.get("name") or run.get("model")) for run in runs if models is None or run.get("model") in models]


def join_runs(
    configs: Sequence[EnsembleConfig], finished: Mapping[str, Sequence[RunFolder]], runs: Path, device: str = "auto"
) -> list[bool]:
    """Join the runs of a recipe, those of each seed among themselves; return of each ensemble whether it finished.

    Parameters
    ----------
    configs : sequence of EnsembleConfig
        From `recipe_ensembles`.
    finished : mapping of str to sequence of RunFolder
        The folders of each run by its name in the recipe, one a seed.
    runs : Path
        The workspace's folder of runs.
    device : str
        Where the members' networks compute, for ``feature``.
    """
    done = []
    for config in configs:
        groups = list(zip(*(finished[name] for name in config.ensemble), strict=True))
        for i, folders in enumerate(groups):
            name = f"{config.name}-{i + 1}" if config.name and len(groups) > 1 else config.name
            update = {"ensemble": tuple(folder.name for folder in folders), "name": name}
            done.append(_join(config.model_copy(update=update), folders, runs, device))
    return done


def _join(config: EnsembleConfig, folders: Sequence[RunFolder], runs: Path, device: str) -> bool:
    if finished_run(runs, config) is not None:
        sys.stderr.write(f"{config.name} is finished already\n")
        return True
    folder = None
    try:
        members = read_members(folders)
        folder = new_run(runs, config.name, f"ensemble_{config.by}-{members[0].footer['protocol']}")
        write_ensemble(config, members, folder, device)
    except EcgError as error:
        if folder is not None:
            folder.set_state(FAILED)
        sys.stderr.write(f"ensemble {config.name or config.by} failed: {' '.join(str(error).split())}\n")
        return False
    sys.stderr.write(f"{folder.name} finished: {', '.join(config.ensemble)} joined by {config.by}\n")
    return True
