"""A recipe made small: the same models and steps on few rows, to see it work from end to end within minutes."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

SCHEDULE = {"name": "constant"}
SYNTHETIC = {
    "mitdb": ["--minutes", "0.5"],
    "ptbxl": ["--records", "60"],
    "ptbdb": [],
    "cinc2017": ["--records", "60"],
    "icentia11k": [],
}


@dataclass(frozen=True)
class Size:
    """How small a recipe is made.

    Parameters
    ----------
    epochs, batch_size, samples_per_class
        As in the section ``train``.
    picture_side : int
        Height and width of pictures.
    bootstrap : int
        Resamples of the report.
    """

    epochs: int = 2
    batch_size: int = 16
    samples_per_class: int = 24
    picture_side: int = 64
    bootstrap: int = 50


QUICK = Size()


def shrink(recipe: Mapping[str, Any], size: Size = QUICK) -> dict[str, Any]:
    """Return a recipe with few epochs, a constant rate, few training rows a class and small pictures.

    Parameters
    ----------
    recipe : mapping
        The recipe's sections.
    size : Size
        How small.
    """
    prepare, evaluate = dict(recipe.get("prepare") or {}), dict(recipe.get("evaluate") or {})
    prepare.pop("patients", None)
    reps = [rep.strip() for rep in str(prepare.get("reps") or "").split(",") if rep.strip()]
    if reps:
        prepare["reps"] = ",".join(_small(rep, size) for rep in reps)
    kept = {"signal", *(rep.partition(":")[0] for rep in reps)}
    return {
        "prepare": prepare,
        "train": [_short(run, kept, size) for run in recipe.get("train") or []],
        "evaluate": {**evaluate, "bootstrap": size.bootstrap},
    }


def _short(run: Mapping[str, Any], kept: Collection[str], size: Size) -> dict[str, Any]:
    """Return a run on few rows; pictures that the store does not keep are drawn small while it trains."""
    if "ensemble" in run:
        return dict(run)
    inputs = [name if name in kept else _small(name, size) for name in run.get("inputs", ["signal"])]
    few = {"epochs": size.epochs, "batch_size": size.batch_size, "samples_per_class": size.samples_per_class}
    return {**run, **few, "schedule": SCHEDULE, "inputs": inputs}


def _small(rep: str, size: Size) -> str:
    """Return a representation with small pictures."""
    return re.sub(r":(size|width|height)=\d+", "", rep) + f":size={size.picture_side}"


def write_quick(recipe: Mapping[str, Any], name: str, home: Path, size: Size = QUICK) -> Path:
    """Write a recipe made small into a workspace and return its file."""
    home.mkdir(parents=True, exist_ok=True)
    path = home / f"{Path(name).stem}-quick.yaml"
    path.write_text(yaml.safe_dump(shrink(recipe, size), sort_keys=False), encoding="utf-8")
    return path


def synthesise(recipe: Mapping[str, Any], folder: Path) -> list[list[str]]:
    """Return the commands that make the recordings of a recipe; none if they are there."""
    if folder.exists():
        return []
    databases = [name.strip() for name in str(recipe["prepare"]["dataset"]).split(",")]
    return [["ecgprep", "synth", str(folder), "--like", name, *SYNTHETIC.get(name, [])] for name in databases]
