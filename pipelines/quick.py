"""A recipe made small: the same models and steps on few rows, to see it work from end to end within minutes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

TRAIN = {"epochs": 2, "batch_size": 16, "samples_per_class": 24}
SCHEDULE = {"name": "constant"}
EVALUATE = {"bootstrap": 50}
PICTURE_SIDE = 64
SYNTHETIC = {
    "mitdb": ["--minutes", "0.5"],
    "ptbxl": ["--records", "60"],
    "ptbdb": [],
    "cinc2017": ["--records", "60"],
    "icentia11k": [],
}


def shrink(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe with two epochs, a constant rate, few training rows a class and pictures of 64 × 64.

    Parameters
    ----------
    recipe : mapping
        The recipe's sections.
    """
    prepare, evaluate = dict(recipe.get("prepare") or {}), dict(recipe.get("evaluate") or {})
    prepare.pop("patients", None)
    if prepare.get("reps"):
        prepare["reps"] = ",".join(_small(rep) for rep in str(prepare["reps"]).split(","))
    return {
        "prepare": prepare,
        "train": [_short(run) for run in recipe.get("train") or []],
        "evaluate": {**evaluate, **EVALUATE},
    }


def _short(run: Mapping[str, Any]) -> dict[str, Any]:
    if "ensemble" in run:
        return dict(run)
    inputs = [_small(name) if ":" in name else name for name in run.get("inputs", ["signal"])]
    return {**run, **TRAIN, "schedule": SCHEDULE, "inputs": inputs}


def _small(rep: str) -> str:
    """Return a representation with pictures of 64 × 64."""
    return re.sub(r":(size|width|height)=\d+", "", rep.strip()) + f":size={PICTURE_SIDE}"


def write_quick(recipe: Mapping[str, Any], name: str, home: Path) -> Path:
    """Write a recipe made small into a workspace and return its file."""
    home.mkdir(parents=True, exist_ok=True)
    path = home / f"{Path(name).stem}-quick.yaml"
    path.write_text(yaml.safe_dump(shrink(recipe), sort_keys=False), encoding="utf-8")
    return path


def synthesise(recipe: Mapping[str, Any], folder: Path) -> list[list[str]]:
    """Return the commands that make the recordings of a recipe; none if they are there."""
    if folder.exists():
        return []
    databases = [name.strip() for name in str(recipe["prepare"]["dataset"]).split(",")]
    return [["ecgprep", "synth", str(folder), "--like", name, *SYNTHETIC.get(name, [])] for name in databases]
