"""Made-up runs in the layout that ecgtrain writes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from ecgeval.cli import main

SUPERCLASSES = ("NORM", "MI", "STTC", "CD", "HYP")
BEATS = ("N", "S", "V", "F", "Q")
STORE = {"name": "ptbxl-0a1b2c3d", "digest": "d" * 64, "rows_digest": "r" * 64, "synthetic": False}

MakeRun = Callable[..., Path]


def make_header(**changes: Any) -> dict[str, Any]:
    """A footer as ecgtrain writes it."""
    header: dict[str, Any] = {
        "schema": 1,
        "task": "multi",
        "classes": list(SUPERCLASSES),
        "score_classes": list(SUPERCLASSES),
        "scheme": "superclass",
        "protocol": "ptbxl-folds",
        "leaks": [],
        "leak_note": "",
        "run": "run",
        "model": "resnet1d_wang",
        "input": "signal",
        "seed": 0,
        "parameters": 498_309,
        "store": dict(STORE),
        "recipe_hash": "abc123",
        "versions": {"ecgprep": "0.1.0", "torch": "2.9.0"},
        "card": {"databases": {"ptbxl": {"version": "1.0.3", "licence": "CC-BY-4.0", "records": 400}}},
    }
    return header | changes


def beat_header(**changes: Any) -> dict[str, Any]:
    """The footer of a run on beats."""
    beats = {"task": "single", "classes": list(BEATS), "score_classes": list(BEATS[:4]), "scheme": "aami"}
    return make_header(**beats, protocol="interpatient", **changes)


def multi_label(n: int, rng: np.random.Generator, skill: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities of a multi-label task."""
    y = rng.random((n, 5)) < (0.45, 0.25, 0.24, 0.22, 0.12)
    logit = skill * (y - 0.5) + rng.normal(size=y.shape)
    return y, 1 / (1 + np.exp(-logit))


def single_label(n: int, rng: np.random.Generator, skill: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities of a single-label task."""
    y = np.eye(5, dtype=bool)[rng.choice(5, n, p=(0.8, 0.07, 0.1, 0.02, 0.01))]
    e = np.exp(skill * y + rng.normal(size=y.shape))
    return y, e / e.sum(axis=1, keepdims=True)


def write_predictions(
    path: Path,
    header: dict[str, Any],
    y: np.ndarray,
    p: np.ndarray,
    *,
    patients: Sequence[str | None] | None = None,
    records: Sequence[str] | None = None,
    footer: bool = True,
    **columns: Any,
) -> Path:
    """Write a predictions file; `columns` replace the plain ones."""
    n = len(y)
    table: dict[str, Any] = {
        "row": np.arange(n, dtype=np.int64),
        "window": np.zeros(n, np.int16),
        "fold": np.full(n, -1, np.int16),
        "record": records or [f"ptbxl/{i:05d}" for i in range(n)],
        "patient": patients or [f"ptbxl/{i // 2}" for i in range(n)],
        "database": ["ptbxl"] * n,
        "sample": np.zeros(n, np.int64),
        "fs_hz": np.full(n, 100.0),
        "t_s": np.zeros(n),
        "symbol": pa.nulls(n, pa.string()),
        "sex": pa.nulls(n, pa.string()),
        "age": pa.nulls(n, pa.float32()),
        "quality": pa.nulls(n, pa.float64()),
    } | columns
    for i, label in enumerate(header["classes"]):
        table[f"y_{label}"] = np.asarray(y)[:, i].astype(np.int8)
        table[f"logit_{label}"] = pa.nulls(n, pa.float32())
        table[f"p_{label}"] = np.asarray(p)[:, i].astype(np.float32)
    arrow = pa.table(table)
    if footer:
        arrow = arrow.replace_schema_metadata({"ecg": json.dumps(header)})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(arrow, path, write_page_checksum=True)
    return path


def write_history(path: Path, header: dict[str, Any], n_epochs: int, rng: np.random.Generator) -> None:
    """Write curves that fall, and rise again towards the end."""
    lines = []
    for epoch in range(n_epochs):
        f1 = 0.75 - 0.5 * np.exp(-epoch / 4) + rng.normal(0, 0.01)
        lines.append(
            {
                "epoch": epoch,
                "train_loss": 0.2 + 0.5 * np.exp(-epoch / 5),
                "validation_loss": 0.3 + 0.4 * np.exp(-epoch / 4) + 0.0008 * epoch**2,
                "learning_rate": 1e-3,
                "seconds": 2.5,
                "validation": {"f1": f1, "auroc": 0.9 - 0.3 * np.exp(-epoch / 4)},
                "per_class": {c: {"f1": f1 - 0.05 * i, "auroc": 0.9} for i, c in enumerate(header["classes"])},
            }
        )
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def run_maker(home: Path) -> MakeRun:
    """Return a function that writes a finished run into a workspace and returns its folder."""
    clock = iter(range(1_800_000_000, 1_900_000_000, 60))

    def make(
        name: str = "resnet1d_wang-ptbxl-folds-1",
        *,
        n: int = 300,
        skill: float = 2.0,
        seed: int = 0,
        labels_seed: int = 0,
        state: str = "finished",
        history: int = 12,
        thresholds: dict[str, float] | None = None,
        header: dict[str, Any] | None = None,
        **columns: Any,
    ) -> Path:
        header = make_header(run=name) | (header or {})
        folder = home / "runs" / name
        draw = single_label if header["task"] == "single" else multi_label
        for i, split in enumerate(("test", "validation")):
            y, _ = draw(n, np.random.default_rng(labels_seed + i))
            rng = np.random.default_rng([seed, i, 17])
            logit = skill * (y - 0.5) + rng.normal(size=y.shape)
            e = np.exp(logit)
            p = e / e.sum(axis=1, keepdims=True) if header["task"] == "single" else e / (1 + e)
            write_predictions(folder / "predictions" / f"{split}.parquet", header, y, p, **columns)
        write_history(folder / "history.jsonl", header, history, np.random.default_rng(seed))
        calibration = {"temperature": None, "fitted_on": "validation"}
        if header["task"] == "multi":
            calibration["thresholds"] = thresholds or dict.fromkeys(header["classes"], 0.4)
        (folder / "calibration.json").write_text(json.dumps(calibration))
        (folder / "environment.json").write_text(json.dumps({"versions": header["versions"], "commit": "1234abcd"}))
        (folder / "config.yaml").write_text(yaml.safe_dump({"model": header["model"], "seed": header["seed"]}))
        (folder / "state").write_text(state + "\n")
        moment = next(clock)
        os.utime(folder / "state", (moment, moment))
        return folder

    return make


@pytest.fixture
def ecgeval_here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., SimpleNamespace]:
    """The command in this process: it takes arguments and gives what a process does."""

    def run(*arguments: object) -> SimpleNamespace:
        monkeypatch.setattr(sys, "argv", ["ecgeval", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return SimpleNamespace(returncode=ended.value.code, stdout=said.out, stderr=said.err)

    return run


@pytest.fixture
def make_run(home: Path) -> MakeRun:
    """Writes a finished run into the workspace `home` and returns its folder."""
    return run_maker(home)


@pytest.fixture(scope="session")
def shared_runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two runs to read from, never to change."""
    make = run_maker(tmp_path_factory.mktemp("shared"))
    return [make(), make("b", seed=1, header={"model": "resnet18"})]


@pytest.fixture
def made_up() -> SimpleNamespace:
    """The functions that make labels, probabilities, footers and predictions files."""
    return SimpleNamespace(
        header=make_header,
        beat_header=beat_header,
        multi_label=multi_label,
        single_label=single_label,
        write=write_predictions,
    )


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The workspace that `make_run` writes into."""
    return tmp_path / "home"
